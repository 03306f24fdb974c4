"""Finished runs side by side: the figures of their arms, the settings in which they differ, differences by prompt."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import fmean

import numpy as np

from alignpro import config, results
from alignpro.config import Settings
from alignpro.errors import UsageError
from alignpro.maths import stats
from alignpro.maths.shares import share_difference
from alignpro.results import Estimate, Evaluation, RunDifference, Sample, SideBySide
from alignpro.runtime.run_folder import RunFolder
from alignpro.types import FloatArray

HOW_IT_IS_COMPUTED = ("batch_size", "device_map", "endpoint", "max_failed")
"""Settings of a reward that change no score."""


@dataclass(frozen=True)
class FinishedRun:
    """One run, read from its folder."""

    name: str
    settings: Settings
    evaluation: Evaluation
    samples: Sequence[Sample]

    def rewards(self, arm: str, second: bool) -> dict[str, list[float]]:
        """Rewards, or second rewards, of the arm's answers to each test prompt that has one."""
        rewards: dict[str, list[float]] = {}
        for row in self.samples:
            value = row.second_reward if second else row.reward
            if row.arm == arm and math.isfinite(value):
                rewards.setdefault(row.asked.key, []).append(value)
        return rewards

    def reward_name(self, second: bool) -> str:
        """Name of the reward, or of the second reward where there is one."""
        return (self.evaluation.second_reward if second else None) or self.evaluation.reward


def side_by_side(paths: Sequence[Path]) -> SideBySide:
    """Compare finished runs; every difference is a run's less the first one's.

    An arm that two runs have is compared by prompt, over the prompts that both were tested on; where these are fewer
    than two, each run's mean is over its own prompts, and the interval is wider for it. Intervals are of 95%,
    over prompts; those of shares where rewards are 0 or 1 and prompts paired.
    Nothing is said of the reward of runs that maximised different ones, nor of second rewards of different names.
    Raises UsageError for fewer than two folders, one given twice, and one that holds no finished run; DamagedResult.
    """
    if len(paths) < 2:
        raise UsageError(f"{paths[0]} is one run alone; give the folder of another beside it")
    if len({path.resolve() for path in paths}) < len(paths):
        raise UsageError("a folder is given twice; give each run once")
    runs = [_read(path, name) for path, name in zip(paths, _names(paths), strict=True)]
    first, notes = runs[0], []
    differences = []
    for other in runs[1:]:
        arms = [arm for arm in first.evaluation.arms if arm in other.evaluation.arms]
        if not arms:
            notes.append(f"{first.name} and {other.name} have no arm in common, so that no difference can be told")
        if _objective(first.settings) == _objective(other.settings):
            differences += [_difference(first, other, arm, second=False) for arm in arms]
        else:
            notes.append(f"{first.name} and {other.name} have different rewards, so that a difference says nothing")
        if first.evaluation.second_reward and first.evaluation.second_reward == other.evaluation.second_reward:
            differences += [_difference(first, other, arm, second=True) for arm in arms]
    return SideBySide(
        runs={run.name: run.evaluation for run in runs},
        settings=_differing({run.name: run.settings for run in runs}),
        differences=tuple(differences),
        notes=notes,
    )


def _read(path: Path, name: str) -> FinishedRun:
    folder = RunFolder(path)
    settings = folder.settings()
    evaluation = results.read(Evaluation, folder.evaluation)
    if evaluation is None:
        raise UsageError(
            f"{path} holds no evaluation.json, so that it is no finished run; `alignpro run --resume --out {path}`"
            " finishes one that was stopped"
        )
    samples = [row for row in results.read_rows(Sample, folder.samples) if row.stage == "evaluation"]
    return FinishedRun(name, settings, evaluation, samples)


def _names(paths: Sequence[Path]) -> list[str]:
    """The folders' own names, or, where two are the same, the paths as they were given."""
    short = [path.resolve().name for path in paths]
    return short if len(set(short)) == len(short) else [str(path) for path in paths]


def _objective(settings: Settings) -> object:
    """What of the settings decides the reward of an answer."""

    def told(tree: object) -> object:
        if isinstance(tree, dict):
            own = {key: told(value) for key, value in tree.items() if key not in HOW_IT_IS_COMPUTED}
            return own | {"body": tree["endpoint"]["body"]} if "endpoint" in tree else own
        return [told(value) for value in tree] if isinstance(tree, list) else tree

    return told(settings.reward.model_dump(mode="json"))


def _differing(settings: Mapping[str, Settings]) -> dict[str, dict[str, object]]:
    """Settings, by dotted name, that are not the same in every run, and what they are in each."""
    trees = {name: config.flat(one.model_dump(mode="json")) for name, one in settings.items()}
    keys = dict.fromkeys(key for tree in trees.values() for key in tree)
    values = {key: {name: tree.get(key) for name, tree in trees.items()} for key in keys}
    return {
        key: held for key, held in values.items() if any(held[name] != held[other] for name, other in pairwise(held))
    }


def _difference(first: FinishedRun, other: FinishedRun, arm: str, *, second: bool) -> RunDifference:
    a, b = first.rewards(arm, second), other.rewards(arm, second)
    shared = [prompt for prompt in a if prompt in b]
    if len(shared) > 1 and all(run.evaluation.shares(run.reward_name(second)) for run in (first, other)):
        value, interval = share_difference(*(_rows(side, shared) for side in (b, a)))
    elif len(shared) > 1:
        gains = np.array([fmean(b[prompt]) - fmean(a[prompt]) for prompt in shared])
        value, interval = float(gains.mean()), stats.mean_interval(gains)
    else:
        own = [np.array([fmean(rewards) for rewards in side.values()], dtype=np.float64) for side in (b, a)]
        value, interval = stats.unpaired_difference(own[0], own[1])
    return RunDifference(
        arm=arm,
        a=first.name,
        b=other.name,
        reward=first.reward_name(second),
        paired=len(shared) > 1,
        prompts=len(shared) if len(shared) > 1 else len({*a, *b}),
        mean=Estimate.of(value, interval),
    )


def _rows(rewards: Mapping[str, Sequence[float]], prompts: Sequence[str]) -> FloatArray:
    """Rewards [B, K] of the answers to `prompts`, nan where a prompt has fewer."""
    rows = [rewards[prompt] for prompt in prompts]
    most = max(map(len, rows))
    return np.array([[*row, *[math.nan] * (most - len(row))] for row in rows])
