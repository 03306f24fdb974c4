"""What the settings' arguments make of a factory of rewards: each checked by its annotation, every fault named."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from pydantic import ConfigDict, ValidationError, validate_call

from alignpro.errors import SettingsError

Made = TypeVar("Made")


def made(make: Callable[..., Made], name: str, setting: str, arguments: Mapping[str, Any]) -> Made:
    """`make(**arguments)`; `setting` names `name`, and is what errors call it.

    Raises SettingsError for an argument that is not known or of the wrong type, and with what `make` itself raises.
    """
    known = inspect.signature(make).parameters
    if unknown := [argument for argument in arguments if argument not in known]:
        taken = f"it takes {', '.join(known)} in {setting.removesuffix('.model')}.arguments" if known else "it has none"
        raise SettingsError(f"{setting} {name}: unknown argument {', '.join(unknown)}; {taken}")
    try:
        return validate_call(config=ConfigDict(strict=True))(make)(**arguments)
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']} ({e['input']!r})" for e in error.errors())
        raise SettingsError(f"{setting} {name}: arguments: {wrong}") from error
    except SettingsError as error:
        raise SettingsError(f"{setting} {name}: {error}") from error
