"""Every setting with type, default and description: what `alignpro settings` prints and docs/settings.md holds."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import annotated_types
from pydantic_core import PydanticUndefined

from alignpro.config.places import ArmName, Place
from alignpro.config.section import OfText, Section, marks_of, sections_in
from alignpro.config.settings import Settings

PLAIN = {bool: "true or false", int: "integer", float: "number", str: "text", NoneType: "null", Any: "anything"}
PLURAL = {
    int: "integers",
    float: "numbers",
    str: "texts",
    Place: "texts",
    ArmName: "texts",
}
REQUIRED = "required"
INTRODUCTION = """\
# Settings

Every setting, by section, with its type and default. `alignpro settings WORD` prints those whose name or description
holds a word; with `--recipe lab` beside what that recipe makes of them. Any of them is given as `--section.key=value`,
or in a YAML recipe. `name[]` is a list of sections.

On the command line a setting that is a text takes the text as it stands, `#`, `:`, quotes and all; `null`, or nothing,
is null where the setting may be null. All else is written as in YAML: `[no_prompter, gibbs_8]`, `{rank: 8}`. In a
recipe `yes`, `no`, `on` and `off` are texts like any other, and `true` and `false` alone switch something.

A path is from the working directory, `~` is home, and both are made absolute, so that a run that is opened from another
folder finds what it began with. What a recipe `extends` is from the recipe's folder.

A text may be given as `@FILE`, `--prompter.template=@meta.txt`: it is what the file holds, read as UTF-8, without the
newline at its end. The path is from the working directory, or, in a recipe, from the recipe's folder. `@@` stands for
an @ with which a text begins.

`alignpro settings --markdown` makes this page."""


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting; `name` is dotted, with [] after a list of sections."""

    name: str
    type: str
    default: str
    description: str


@dataclass(frozen=True, slots=True)
class Group:
    """The settings of one section; `name` is "" for those of no section."""

    name: str
    description: str
    settings: tuple[Setting, ...]


@cache
def groups() -> tuple[Group, ...]:
    """Every section, in the order in which they are declared."""
    return tuple(_groups(Settings, Settings(), ""))


def keys() -> list[str]:
    """Every dotted setting there is, sorted."""
    return sorted(one.name.replace("[]", "") for group in groups() for one in group.settings)


def names() -> list[str]:
    """Every dotted setting and section there is, sorted."""
    return sorted({*keys(), *(group.name.replace("[]", "") for group in groups() if group.name)})


def matching(word: str) -> list[Group]:
    """Sections with those of their settings whose dotted name or description holds `word`, whatever its case."""
    asked, name = word.lower(), word.lower().lstrip("-").replace("-", "_")
    matched = []
    for group in groups():
        held = [s for s in group.settings if name in s.name or asked in s.description.lower()]
        if held:
            matched.append(Group(group.name, group.description, tuple(held)))
    return matched


def nearest(word: str) -> list[str]:
    """Words that find something where `word` does not: by spelling, or by their initials (lr: learning_rate)."""
    asked = word.lower().lstrip("-").replace("-", "_")
    leaves = list(dict.fromkeys(name.rpartition(".")[2] for name in names()))
    meant = [leaf for leaf in leaves if initials(leaf) == asked]
    known = names() if "." in asked else leaves
    return meant or difflib.get_close_matches(asked, known, n=3, cutoff=0.5)


def initials(name: str) -> str:
    """Those of the words of a setting, lr of train.ppo.learning_rate; a single word has none."""
    words = name.rpartition(".")[2].split("_")
    return "".join(word[:1] for word in words) if len(words) > 1 else ""


def told(value: Any) -> str:
    """A value as YAML would have it, on one line."""
    if value is None or isinstance(value, bool):
        return "null" if value is None else str(value).lower()
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, Section):
        value = value.model_dump(exclude_defaults=True)
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {told(one)}" for key, one in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(told, value)) + "]"
    return re.sub(r"\s*\n\s*", " ", str(value)) or '""'


def value_in(settings: Settings, name: str) -> str | None:
    """What a setting is in `settings`; None where its section is null, or a list."""
    value: Any = settings
    for part in name.split("."):
        if not isinstance(value, Section) or part not in type(value).model_fields:
            return None
        value = getattr(value, part)
    return told(value)


def markdown() -> str:
    """docs/settings.md."""
    lines = [INTRODUCTION]
    for group in groups():
        lines += ["", f"## {group.name or 'Of no section'}", "", group.description, ""]
        lines += ["| setting | type | default | |", "| --- | --- | --- | --- |"]
        lines += [f"| `{s.name}` | {_cell(s.type)} | `{s.default}` | {_cell(s.description)} |" for s in group.settings]
    return "\n".join(lines) + "\n"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")


def _groups(section: type[Section], defaults: Section | None, prefix: str) -> Iterator[Group]:
    own, inner = [], []
    for name, info in section.model_fields.items():
        default = getattr(defaults, name) if defaults is not None else info.get_default(call_default_factory=True)
        sections = sections_in(info.annotation)
        dotted = prefix + name
        if info.annotation not in sections:
            shown = REQUIRED if default is PydanticUndefined else told(default)
            own.append(Setting(dotted, _type(info.annotation, info.metadata), shown, info.description or ""))
        below = f"{dotted}[]" if get_origin(info.annotation) is list else dotted
        for one in sections:
            held = default if isinstance(default, one) else None
            inner += list(_groups(one, held, f"{below}."))
    yield Group(prefix.rstrip("."), " ".join((section.__doc__ or "").split()), tuple(own))
    yield from inner


def _type(annotation: Any, metadata: Iterable[Any] = ()) -> str:
    """A type in words."""
    origin, parts = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _type(parts[0], parts[1:])
    if origin is Literal:
        return _either([str(part) for part in parts])
    if origin in (Union, UnionType):
        return _either(list(dict.fromkeys(_type(part) for part in parts)))
    if origin is list:
        return f"list of {'sections' if sections_in(parts[0]) else PLURAL.get(parts[0]) or _type(parts[0])}"
    if origin is dict:
        return f"mapping of {_type(parts[0])} to {PLURAL.get(parts[1]) or _type(parts[1])}"
    if origin is tuple:
        return f"[{', '.join(map(_type, parts))}]"
    if sections_in(annotation):
        return "section"
    marks = marks_of(metadata)
    if any(isinstance(mark, OfText) for mark in marks):
        return "text or @FILE"
    return f"{PLAIN[annotation]}{_bounds(marks)}"


def _bounds(marks: Iterable[Any]) -> str:
    """What bounds a number has, in words."""
    told = {type(mark): mark for mark in marks}
    words = [f" above {low.gt:g}" for low in [told.get(annotated_types.Gt)] if low]
    words += [f" from {low.ge:g}" for low in [told.get(annotated_types.Ge)] if low]
    words += [f" below {high.lt:g}" for high in [told.get(annotated_types.Lt)] if high]
    words += [f" to {high.le:g}" for high in [told.get(annotated_types.Le)] if high]
    return ",".join(words)


def _either(words: list[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} or {words[-1]}"
