"""verl: the rows of its data, and a `compute_score` for its custom reward function, of one sample or a batch.

The environment is read once from the YAML file that ALIGNPRO_SETTINGS names. x is `extra_info["original"]`, the turns
before it `extra_info["before"]`, its row `extra_info["row"]`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np

from alignpro.adapters.environment import Environment, asked, before, environment
from alignpro.errors import DataError, RewardFailure, SettingsError
from alignpro.rng import derive
from alignpro.types import Prompt, as_prompts, columns_of

VARIABLE, FIELD = "ALIGNPRO_SETTINGS", "original"
BEFORE, ROW = "before", "row"


def rows(
    environment: Environment, prompts: Sequence[str | Prompt], data_source: str = "alignpro", answer: str = "answer"
) -> list[dict[str, Any]]:
    """What verl's parquet file holds: the conversation that the prompter is shown for x, and x itself in `extra_info`,
    with what stands before it and the columns of its row; the column `answer` is the ground truth too.

    verl puts every conversation through a chat template; `environment.frame.text_template` is the one to give it for a
    prompter without one.
    """
    xs = as_prompts(prompts)
    turns, names = any(not x.alone for x in xs), columns_of(xs)
    return [
        {
            "data_source": data_source,
            "prompt": environment.frame.messages(x),
            "ability": "rewriting",
            "reward_model": {"style": "rule", "ground_truth": x.row.get(answer, "")},
            "extra_info": {
                FIELD: x.text,
                "index": i,
                **({BEFORE: before(x)} if turns else {}),
                **({ROW: {name: x.row.get(name) for name in names}} if names else {}),
            },
        }
        for i, x in enumerate(xs)
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
    originals = [_original(info, truth) for info, truth in zip(extra_infos, ground_truths, strict=True)]
    drawn = derive(0, "verl", *(x.key for x in originals), *solution_strs)
    rewards = _environment().rewards(originals, solution_strs, drawn)
    for i in np.flatnonzero(np.isnan(rewards)):
        others = rewards[[x == originals[i] for x in originals]]
        if np.isnan(others).all():
            raise RewardFailure(
                f"no completion for {originals[i].text[:60]!r} has a reward, and verl takes no missing one"
            )
        rewards[i] = np.nanmean(others)
    return [float(value) for value in rewards]


def _original(info: Mapping[str, Any] | None, truth: Any) -> Prompt:
    """x of a sample; of data not made by `rows` its row is the ground truth alone."""
    if not info or not isinstance(info.get(FIELD), str):
        held = ", ".join(info) if info else "nothing"
        raise DataError(f"extra_info holds {held}; give the user's own prompt as extra_info[{FIELD!r}]")
    row = info.get(ROW) or ({} if truth in (None, "") else {"ground_truth": truth})
    return asked(info[FIELD], info.get(BEFORE), row)


@cache
def _environment() -> Environment:
    if not (path := os.environ.get(VARIABLE)):
        raise SettingsError(f"set {VARIABLE} to the YAML file that names the frozen model and the reward")
    return environment(path)
