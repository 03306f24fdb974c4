"""Preferences of one's own: a prompt, the answer preferred, the one that was not; a system message where there is one.

Prompt and answers are texts or chat messages. With scores beside them it is the schema of UltraFeedback, with margins.
"""

from __future__ import annotations

from alignpro.data.records import Record, Row, Schema, preference


def _read(row: Row) -> Record:
    return preference(row["prompt"], row.get("system") or None, row["chosen"], row["rejected"])


SCHEMAS = (Schema(("prompt", "chosen", "rejected"), _read, ("system",)),)
