"""Orca pairs: two answers to a question under a system message, the better first, without scores.

Texts, as on the hub, or chat messages.
"""

from __future__ import annotations

from alignpro.data.records import Answer, Record, Row, Schema, exchange, record
from alignpro.errors import UnusableRow

HUB, SPLIT = "Intel/orca_dpo_pairs", "train"


def _read(question: object, system: object, chosen: object, rejected: object) -> Record:
    asked, best = exchange(question, chosen)
    asked_too, other = exchange(question, rejected)
    if asked != asked_too:
        raise UnusableRow("answers to different prompts")
    return record(asked, system, Answer(best, None), Answer(other, None))


def _texts(row: Row) -> Record:
    return _read(row["question"], row["system"], row["chosen"], row["rejected"])


def _messages(row: Row) -> Record:
    return _read(row["input"]["messages"], None, row["preferred_output"], row["non_preferred_output"])


SCHEMAS = (
    Schema(("system", "question", "chosen", "rejected"), _texts),
    Schema(("input.messages", "preferred_output", "non_preferred_output"), _messages),
)
