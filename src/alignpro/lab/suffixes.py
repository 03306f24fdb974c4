"""The best fixed suffix: every template of the list `lab` around every test prompt."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np

from alignpro.data.templates import read_templates
from alignpro.errors import UsageError
from alignpro.flow.prompters import TemplatePrompter
from alignpro.flow.rollout import rollout
from alignpro.maths import stats
from alignpro.results import Estimate, Sample
from alignpro.results.words import told
from alignpro.rng import derive
from alignpro.types import FloatArray, FrozenModel, Prompt, Reward


def search(
    prompts: Sequence[Prompt],
    frozen: FrozenModel,
    reward: Reward,
    samples: Sequence[Sample],
    responses: int,
    seed: int,
) -> Iterator[str]:
    """Lines of a table: the best suffixes on the test prompts themselves, and align_pro's mean on the same prompts.

    The best of many is chosen on the prompts it is measured on, which flatters it; align_pro has no such help.
    `samples` are the rows of the run's samples.jsonl. Raises UsageError where they hold no evaluation of align_pro.
    """
    ours = _align_pro(samples, len(prompts))
    found = []
    for template in read_templates("lab"):
        suffix = template.text.removeprefix("{prompt}").removeprefix(", ").replace(", ", " , ")
        seeded = derive(seed, f"suffix {suffix!r}")
        made = rollout(prompts, TemplatePrompter(template), frozen, reward, responses=responses, seed=seeded)
        found.append((stats.mean(made.rewards[:, 0]), suffix, made.rewards[:, 0]))
    found.sort(key=lambda row: -row[0])
    yield f"{len(found)} suffixes on {len(prompts)} prompts, {responses} answers each; mean reward by {reward.name}"
    for value, suffix, _ in found[:5]:
        yield f"  {value:7.3f}  {suffix or '(none)'}"
    difference, interval = stats.paired_difference(ours, found[0][2])
    yield f"  {stats.mean(ours):7.3f}  align_pro"
    yield f"align_pro less the best suffix: {told(Estimate.of(difference, interval))}, 95% over prompts"


def _align_pro(samples: Sequence[Sample], prompts: int) -> FloatArray:
    scores: dict[int, list[float]] = {}
    for row in samples:
        if row.stage == "evaluation" and row.arm == "align_pro" and not math.isnan(row.reward):
            scores.setdefault(int(row.prompt_id), []).append(row.reward)
    if not scores:
        raise UsageError("the run holds no evaluation of align_pro; give the folder of a finished lab run")
    rewards = np.full((prompts, max(map(len, scores.values()))), np.nan)
    for prompt, values in scores.items():
        rewards[prompt, : len(values)] = values
    return rewards
