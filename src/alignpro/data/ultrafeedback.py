"""UltraFeedback, binarised: two answers to a prompt, the better first, with the overall score of each (1 to 10).

Prompt and answers are texts or, as on the hub, `chosen` and `rejected` are messages that begin with the prompt.
"""

from __future__ import annotations

from alignpro.data.records import Before, Record, Row, Schema, preference

HUB, SPLIT = "HuggingFaceH4/ultrafeedback_binarized", "train_prefs"
ALSO = ("messages",)
"""The chosen ones again, on the hub."""


def _read(row: Row, before: Before, scores: Row) -> Record:
    rated = scores["score_chosen"], scores["score_rejected"]
    return preference(row["prompt"], before, row["chosen"], row["rejected"], rated)


SCHEMAS = (
    Schema(
        ("prompt", "chosen", "rejected", "score_chosen", "score_rejected"),
        lambda row, before: _read(row, before, row),
        ALSO,
    ),
    Schema(
        ("prompt", "chosen", "rejected", "metadata.score_chosen", "metadata.score_rejected"),
        lambda row, before: _read(row, before, row["metadata"]),
        ALSO,
    ),
)
