"""Orca pairs: two answers to a question under a system message, the better first, without scores.

Texts, as on the hub, or chat messages.
"""

from __future__ import annotations

from alignpro.data.records import Before, Record, Row, Schema, preference

HUB, SPLIT = "Intel/orca_dpo_pairs", "train"


def _texts(row: Row, before: Before) -> Record:
    return preference(row["question"], before._replace(system=row["system"]), row["chosen"], row["rejected"])


def _messages(row: Row, before: Before) -> Record:
    return preference(row["input"]["messages"], before, row["preferred_output"], row["non_preferred_output"])


SCHEMAS = (
    Schema(("system", "question", "chosen", "rejected"), _texts),
    Schema(("input.messages", "preferred_output", "non_preferred_output"), _messages),
)
