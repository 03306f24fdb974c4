"""Texts among the settings: given as they are, or as @FILE, the text of a file."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from alignpro.config.section import OfText, Section, marks_of, sections_in
from alignpro.config.settings import Settings
from alignpro.errors import SettingsError

Change = Callable[[str, str], str]
"""(dotted name, text) -> text."""


def read(tree: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Settings as nested mappings with every text @FILE read, by its path from `folder`; @@ is an @.

    Raises SettingsError naming the setting and what is wrong with its file.
    """

    def change(name: str, text: str) -> str:
        if not text.startswith("@"):
            return text
        return text[1:] if text.startswith("@@") else _file(name, text[1:], folder)

    return _in_section(Settings, tree, change, "")


def escaped(tree: Mapping[str, Any]) -> dict[str, Any]:
    """Settings as nested mappings of which `read` gives back every text."""
    return _in_section(Settings, tree, lambda name, text: "@" + text if text.startswith("@") else text, "")


def files_named(tree: Mapping[str, Any]) -> list[str]:
    """Names of the texts that `read` would read from files."""
    named: list[str] = []

    def hear(name: str, text: str) -> str:
        if text.startswith("@") and not text.startswith("@@"):
            named.append(name)
        return text

    _in_section(Settings, tree, hear, "")
    return named


def _in_section(section: type[Section], tree: Mapping[str, Any], change: Change, prefix: str) -> dict[str, Any]:
    fields = section.model_fields
    return {
        key: _in_value(fields[key].annotation, fields[key].metadata, value, change, f"{prefix}{key}")
        if key in fields
        else value
        for key, value in tree.items()
    }


def _in_value(annotation: Any, metadata: Iterable[Any], value: Any, change: Change, name: str) -> Any:
    if isinstance(value, str):
        return change(name, value) if _of_text(annotation, metadata) else value
    if isinstance(value, list):
        return [_in_value(annotation, (), one, change, f"{name}.{number}") for number, one in enumerate(value)]
    if isinstance(value, dict):
        for section in sections_in(annotation):
            return _in_section(section, value, change, f"{name}.")
    return value


def _of_text(annotation: Any, metadata: Iterable[Any]) -> bool:
    """Whether what is a text here is one that may be given as a file."""
    if get_origin(annotation) is Annotated:
        kind, *metadata = get_args(annotation)
        return _of_text(kind, metadata)
    if get_origin(annotation) in (Union, UnionType):
        return any(_of_text(kind, ()) for kind in get_args(annotation))
    return any(isinstance(mark, OfText) for mark in marks_of(metadata))


def _file(name: str, given: str, folder: Path) -> str:
    path = folder / Path(given).expanduser()
    wanted = "give @FILE, or @@ for a text that itself begins with @"
    if not path.is_file():
        raise SettingsError(f"{name}: @{given}: there is no file {path}; {wanted}")
    try:
        return path.read_text(encoding="utf-8-sig").removesuffix("\n")
    except UnicodeDecodeError as error:
        raise SettingsError(f"{name}: @{given}: {path} is not UTF-8 (byte {error.start}); save it as UTF-8") from None
    except OSError as error:
        raise SettingsError(f"{name}: @{given}: {path} cannot be read ({error.strerror}); {wanted}") from None
