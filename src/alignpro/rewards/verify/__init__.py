"""Rewards that verify an answer against the row behind its prompt, named `verify:NAME`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from alignpro.errors import SettingsError
from alignpro.rewards.arguments import made
from alignpro.rewards.verify.choices import choice
from alignpro.rewards.verify.constraints import constraints
from alignpro.rewards.verify.maths import math
from alignpro.rewards.verify.numbers import number
from alignpro.rewards.verify.patterns import regex
from alignpro.rewards.verify.schemas import json_schema
from alignpro.rewards.verify.texts import contains, exact
from alignpro.rewards.verify.verifier import Verifier

PREFIX = "verify:"
VERIFIERS: dict[str, Callable[..., Verifier[Any]]] = {
    "exact": exact,
    "contains": contains,
    "number": number,
    "math": math,
    "choice": choice,
    "regex": regex,
    "json_schema": json_schema,
    "constraints": constraints,
}


def load_verifier(
    name: str, setting: str = "reward.model", arguments: Mapping[str, Any] | None = None
) -> Verifier[Any]:
    """The verifier named `verify:NAME`, made with `arguments`.

    Raises SettingsError for a name or an argument that is not known, an argument of the wrong type or that the verifier
    cannot use, and a package that is not installed.
    """
    make = VERIFIERS.get(name.removeprefix(PREFIX))
    if make is None:
        raise SettingsError(
            f"{setting} {name}: no such verifier; there are {', '.join(map(PREFIX.__add__, VERIFIERS))}"
        )
    return made(make, name, setting, arguments or {})
