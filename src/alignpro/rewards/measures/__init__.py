"""Measures of text that come with the package, named `measure:NAME`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from alignpro.errors import SettingsError
from alignpro.rewards.arguments import made
from alignpro.rewards.measures.formulas import readability
from alignpro.rewards.measures.measure import TextMeasure
from alignpro.rewards.measures.plain import ended, repetition, words
from alignpro.types import Reward

PREFIX = "measure:"
OF_TEXT: dict[str, Callable[..., TextMeasure]] = {
    "readability": readability,
    "repetition": repetition,
    "ended": ended,
    "words": words,
}
"""Measures of an answer alone."""
MEASURES = ("similarity", *OF_TEXT)


def load_measure(
    name: str,
    setting: str = "reward.model",
    arguments: Mapping[str, Any] | None = None,
    device: str = "cpu",
    batch_size: int | None = None,
) -> Reward:
    """The measure named `measure:NAME`, made with `arguments`; behind another colon stands the encoder of `similarity`,
    or the formula of `readability`.

    Raises SettingsError for a name or an argument that is not known or of the wrong type and a package that is not
    installed; ModelNotUsable and HubUnreachable for an encoder.
    """
    kind, _, told = name.removeprefix(PREFIX).partition(":")
    given = dict(arguments or {})
    if kind == "similarity":
        from alignpro.rewards.measures.similarity import load_similarity

        return made(partial(load_similarity, told, device, batch_size), name, setting, given)
    if kind not in MEASURES or (told and kind != "readability"):
        more = f"; behind {PREFIX}{kind} stands nothing, its arguments have a setting" if kind in MEASURES else ""
        raise SettingsError(
            f"{setting} {name}: no such measure; there are {', '.join(map(PREFIX.__add__, MEASURES))}{more}"
        )
    return made(OF_TEXT[kind], name, setting, {"formula": told, **given} if told else given)
