"""verl: the rows of its data, and a `compute_score` for its custom reward function, of one sample or a batch.

The environment is read once from the YAML file that ALIGNPRO_SETTINGS names. x is `extra_info["original"]`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np

from alignpro.adapters.environment import Environment, environment
from alignpro.errors import DataError, RewardFailure, SettingsError
from alignpro.rng import derive

VARIABLE, FIELD = "ALIGNPRO_SETTINGS", "original"


def rows(environment: Environment, prompts: Sequence[str], data_source: str = "alignpro") -> list[dict[str, Any]]:
    """What verl's parquet file holds: the conversation that the prompter is shown for x, and x itself in `extra_info`.

    verl puts every conversation through a chat template; `environment.frame.text_template` is the one to give it for a
    prompter without one.
    """
    return [
        {
            "data_source": data_source,
            "prompt": environment.frame.messages(x),
            "ability": "rewriting",
            "reward_model": {"style": "rule", "ground_truth": ""},
            "extra_info": {FIELD: x, "index": i},
        }
        for i, x in enumerate(prompts)
    ]


def compute_score(
    data_source: str, solution_str: str, ground_truth: Any, extra_info: Mapping[str, Any] | None = None, **_: Any
) -> float:
    """R(x, x') of one completion. Raises RewardFailure where it failed, since verl knows no missing score."""
    return compute_scores([data_source], [solution_str], [ground_truth], [extra_info])[0]


def compute_scores(
    data_sources: Sequence[str],
    solution_strs: Sequence[str],
    ground_truths: Sequence[Any],
    extra_infos: Sequence[Mapping[str, Any] | None],
    **_: Any,
) -> list[float]:
    """R(x, x') of a batch; one that failed gets the mean of its prompt's others, which pushes it nowhere.

    Raises RewardFailure where every completion of a prompt failed, DataError where x is missing.
    """
    originals = [_original(info) for info in extra_infos]
    drawn = derive(0, "verl", *originals, *solution_strs)
    rewards = _environment().rewards(originals, solution_strs, drawn)
    for i in np.flatnonzero(np.isnan(rewards)):
        others = rewards[[x == originals[i] for x in originals]]
        if np.isnan(others).all():
            raise RewardFailure(f"no completion for {originals[i][:60]!r} has a reward, and verl takes no missing one")
        rewards[i] = np.nanmean(others)
    return [float(value) for value in rewards]


def _original(info: Mapping[str, Any] | None) -> str:
    if not info or not isinstance(info.get(FIELD), str):
        held = ", ".join(info) if info else "nothing"
        raise DataError(f"extra_info holds {held}; give the user's own prompt as extra_info[{FIELD!r}]")
    return str(info[FIELD])


@cache
def _environment() -> Environment:
    if not (path := os.environ.get(VARIABLE)):
        raise SettingsError(f"set {VARIABLE} to the YAML file that names the frozen model and the reward")
    return environment(path)
