"""Finished arms of a comparison in the run's folder, so that one that was stopped asks for none of them again."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np

from alignpro import config
from alignpro.config import Settings
from alignpro.evaluate.sampling import ArmResult
from alignpro.runtime import files, processes
from alignpro.types import FloatArray, Generation, Prompt

BESIDE = re.compile(
    r"(budget|headroom|compare|judge|reward_learning|sft|pairs|frozen\.endpoint|frozen\.concurrency|frozen\.timeout|reward\.endpoint)(\.|$)|track"
    r"|evaluate\.(arms|bootstrap|judge|tie_margin|every|monitor_prompts)(\.|$)"
)
"""Settings that change no answer of an arm."""
DONE = "done"
"""The file that says that the comparison of these arms was written."""


def identity(settings: Settings, prompts: Sequence[Prompt], weights: Sequence[str]) -> str:
    """A digest of what an arm's figures follow from: settings, held-out prompts, weights (or names) of the models."""
    told = {key: v for key, v in config.flat(settings.model_dump(mode="json")).items() if not BESIDE.match(key)}
    whole = json.dumps([told, [prompt.key for prompt in prompts], list(weights)], sort_keys=True, default=str)
    return hashlib.blake2b(whole.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


@dataclass(frozen=True)
class KeptArms:
    """Arms under `path`, one file each, that `identity` tells from those of other settings or weights."""

    path: Path
    identity: str

    def get(self, name: str, prompts: Sequence[Prompt]) -> ArmResult | None:
        """The arm, or None where it is not there, or not the one that would be sampled now."""
        tree = processes.by_first(lambda: files.read_json(self._file(name)))
        if tree is None or tree.get("identity") != self.identity:
            return None
        try:
            return _arm(name, prompts, tree)
        except (KeyError, TypeError, ValueError, AssertionError):  # damaged: it is sampled as it was before
            return None

    def put(self, arm: ArmResult) -> ArmResult:
        """Keep an arm; returns what `get` gives, so that figures of a comparison never depend on which it was."""
        tree = _tree(arm)
        processes.by_first(lambda: self.path.mkdir(exist_ok=True))
        files.write_json(self._file(arm.name), {"identity": self.identity, **tree}, checked=True)
        return _arm(arm.name, arm.prompts, tree)

    def _file(self, name: str) -> Path:
        return self.path / f"{quote(name, safe='')}.json"

    def done(self) -> None:
        """The comparison is written: `forget_compared` may drop these."""
        files.write_text(self.path / DONE, "")


def forget_compared(path: Path) -> None:
    """Drop arms whose comparison was written, so that another samples its own; those of one that was stopped stay."""
    if processes.by_first((path / DONE).is_file):
        processes.by_first(lambda: shutil.rmtree(path))


def _tree(arm: ArmResult) -> dict[str, Any]:
    """What the figures of an arm are made of; token ids and log-probabilities have served when it is finished."""
    return {
        "rewrites": _texts(arm.rewrites),
        "responses": _texts(arm.responses),
        "rewards": _plain(arm.rewards),
        "second_rewards": _plain(arm.second_rewards),
        "kl": _plain(arm.kl),
        "frozen_calls": arm.frozen_calls,
        "failures": dict(arm.failures),
        "parts": {name: _plain(values) for name, values in arm.parts.items()},
        "prompt_terms": {name: _plain(values) for name, values in arm.prompt_terms.items()},
        "bonus": _plain(arm.bonus),
        "template": arm.template,
    }


def _arm(name: str, prompts: Sequence[Prompt], tree: Mapping[str, Any]) -> ArmResult:
    rewards = _array(tree["rewards"])
    assert rewards is not None
    return ArmResult(
        name=name,
        prompts=tuple(prompts),
        rewrites=_generations(tree["rewrites"]),
        responses=_generations(tree["responses"]),
        rewards=rewards,
        second_rewards=_array(tree["second_rewards"]),
        kl=_array(tree["kl"]),
        frozen_calls=tree["frozen_calls"],
        failures=Counter(tree["failures"]),
        parts=_arrays(tree["parts"]),
        prompt_terms=_arrays(tree["prompt_terms"]),
        bonus=_array(tree["bonus"]),
        template=tree["template"],
    )


def _texts(rows: Sequence[Sequence[Generation]]) -> list[list[list[str | None]]]:
    return [[[g.text, g.finish, g.failure] for g in row] for row in rows]


def _generations(rows: Sequence[Sequence[Any]]) -> tuple[tuple[Generation, ...], ...]:
    return tuple(tuple(Generation(text, finish, failure=why) for text, finish, why in row) for row in rows)


def _plain(values: FloatArray | None) -> list[list[float | None]] | None:
    """Exact numbers, since JSON holds a float64 to its last digit; nan is null."""
    if values is None:
        return None
    return [[float(value) if np.isfinite(value) else None for value in row] for row in values]


def _array(rows: Sequence[Sequence[float | None]] | None) -> FloatArray | None:
    return None if rows is None else np.array(rows, dtype=np.float64)


def _arrays(parts: Mapping[str, Any]) -> dict[str, FloatArray]:
    return {name: np.array(rows, dtype=np.float64) for name, rows in parts.items()}
