"""Preferences between the lab's own answers, labelled by the gold utility with noise: `alignpro lab preferences`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from alignpro.config import FrozenSettings, Sampling
from alignpro.lab import gold, world
from alignpro.models.local import load_frozen
from alignpro.rng import derive

NOISE = 0.3
"""Temperature of the labelling sigmoid, in units of gold utility: the one with which the lab's own reward was made."""


def preferences(
    prompts: int, answers: int, seed: int, say: Callable[[str], None]
) -> tuple[list[dict[str, Any]], float]:
    """All pairs of `answers` answers of the lab's frozen model to each prompt, labelled.

    And the share of labels that the utility itself agrees with: the most that any reward can reach on average.
    """
    rng = np.random.default_rng(derive(seed, "lab preferences"))
    users = [prompt.text for prompt in world.user_prompts("train")]
    asked = [users[i] for i in rng.permutation(len(users))[:prompts]]
    settings = FrozenSettings(model="lab", sampling=Sampling(max_new_tokens=64), batch_size=256)
    say(f"{len(asked) * answers} answers of the lab's frozen model")
    given = load_frozen(settings).respond(asked, [answers] * len(asked), derive(seed, "answers"))
    rows: list[dict[str, Any]] = []
    agreed: list[bool] = []
    for prompt, generations in zip(asked, given, strict=True):
        texts = list(dict.fromkeys(g.text for g in generations if g.text.strip()))
        utility = np.asarray(gold.gold_utility([prompt] * len(texts), texts), dtype=np.float64)
        for i in range(len(texts)):
            for j in range(i):
                first = bool(rng.random() < 1 / (1 + np.exp((utility[j] - utility[i]) / NOISE)))
                high, low = (i, j) if first else (j, i)
                agreed.append(bool(utility[high] > utility[low]))
                rows.append({"prompt": prompt, "chosen": texts[high], "rejected": texts[low]})
    return rows, float(np.mean(agreed)) if agreed else float("nan")
