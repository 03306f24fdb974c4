"""Recipes and dotted overrides, read into settings; what is wrong with them, told in one line."""

from __future__ import annotations

import contextlib
import difflib
import re
from collections.abc import Iterable, Mapping
from functools import reduce
from importlib import resources
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from alignpro.config import texts
from alignpro.config.listing import initials, names
from alignpro.config.section import sections_in
from alignpro.config.settings import Settings
from alignpro.errors import SettingsError


def recipes() -> dict[str, str]:
    """Name -> first comment line of every packaged recipe; parts that others extend (`_*.yaml`) are none."""
    lines = {}
    for name, text in _packaged(resources.files("alignpro.recipes")):
        if not name.rsplit("/", 1)[-1].startswith("_"):
            lines[name] = text.split("\n", 1)[0].lstrip("# ")
    return lines


def load(recipe: str | Path, overrides: Iterable[str] = ()) -> Settings:
    """Resolve a recipe (packaged name or YAML file) with `a.b=value` overrides, the last winning.

    A recipe's `extends` names one or several others, which it is laid over in their order. Raises SettingsError for an
    unknown recipe, key or value.
    """
    return resolved(_read_recipe(recipe), overrides, str(recipe))


def resolved(tree: dict[str, Any], overrides: Iterable[str], source: str) -> Settings:
    """Settings of a tree and `a.b=value` overrides, the last winning; `source` is how errors name the tree.

    Raises SettingsError for an unknown key or value.
    """
    for item in overrides:
        key, equals, text = item.partition("=")
        if not equals or not key:
            raise SettingsError(f"override {item!r} is not of the form section.key=value")
        _assign(tree, key, text)
    return build(tree, source)


def reread(path: Path, overrides: Iterable[str] = ()) -> Settings:
    """Settings of a file that `dump` wrote, with overrides.

    A file from before the split had a seed of its own names none, and its split is that of the run's seed; one from
    before there were validation prompts has none.
    """
    return resolved(laid_over({"data": {"seed": None, "validation": 0}}, _read_recipe(path)), overrides, str(path))


def build(tree: Mapping[str, Any], source: str = "settings") -> Settings:
    """Settings from nested mappings; raises SettingsError naming every fault and, for a wrong key, the nearest
    right one."""
    try:
        return Settings.model_validate(tree)
    except ValidationError as error:
        lines = [_explain(dict(fault)) for fault in error.errors()]
        raise SettingsError(f"{source}: " + "; ".join(lines)) from None


def dump(settings: Settings) -> str:
    """The resolved settings as YAML; `load` of it gives them back."""
    tree = texts.escaped(settings.model_dump(mode="json"))
    return as_yaml(tree)


def as_yaml(tree: Mapping[str, Any]) -> str:
    """Nested mappings as YAML, in their own order."""
    return str(yaml.dump(dict(tree), Dumper=_Dumper, sort_keys=False, allow_unicode=True))


class _Dumper(yaml.SafeDumper):
    """Texts of several lines stand line by line, as a person reads them."""


_Dumper.add_representer(
    str,
    lambda dumper, text: dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None),
)


def flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings by dotted name."""
    named: dict[str, Any] = {}
    for key, value in tree.items():
        named |= flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
    return named


def _packaged(folder: Any, prefix: str = "") -> Iterable[tuple[str, str]]:
    """Name and text of every packaged recipe and part, those of inner folders after the folder's own."""
    entries = sorted(folder.iterdir(), key=lambda entry: (entry.is_dir(), entry.name))
    for entry in entries:
        if entry.is_dir():
            yield from _packaged(entry, f"{prefix}{entry.name}/")
        elif entry.name.endswith(".yaml"):
            yield prefix + entry.name.removesuffix(".yaml"), entry.read_text(encoding="utf-8")


def _read_recipe(recipe: str | Path, within: tuple[str, ...] = ()) -> dict[str, Any]:
    name = str(recipe)
    if name in within:
        raise SettingsError(f"recipe {name} extends itself: {' -> '.join((*within, name))}")
    text, folder = _recipe_text(name)
    try:
        tree = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError) as error:
        raise SettingsError(f"recipe {name} is not valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(tree, dict):
        raise SettingsError(f"recipe {name} holds {type(tree).__name__}, not a mapping of settings")
    bases = tree.pop("extends", [])
    bases = [bases] if isinstance(bases, str) else bases
    if not isinstance(bases, list) or not all(isinstance(base, str) for base in bases):
        raise SettingsError(f"recipe {name}: extends is {bases!r}; give the name of a recipe, or a list of names")
    merged: dict[str, Any] = {}
    for base in bases:
        merged = laid_over(merged, _read_recipe(base, (*within, name)))
    return laid_over(merged, texts.read(tree, folder))


def _recipe_text(name: str) -> tuple[str, Path]:
    """A recipe, and the folder from which it names files."""
    path = Path(name)
    if path.suffix in {".yaml", ".yml"} or path.is_file():
        if not path.is_file():
            raise SettingsError(f"recipe file {name} does not exist; `alignpro recipes` lists the packaged ones")
        return path.read_text(encoding="utf-8"), path.parent
    packaged = dict(_packaged(resources.files("alignpro.recipes")))
    if name not in packaged:
        known = recipes()
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(known)}"
        raise SettingsError(f"unknown recipe {name!r}; {hint} A path to a .yaml file works too.")
    return packaged[name], (Path(str(resources.files("alignpro.recipes"))) / name).parent


def laid_over(tree: dict[str, Any], own: dict[str, Any]) -> dict[str, Any]:
    """`own` over `tree`, section by section."""
    return tree | {
        key: laid_over(tree[key], value) if isinstance(value, dict) and isinstance(tree.get(key), dict) else value
        for key, value in own.items()
    }


def _assign(tree: dict[str, Any], key: str, text: str) -> None:
    try:
        value = yaml.safe_load(text) if text else None
    except (yaml.YAMLError, ValueError):
        value = text
    if value == text:  # YAML reads 1e-5 as text; JSON and Python read a number. What was quoted is text
        with contextlib.suppress(ValueError):
            value = float(text)
    *sections, leaf = key.replace("-", "_").split(".")
    nested = texts.read(reduce(lambda held, part: {part: held}, reversed(sections), {leaf: value}), Path())
    value = reduce(lambda held, part: held[part], (*sections, leaf), nested)
    for section in sections:
        child = tree[section] = {} if tree.get(section) is None else tree[section]
        if not isinstance(child, dict):
            raise SettingsError(f"override {key}: {section} is a value, not a section")
        tree = child
    tree[leaf] = value


def _beside(where: tuple[str | int, ...]) -> Iterable[str]:
    """The settings that stand where a wrong one was given, also within a list."""
    section: Any = Settings
    for part in where[:-1]:
        if isinstance(part, str) and part in section.model_fields:
            section = next(iter(sections_in(section.model_fields[part].annotation)), section)
    prefix = "".join(f"{part}." for part in where[:-1])
    return (prefix + name for name in section.model_fields)


def _explain(fault: dict[str, Any]) -> str:
    where = ".".join(str(part) for part in fault["loc"])
    if fault["type"] == "extra_forbidden":
        beside, leaf = list(_beside(fault["loc"])), where.rpartition(".")[2]
        known = [*names(), *beside]
        near = (
            [name for name in beside if initials(name) == leaf]
            or difflib.get_close_matches(where, known, n=1, cutoff=0.5)
            or [name for name in known if name.rpartition(".")[2] == leaf]
        )
        hint = f", did you mean {near[0]}?" if near else f"; `alignpro settings {leaf}` looks for what it may be called"
        return f"unknown setting {where}{hint}"
    message = str(fault["msg"]).removeprefix("Value error, ")
    if not where:
        return message
    got = fault.get("input")
    if fault["type"] == "literal_error":
        near = difflib.get_close_matches(str(got), re.findall(r"'([^']+)'", message), n=1)
        message += f" (did you mean {near[0]}?)" if near else ""
    return f"{where}: {message[:1].lower()}{message[1:]}" + ("" if isinstance(got, dict) else f", got {got!r}")
