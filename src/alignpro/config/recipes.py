"""Recipes and dotted overrides, read into settings; what is wrong with them, told in one line."""

from __future__ import annotations

import copy
import difflib
import os
import re
from collections.abc import Iterable, Mapping
from difflib import SequenceMatcher
from functools import reduce
from importlib import resources
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from alignpro.config import texts, whole
from alignpro.config.listing import initials, names
from alignpro.config.notation import as_yaml, from_yaml, meant, type_of
from alignpro.config.places import moved
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
        switched = not equals and type_of(key.replace("-", "_"), Settings) is bool
        if not key or not (equals or switched):
            raise SettingsError(f"override {item!r} is not of the form section.key=value: it has no value")
        _assign(tree, key, "true" if switched else text)
    return build(tree, source)


def reread(path: Path, overrides: Iterable[str] = (), began: str = "") -> Settings:
    """Settings of a file that `dump` wrote in the working folder `began`, with overrides.

    A file from before the split had a seed of its own names none, and its split is that of the run's seed; one from
    before there were validation prompts has none. Raises SettingsError for one that was cut or changed since, or that
    has other files read.
    """
    sealed, read = whole.check(path), list[Source]()
    own = _read_recipe(path, read=read)
    if len(read) != 1 or texts.files_named(read[0][2]):
        raise SettingsError(
            f"{path}: the settings of a run stand in it whole; this one has other files read, by extends or by @FILE,"
            " so alignpro did not write it"
        )
    tree = laid_over({"data": {"seed": None, "validation": 0}}, moved(own, began) if began else own)
    if not sealed:
        whole.check_complete(tree, resolved(copy.deepcopy(tree), (), str(path)).model_dump(mode="json"), path)
    return resolved(tree, overrides, str(path))


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


Source = tuple[str, Path, dict[str, Any]]
"""A recipe's file, its folder, and its own tree as it is written there."""


def sources(recipe: str | Path) -> list[Source]:
    """The files that a recipe is made of, those that it extends first; packaged ones are none."""
    read: list[Source] = []
    _read_recipe(recipe, read=read)
    return read


def _read_recipe(
    recipe: str | Path, beside: Path = Path(), within: tuple[str, ...] = (), read: list[Source] | None = None
) -> dict[str, Any]:
    """The tree of a recipe, packaged or a file from the folder `beside`; each file is added to what was `read`."""
    text, name, folder = _recipe_text(str(recipe), beside)
    if name in within:
        raise SettingsError(f"recipe {name} extends itself: {' -> '.join((*within, name))}")
    try:
        tree = from_yaml(text)
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
        merged = laid_over(merged, _read_recipe(base, folder, (*within, name), read))
    if read is not None and not folder.is_relative_to(str(resources.files("alignpro.recipes"))):
        read.append((name, folder, tree))
    return laid_over(merged, texts.read(tree, folder))


def _recipe_text(name: str, beside: Path) -> tuple[str, str, Path]:
    """A recipe, what it is called, and the folder from which it names files and other recipes."""
    path = Path(os.path.normpath(beside / Path(name).expanduser()))
    if path.suffix in {".yaml", ".yml"} or path.is_file():
        try:
            return path.read_text(encoding="utf-8-sig"), str(path), path.parent
        except FileNotFoundError:
            raise SettingsError(
                f"recipe file {path} does not exist; `alignpro recipes` lists the packaged ones"
            ) from None
        except UnicodeDecodeError as error:
            raise SettingsError(f"recipe file {path} is not UTF-8 (byte {error.start}); save it as UTF-8") from None
        except OSError as error:
            raise SettingsError(f"recipe file {path} cannot be read ({error.strerror})") from None
    packaged = dict(_packaged(resources.files("alignpro.recipes")))
    if name not in packaged:
        known = recipes()
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(known)}"
        raise SettingsError(f"unknown recipe {name!r}; {hint} A path to a .yaml file works too.")
    return packaged[name], name, (Path(str(resources.files("alignpro.recipes"))) / name).parent


def laid_over(tree: dict[str, Any], own: dict[str, Any]) -> dict[str, Any]:
    """`own` over `tree`, section by section."""
    return tree | {
        key: laid_over(tree[key], value) if isinstance(value, dict) and isinstance(tree.get(key), dict) else value
        for key, value in own.items()
    }


def _assign(tree: dict[str, Any], key: str, text: str) -> None:
    key = key.replace("-", "_")
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise SettingsError(f"{key}: {text!a} holds bytes that are no UTF-8; give it as UTF-8, or as @FILE")
    *sections, leaf = key.split(".")
    value = meant(text, type_of(key, Settings))
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


def _near(where: str, beside: list[str]) -> list[str]:
    """The settings that a wrong name may mean: by the words it stands for and by its last part, the nearest first."""
    leaf, known = where.rpartition(".")[2], [*names(), *beside]
    ending = [name for name in known if name.rpartition(".")[2] == leaf]
    own = [name for name in ending if name.partition(".")[0] == where.partition(".")[0]]
    spelt = difflib.get_close_matches(leaf, [name.rpartition(".")[2] for name in beside], n=1, cutoff=0.85)
    section = own or [name for name in beside if name.rpartition(".")[2] in spelt] or ending
    short = [name for name in known if initials(name) == leaf and name.partition(".")[0] == where.partition(".")[0]]
    if section := [name for name in beside if initials(name) == leaf] or section or short:
        return sorted(set(section), key=lambda name: (-SequenceMatcher(None, where, name).ratio(), name))[:3]
    leaves = {name.rpartition(".")[2]: name for name in reversed(known)}
    close = difflib.get_close_matches(leaf, [name.rpartition(".")[2] for name in beside], n=1)
    close = close or difflib.get_close_matches(leaf, leaves, n=1, cutoff=0.7)
    alike = [name for name in beside if name.rpartition(".")[2] in close] or [leaves[one] for one in close]
    return alike or difflib.get_close_matches(where, known, n=1, cutoff=0.6)


def _explain(fault: dict[str, Any]) -> str:
    where = ".".join(str(part) for part in fault["loc"])
    if fault["type"] == "extra_forbidden":
        *others, last = _near(where, list(_beside(fault["loc"]))) or [""]
        told = f", did you mean {', '.join(others)}{' or ' if others else ''}{last}?"
        leaf = where.rpartition(".")[2]
        return f"unknown setting {where}" + (told if last else f"; `alignpro settings {leaf}` looks for what it may be")
    message = str(fault["msg"]).removeprefix("Value error, ")
    if not where:
        return message
    got = fault.get("input")
    if fault["type"] == "literal_error":
        near = difflib.get_close_matches(str(got), re.findall(r"'([^']+)'", message), n=1)
        message += f" (did you mean {near[0]}?)" if near else ""
    if fault["type"] == "list_type" and isinstance(got, str):
        message += f", as [{got}]"
    return f"{where}: {message[:1].lower()}{message[1:]}" + ("" if isinstance(got, dict) else f", got {got!r}")
