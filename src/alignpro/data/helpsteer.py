"""HelpSteer: one answer a row, rated 0 to 4 in five attributes; rows of the same prompt are compared with each other.

The score is `helpfulness` alone, the overall judgement. A mean of the five would reward complexity and verbosity, which
say how an answer is and not how good: a reward fitted to it would be one for length. HelpSteer2 has the same fields.
"""

from __future__ import annotations

from alignpro.data.records import SEVERAL_TURNS, Answer, Record, Row, Schema, exchange, record, score
from alignpro.errors import UnusableRow

HUB, SPLIT = "nvidia/HelpSteer", "train"
TURN = "<extra_id_1>"
"""What separates the turns of a conversation within the text of a prompt."""


def _read(row: Row) -> Record:
    asked, answer = exchange(row["prompt"], row["response"])
    if isinstance(asked, str) and TURN in asked:
        raise UnusableRow(SEVERAL_TURNS)
    return record(asked, None, Answer(answer, score(row["helpfulness"])))


SCHEMAS = (Schema(("prompt", "response", "helpfulness"), _read),)
