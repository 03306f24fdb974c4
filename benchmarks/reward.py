"""Scoring in batches of like length against batches as they come, on the lab's reward model.

    python benchmarks/reward.py

The same pairs and the same batch size on both sides; only the order differs. Prints the ratio of pairs a second,
sorted / unsorted, as median [min, max] over alternating runs after a warm-up.
"""

from __future__ import annotations

import statistics
import time

import numpy as np

from alignpro import config
from alignpro.config import RewardSettings
from alignpro.models.padding import pad
from alignpro.rewards.classifier import batch_logits
from alignpro.rewards.layout import Row, pair
from alignpro.rewards.model import RewardModel, load_reward_model
from alignpro.runtime import threads

PAIRS, BATCH, RUNS = 1024, 64, 7


def rows_of(reward: RewardModel) -> list[Row]:
    """Answers of one to twelve sentences in random order, as lengths of real answers vary."""
    words = ["lanterns need oil and a dry wick .", "about owls .", "warning , flames burn .", "first , trim the wick ."]
    luck = np.random.default_rng(0)
    texts = [" ".join(luck.choice(words, luck.integers(1, 13))) for _ in range(PAIRS)]
    return [pair(reward.tokenizer, "quick , light a lantern", text) for text in texts]


def speed(reward: RewardModel, rows: list[Row], ordered: bool) -> float:
    begun = time.perf_counter()
    if ordered:
        batch_logits(reward.model, rows, BATCH)
    else:
        for start in range(0, len(rows), BATCH):
            batch_logits(reward.model, rows[start : start + BATCH], BATCH)
    return len(rows) / (time.perf_counter() - begun)


def main() -> None:
    count = threads.use(config.load("lab").threads)
    reward = load_reward_model(RewardSettings(model="lab"))
    rows = rows_of(reward)
    lengths = [len(row) for row in rows]
    print(f"{PAIRS} pairs of {min(lengths)} to {max(lengths)} tokens, batches of {BATCH}, {count} threads, {RUNS} runs")
    for name, order in (("as they come", rows), ("sorted", sorted(rows, key=len))):
        masks = [pad([r.ids for r in order[i : i + BATCH]], 0, "right")[1] for i in range(0, PAIRS, BATCH)]
        print(f"  {name}: {1 - sum(int(m.sum()) for m in masks) / sum(m.numel() for m in masks):.0%} padding")
    speed(reward, rows, True), speed(reward, rows, False)
    pairs = [(speed(reward, rows, True), speed(reward, rows, False)) for _ in range(RUNS)]
    ratios = [a / b for a, b in pairs]
    fastest = statistics.median(a for a, _ in pairs)
    print(
        f"sorted / as they come: {statistics.median(ratios):.2f} [{min(ratios):.2f}, {max(ratios):.2f}];"
        f" sorted {fastest:,.0f} pairs/s"
    )


if __name__ == "__main__":
    main()
