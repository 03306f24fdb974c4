"""Preferences of one's own: a prompt, the answer preferred, the one that was not; a system message where there is one.

Prompt and answers are texts or chat messages. With scores beside them it is the schema of UltraFeedback, with margins.
"""

from __future__ import annotations

from alignpro.data.records import Answer, Record, Row, Schema, exchange, record
from alignpro.errors import UnusableRow


def _read(row: Row) -> Record:
    asked, chosen = exchange(row["prompt"], row["chosen"])
    asked_too, rejected = exchange(row["prompt"], row["rejected"])
    if asked != asked_too:
        raise UnusableRow("answers to different prompts")
    return record(asked, row.get("system") or None, Answer(chosen, None), Answer(rejected, None))


SCHEMAS = (Schema(("prompt", "chosen", "rejected"), _read),)
