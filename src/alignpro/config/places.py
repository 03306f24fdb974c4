"""Files and folders among the settings: taken from the working folder, and absolute from then on."""

from __future__ import annotations

import os
import re
from typing import Annotated

from pydantic import AfterValidator

_NO_PATHS = re.compile(r"(?:lab|ultrafeedback|helpsteer|orca)\Z|(?:lab|hub|verify|python|openai|https?):")
_BEFORE_PATHS = ("lm:", "model=")


def place(name: str) -> str:
    """A name that may be the path of a file or folder: absolute where that is here or begins at home (~), else as it
    is, the id on a hub it may be; so that a run that is opened from another folder finds what it began with."""
    before = next((mark for mark in _BEFORE_PATHS if name.startswith(mark)), "")
    path = name.removeprefix(before)
    at_home = os.path.expanduser(path)  # noqa: PTH111 (raises nothing where there is no home)
    if not path or _NO_PATHS.match(path) or (at_home == path and not os.path.exists(path)):  # noqa: PTH110
        return name
    return before + _absolute(at_home)


def _absolute(path: str) -> str:
    return os.path.abspath(os.path.expanduser(path)) if path else path  # noqa: PTH100, PTH111


Place = Annotated[str, AfterValidator(place)]
"""A setting that names a file or folder, or something else: an id on a hub, lab, a URL."""
File = Annotated[str, AfterValidator(_absolute)]
"""A setting that names a file, which need not be there yet."""
