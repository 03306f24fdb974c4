"""Preferences of one's own: a prompt, the answer preferred, the one that was not.

Prompt and answers are texts or chat messages. With scores beside them it is the schema of UltraFeedback, with margins.
"""

from __future__ import annotations

from alignpro.data.records import Before, Record, Row, Schema, preference


def _read(row: Row, before: Before) -> Record:
    return preference(row["prompt"], before, row["chosen"], row["rejected"])


SCHEMAS = (Schema(("prompt", "chosen", "rejected"), _read),)
