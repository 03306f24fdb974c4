"""From a classifier's logits to one score: which label, or what sum of them, is the reward."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from alignpro.errors import SettingsError
from alignpro.types import FloatArray

Head = Callable[[FloatArray], FloatArray]
"""Logits [N, L] of L labels -> scores [N]."""

HeadSpec = int | str | Sequence[float] | Mapping[str, float] | None
LOG_ODDS = "log_odds:"


def only(logits: FloatArray) -> FloatArray:
    """The score of a model that has one."""
    return logits[:, 0]


def head_of(spec: HeadSpec, labels: Sequence[str], setting: str) -> Head:
    """The head that `spec` asks for, of a model with these labels.

    A label's name or number gives its logit; "mean" the mean of all; weights, as a list or by label, a sum; and
    "log_odds:LABEL" log p(label) - log(1 - p(label)) under the softmax of all logits, which for two labels is their
    difference. Raises SettingsError, which lists the labels, where there are several and none is chosen.
    """
    told = ", ".join(f"{i}: {label}" for i, label in enumerate(labels))
    if spec is None:
        if len(labels) == 1:
            return only
        raise SettingsError(
            f"{setting}: the model has {len(labels)} labels ({told}), and a reward is one score; choose by"
            f" {setting} a label's name or number, mean, weights as a list of {len(labels)} or by name, or"
            " log_odds:LABEL"
        )
    if spec == "mean" and "mean" not in labels:
        return lambda logits: logits.mean(1)
    if isinstance(spec, str) and spec.startswith(LOG_ODDS):
        if len(labels) < 2:
            raise SettingsError(f"{setting} {spec}: the model has one label, whose score is its log-odds; leave it out")
        place = _place(spec.removeprefix(LOG_ODDS), labels, setting, told)
        return lambda logits: logits[:, place] - np.logaddexp.reduce(np.delete(logits, place, 1), axis=1)
    if isinstance(spec, (int, str)):
        place = _place(spec, labels, setting, told)
        return lambda logits: logits[:, place]
    weights = np.zeros(len(labels))
    if isinstance(spec, Mapping):
        for label, weight in spec.items():
            weights[_place(label, labels, setting, told)] += weight
    elif len(spec) != len(labels):
        raise SettingsError(f"{setting} has {len(spec)} weights for {len(labels)} labels ({told}); give one for each")
    else:
        weights[:] = spec
    return lambda logits: logits @ weights


def _place(label: int | str, labels: Sequence[str], setting: str, told: str) -> int:
    if label in labels:
        return list(labels).index(str(label))
    number = int(label) if str(label).isdigit() else -1
    if not 0 <= number < len(labels):
        raise SettingsError(f"{setting}: {label!r} is no label of the model; it has {told}")
    return number
