"""Functions, classes and instances of the user's, named `python:module:name`, and the source that they are made of."""

from __future__ import annotations

import ast
import contextlib
import hashlib
import importlib
import importlib.util
import platform
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, cast

from alignpro.errors import SettingsError


def named(spec: str, setting: str) -> tuple[str, Callable[..., Any]]:
    """`module:name`, and the function, class or callable instance that `python:module:name` is; the working folder is
    searched too. Raises SettingsError."""
    _, _, rest = spec.partition(":")
    module_name, colon, name = rest.partition(":")
    if not colon or not module_name or not name:
        raise SettingsError(f"{setting} {spec!r} is not of the form python:module:function")
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        module = importlib.import_module(module_name)
    except Exception as error:
        raise SettingsError(
            f"{setting} {spec}: importing {module_name} failed ({type(error).__name__}: {error})"
        ) from error
    function = getattr(module, name, None)
    if not callable(function):
        known = ", ".join(n for n in vars(module) if callable(getattr(module, n)) and not n.startswith("_"))
        raise SettingsError(f"{setting} {spec}: {module_name} has no function {name!r}; it has {known or 'none'}")
    return f"{module_name}:{name}", cast("Callable[..., Any]", function)


def made(kind: type, arguments: Mapping[str, Any], spec: str, setting: str, takes: str) -> Callable[..., Any]:
    """An instance of a class, to be called with what `takes` names. Raises SettingsError."""
    try:
        instance: Any = kind(**arguments)
    except Exception as error:
        raise SettingsError(
            f"{setting} {spec}: making it from arguments {dict(arguments)} failed ({type(error).__name__}: {error})"
        ) from error
    if not callable(instance):
        raise SettingsError(f"{setting} {spec}: the class has no __call__ that takes {takes}")
    return cast("Callable[..., Any]", instance)


def source_digest(module_name: str) -> str:
    """A digest of the module's file and of those that it imports and that lie beside it, one importing another.

    Of a package that is installed, only its own files count; of what has no file, the version of Python.
    """
    digest = hashlib.blake2b(digest_size=16)
    for name, content in sorted(_files(module_name).items()):
        digest.update(f"{name}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()


def _files(module_name: str) -> dict[str, bytes]:
    """Contents by module; imports are read out of the source, so that those within functions count too."""
    file = getattr(sys.modules.get(module_name), "__file__", None)
    if file is None:
        return {module_name: platform.python_version().encode()}
    parts, path = module_name.split("."), Path(file)
    root = path.parents[len(parts) - (path.stem != "__init__")]
    installed = bool({"site-packages", "dist-packages"} & set(root.parts))
    found, left = {module_name: path.read_bytes()}, [*_imported(module_name, path)]
    while left:
        name = left.pop()
        if name in found or (installed and name.split(".")[0] != parts[0]):
            continue
        stem = root.joinpath(*name.split("."))
        for path in (stem.with_name(f"{stem.name}.py"), stem / "__init__.py"):
            if path.is_file():
                found[name] = path.read_bytes()
                left += _imported(name, path)
    return found


def _imported(name: str, path: Path) -> Iterator[str]:
    """Modules that a file may import, and the packages that they lie in."""
    if path.suffix != ".py":
        return
    package = name if path.stem == "__init__" else name.rpartition(".")[0]
    names = {name}
    with contextlib.suppress(SyntaxError, ImportError):  # of a file that could not be imported either
        for node in ast.walk(ast.parse(path.read_bytes())):
            if isinstance(node, ast.Import):
                names |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                base = importlib.util.resolve_name("." * node.level + (node.module or ""), package)
                names |= {base, *(f"{base}.{alias.name}" for alias in node.names)}
    for one in names:
        parts = one.split(".")
        yield from (".".join(parts[: n + 1]) for n in range(len(parts)))
