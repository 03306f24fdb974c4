"""Which settings name code, a host that is asked, or a file that is written: what a stranger must not set."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from alignpro.config.places import PROMPTER
from alignpro.config.settings import Settings

CODE_AND_HOSTS = ("python:", "openai:", "http://", "https://", PROMPTER)
OURS = ("python:alignpro.lab:gold_utility",)
"""Code of the package that its own recipes name."""
_TEXTS = ("template", "system", "examples", "criteria")
"""Settings that hold what a model reads, whatever it begins with."""
_QUIET = ("timeout", "attempts", "patience", "concurrency", "most_concurrency", "price")
"""Settings of an endpoint that say nothing of where requests go or what they hold; any other does."""
_SWITCHES, _WRITTEN = ("trust_remote_code",), ("cache", "track")


def named(settings: Settings) -> dict[str, Any]:
    """Dotted name -> value of the settings that name code, hosts, trackers, or files outside of a run's folder."""
    return named_in(settings.model_dump(mode="json"))


def named_in(tree: Mapping[str, Any]) -> dict[str, Any]:
    """The same of nested settings as a recipe has them."""
    return dict(_named(tree, ""))


def files_outside(tree: Any, folder: Path, prefix: str = "") -> dict[str, str]:
    """Dotted name -> @FILE of the texts of a recipe that are read from files which do not lie in its folder."""
    if isinstance(tree, Mapping):
        inner = {f"{prefix}{key}": value for key, value in tree.items()}
    elif isinstance(tree, list):
        inner = {f"{prefix}{number}": value for number, value in enumerate(tree)}
    else:
        return {}
    outside: dict[str, str] = {}
    for name, value in inner.items():
        if isinstance(value, str) and value.startswith("@") and not value.startswith("@@"):
            place = (folder / Path(value[1:]).expanduser()).resolve()
            outside |= {} if place.is_relative_to(folder.resolve()) else {name: value}
        outside |= files_outside(value, folder, f"{name}.")
    return outside


def _named(tree: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    spec = str(tree.get("model") or tree.get("term") or "python:")  # of a part of a recipe it is not known
    for key, value in tree.items():
        name = f"{prefix}{key}"
        if key in _TEXTS or not value:
            continue
        if key in _SWITCHES or key in _WRITTEN or (key == "arguments" and spec.startswith("python:")):
            yield name, value
        elif key.endswith("endpoint") and isinstance(value, Mapping):
            yield from ((f"{name}.{own}", held) for own, held in value.items() if held and own not in _QUIET)
        elif isinstance(value, Mapping):
            yield from _named(value, f"{name}.")
        elif isinstance(value, list):
            yield from _named({str(number): one for number, one in enumerate(value)}, f"{name}.")
        elif isinstance(value, str) and value.strip().lower().startswith(CODE_AND_HOSTS) and value not in OURS:
            yield name, value
