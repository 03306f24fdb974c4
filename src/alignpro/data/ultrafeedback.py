"""UltraFeedback, binarised: two answers to a prompt, the better first, with the overall score of each (1 to 10).

Prompt and answers are texts or, as on the hub, `chosen` and `rejected` are messages that begin with the prompt.
"""

from __future__ import annotations

from alignpro.data.records import Record, Row, Schema, preference

HUB, SPLIT = "HuggingFaceH4/ultrafeedback_binarized", "train_prefs"
ALSO = ("system", "messages")
"""A system message where there is one; the hub's `messages` are the chosen ones again."""


def _read(row: Row, scores: Row) -> Record:
    rated = scores["score_chosen"], scores["score_rejected"]
    return preference(row["prompt"], row.get("system") or None, row["chosen"], row["rejected"], rated)


SCHEMAS = (
    Schema(("prompt", "chosen", "rejected", "score_chosen", "score_rejected"), lambda row: _read(row, row), ALSO),
    Schema(
        ("prompt", "chosen", "rejected", "metadata.score_chosen", "metadata.score_rejected"),
        lambda row: _read(row, row["metadata"]),
        ALSO,
    ),
)
