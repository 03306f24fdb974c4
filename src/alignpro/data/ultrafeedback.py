"""UltraFeedback, binarised: two answers to a prompt, the better first, with the overall score of each (1 to 10).

Prompt and answers are texts or, as on the hub, `chosen` and `rejected` are messages that begin with the prompt.
"""

from __future__ import annotations

from alignpro.data.records import Answer, Record, Row, Schema, exchange, record, score
from alignpro.errors import UnusableRow

HUB, SPLIT = "HuggingFaceH4/ultrafeedback_binarized", "train_prefs"


def _read(row: Row, scores: Row) -> Record:
    asked, chosen = exchange(row["prompt"], row["chosen"])
    asked_too, rejected = exchange(row["prompt"], row["rejected"])
    if asked != asked_too:
        raise UnusableRow("answers to different prompts")
    best = Answer(chosen, score(scores["score_chosen"]))
    return record(asked, None, best, Answer(rejected, score(scores["score_rejected"])))


SCHEMAS = (
    Schema(("prompt", "chosen", "rejected", "score_chosen", "score_rejected"), lambda row: _read(row, row)),
    Schema(
        ("prompt", "chosen", "rejected", "metadata.score_chosen", "metadata.score_rejected"),
        lambda row: _read(row, row["metadata"]),
    ),
)
