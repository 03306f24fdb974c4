"""HelpSteer: one answer a row, rated 0 to 4 in five attributes; rows of the same prompt are compared with each other.

The score is `helpfulness` alone, the overall judgement. A mean of the five would reward complexity and verbosity, which
say how an answer is and not how good: a reward fitted to it would be one for length. HelpSteer2 has the same fields.
"""

from __future__ import annotations

from alignpro.data.conversations import prompt_of
from alignpro.data.records import Answer, Before, Record, Row, Schema, exchange, score

HUB, SPLIT = "nvidia/HelpSteer", "train"
ATTRIBUTES = ("correctness", "coherence", "complexity", "verbosity")
TURN = "<extra_id_1>"
"""What separates the turns of a conversation within the text of a prompt: a line with who speaks follows."""


def _read(row: Row, before: Before) -> Record:
    asked, answer = exchange(row["prompt"], row["response"])
    if isinstance(asked, str) and TURN in asked:
        first, *others = asked.split(TURN)
        named = [
            ("User", first),
            *((name.strip(), said) for name, _, said in (turn.partition("\n") for turn in others)),
        ]
        asked = [{"role": name, "content": said.strip()} for name, said in named]
    return Record(prompt_of(asked, *before), (Answer(answer, score(row["helpfulness"])),))


SCHEMAS = (Schema(("prompt", "response", "helpfulness"), _read, ATTRIBUTES),)
