"""Files and folders among the settings: taken from the working folder, and absolute from then on."""

from __future__ import annotations

import os
import re
from typing import Annotated, Any

from pydantic import AfterValidator

ENCODER = "measure:similarity:"
"""What the name of a reward begins with that goes on with a sentence encoder's."""
_NO_PATHS = re.compile(
    r"(?:lab|ultrafeedback|helpsteer|orca)\Z|(?:lab|task|hub|package|verify|measure|python|openai|https?):"
)
_BEFORE_PATHS = ("lm:", ENCODER, "model=")


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


def moved(value: Any, began: str) -> Any:
    """Settings that were taken in the folder `began`, whose paths lead to the same places below the working folder
    where they are there and no longer where they were: of a run whose project was moved."""
    if isinstance(value, dict):
        return {key: moved(one, began) for key, one in value.items()}
    if isinstance(value, list):
        return [moved(one, began) for one in value]
    before, mark, below = value.partition(f"{began}/") if isinstance(value, str) else ("", "", "")
    if not mark or before not in ("", *_BEFORE_PATHS) or os.path.exists(mark + below):  # noqa: PTH110
        return value
    return before + os.path.abspath(below) if os.path.exists(below) else value  # noqa: PTH100, PTH110


Place = Annotated[str, AfterValidator(place)]
"""A setting that names a file or folder, or something else: an id on a hub, lab, a URL."""
File = Annotated[str, AfterValidator(_absolute)]
"""A setting that names a file, which need not be there yet."""
TEMPLATES = ("default", "lab", "constraints")
"""Lists of templates that ship with the package."""
TEMPLATE = "template:"
"""What the name of an arm begins with that names a file of templates, or is template:best."""
PROMPTER = "prompter:"
"""What the name of an arm begins with that names a model behind a URL, or one of evaluate.prompters."""


def _templates(name: str) -> str:
    return name if name in TEMPLATES else _absolute(name)


def _arm(name: str) -> str:
    file = name.removeprefix(TEMPLATE)
    return name if file in (name, "best") else TEMPLATE + _templates(file)


TemplatesFile = Annotated[str, AfterValidator(_templates)]
"""A setting that names a file of templates, or one of the lists that ship."""
ArmName = Annotated[str, AfterValidator(_arm)]
"""The name of an arm, which may name a file of templates."""
