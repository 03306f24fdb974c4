"""Which folders and recipes are this user's own: a mark outside of them says so, since all that is in them can be
copied.

A folder that names no code and no host needs no mark. The mark of one that does holds a random id, which the folder
holds too, a digest of what it names, and where it lies. It stands in $ALIGNPRO_STATE, or else $XDG_STATE_HOME/alignpro,
or ~/.local/state/alignpro.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from alignpro import config
from alignpro.config import Settings, naming
from alignpro.errors import NotTrusted, RunFailure
from alignpro.runtime import consent, files, processes
from alignpro.runtime.progress import Progress

ID = ".own"
"""File in a run's folder that holds the id under which its mark is kept."""
LONGEST = 8
"""Names that an error lists."""


def state() -> Path:
    """The folder of this user's marks."""
    if own := os.environ.get("ALIGNPRO_STATE"):
        return Path(own).expanduser()
    base = os.environ.get("XDG_STATE_HOME")
    return (Path(base) if base else Path.home() / ".local" / "state") / "alignpro"


def mark(path: Path, settings: Settings) -> None:
    """Note that the run's folder with these settings is this user's own; where it names nothing, nothing is noted."""
    if named := naming.named(settings):
        processes.by_first(lambda: _mark(path, _digest(named)))


def check(
    path: Path,
    overrides: Sequence[str] = (),
    of: tuple[str, ...] = (),
    given: Settings | None = None,
    writes: bool = True,
) -> None:
    """Raise NotTrusted where a run's folder is not this user's own and names code or hosts, or leads out of itself by
    links where the command `writes`; with --trust it is made the user's own.

    What `overrides` replace, what is not of the sections `of`, and what the settings `given` by the user name alike
    does not count. Of several processes the first looks.
    """
    processes.by_first(lambda: _check(path, overrides, of, given, writes))


def _check(path: Path, overrides: Sequence[str], of: tuple[str, ...], given: Settings | None, writes: bool) -> None:
    file = path / "config.yaml"
    if not file.is_file():
        return
    settings = config.reread(file)
    everything = naming.named(settings)
    replaced = naming.named(given) if given is not None else {}
    names = {
        name: value
        for name, value in everything.items()
        if not _overridden(name, overrides) and (not of or name.startswith(of)) and replaced.get(name) != value
    }
    links = _links_out(path) if writes else []
    if not (names or links) or _is_own(path, _digest(everything)):
        return
    if consent.given().trust:
        _mark(path, _digest(everything))
        return
    told = [*_told(names), *(f"{link} leads out of the folder" for link in links[:LONGEST])]
    raise NotTrusted(
        f"{path} was not made here by you, or was changed since, and {'names' if names else 'holds links'}:"
        f" {'; '.join(told)}. Nothing of it was run, and nothing was sent or written. Look at"
        f" {path / 'config.yaml'}; --trust goes on, and remembers this folder as yours"
    )


def check_recipe(recipe: str, overrides: Sequence[str] = ()) -> list[str]:
    """Raise NotTrusted where a recipe's file, or one that it extends, is another's and names code or hosts, or reads
    texts from files outside of its folder; with --trust it is remembered.

    A file of the working folder, or of the same git repository, is the user's own as a script there is; the result has
    a line that tells what each of these names. `overrides` replace what a recipe names.
    """
    lines = []
    for name, folder, tree in config.sources(recipe):
        names = naming.named_in(tree) | naming.files_outside(tree, folder)
        names = {key: value for key, value in names.items() if not _overridden(key, overrides)}
        if not names:
            continue
        path = Path(name).resolve()
        if _is_here(path):
            lines.append(f"recipe {name} names {'; '.join(_told(names))}")
            continue
        place = state() / "recipes" / f"{_digest({'path': str(path), **names})}.json"
        if place.is_file():
            continue
        if not consent.given().trust:
            raise NotTrusted(
                f"recipe {name} lies outside of the working folder and names: {'; '.join(_told(names))}. Nothing of it"
                " was run, and nothing was sent. Read it; --trust goes on, and remembers it as it stands, or copy it"
                " beside what you work on"
            )
        _write(place, {"path": str(path), "names": names})
    return lines


def refuse_links(path: Path) -> None:
    """Raise NotTrusted where a folder that is not this user's own leads out of itself by links."""
    if _links_out(path):
        check(path, of=("nothing",))


def _mark(path: Path, digest: str) -> None:
    held, place = _read(path)
    if held is None or not _lies_at(held, path):  # of a copy the id is another's
        name = secrets.token_hex(16)
        place = state() / "folders" / f"{name}.json"
        if not _write(place, {**_place_of(path), "digests": [digest]}):
            return
        files.write_text(path / ID, f"{name}\n")
    elif place is not None and (digest not in held["digests"] or held["path"] != _place_of(path)["path"]):
        _write(place, {**_place_of(path), "digests": sorted({*held["digests"], digest})})


def _is_own(path: Path, digest: str) -> bool:
    held, _ = _read(path)
    return held is not None and digest in held["digests"] and _lies_at(held, path)


def _read(path: Path) -> tuple[dict[str, Any] | None, Path | None]:
    """The mark of a folder, by the id in it, and where it stands."""
    try:
        name = (path / ID).read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        return None, None
    if len(name) != 32 or not set(name) <= set("0123456789abcdef"):
        return None, None
    place = state() / "folders" / f"{name}.json"
    held = files.read_json(place)
    return (held if held and isinstance(held.get("digests"), list) else None), place


def _lies_at(held: Mapping[str, Any], path: Path) -> bool:
    """Whether the folder is where it was, or was moved there: a copy is another."""
    now = _place_of(path)
    return bool(held.get("path") == now["path"] or held.get("node") == now["node"])


def _place_of(path: Path) -> dict[str, Any]:
    stat = path.stat()
    return {"path": str(path.resolve()), "node": [stat.st_dev, stat.st_ino]}


def _write(place: Path, tree: Mapping[str, Any]) -> bool:
    try:
        place.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        files.write_json(place, tree)
    except (OSError, RunFailure) as error:
        Progress().say(
            f"{place.parent} cannot be written ({error}), so that this will not be known as yours: set ALIGNPRO_STATE"
            " to a folder that can, or go on with it by --trust"
        )
        return False
    return True


def _is_here(path: Path) -> bool:
    """Whether a recipe is a file of the user's among what is worked on here, and no run's folder that is another's."""
    if path.name == "config.yaml" and (path.parent / "environment.json").is_file():
        return _is_own(path.parent, _digest(naming.named(config.reread(path))))
    if hasattr(os, "getuid") and path.stat().st_uid not in (os.getuid(), 0):
        return False
    here = Path.cwd().resolve()
    if here in (Path.home().resolve(), Path(here.anchor)):
        return path.parent == here
    top = next((above for above in (here, *here.parents) if (above / ".git").exists()), here)
    return path.is_relative_to(top)


def _links_out(path: Path) -> list[str]:
    """Links in a folder that lead out of it, by which what is written there would be written elsewhere."""
    root, out = path.resolve(), []
    for folder, inner, names in os.walk(path):
        for name in (*inner, *names):
            one = Path(folder, name)
            if one.is_symlink() and not one.resolve().is_relative_to(root):
                out.append(str(one.relative_to(path)))
    return sorted(out)


def _overridden(name: str, overrides: Sequence[str]) -> bool:
    keys = (one.partition("=")[0].replace("-", "_") for one in overrides)
    return any(name == key or name.startswith(f"{key}.") for key in keys)


def _told(names: Mapping[str, Any]) -> Sequence[str]:
    written = {name: value if isinstance(value, str) else json.dumps(value) for name, value in names.items()}
    told = [f"{name} {value}"[:200] for name, value in written.items()]
    return told if len(told) <= LONGEST else [*told[:LONGEST], f"and {len(told) - LONGEST} more"]


def _digest(names: Mapping[str, Any]) -> str:
    whole = json.dumps(names, sort_keys=True, default=str)
    return hashlib.blake2b(whole.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
