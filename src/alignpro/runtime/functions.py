"""Functions, classes and instances of the user's, named `python:module:name`, and the source that they are made of."""

from __future__ import annotations

import ast
import contextlib
import hashlib
import importlib
import importlib.util
import inspect
import os
import platform
import sys
import sysconfig
import threading
from collections.abc import Callable, Iterator, Mapping
from importlib.machinery import PathFinder, SourceFileLoader
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any, cast

from alignpro.errors import SettingsError

Files = dict[str, tuple[Path | None, bytes]]
"""Where modules lie, and their contents."""
_lock = threading.RLock()
_put: set[str] = set()
"""Working folders that were put where imports are searched."""
_also = ""
"""The working folder in which the run that was opened last began."""
_read: dict[str, Files] = {}
"""By module, the files that it was made of when it was last named."""


def named(spec: str, setting: str) -> tuple[str, Callable[..., Any]]:
    """`module:name`, and the function, class or callable instance that `python:module:name` is; the working folder is
    searched too. A module whose source, or that of what it imports beside it, is no longer the one that was read is
    read again. Raises SettingsError."""
    _, _, rest = spec.partition(":")
    module_name, colon, name = rest.partition(":")
    if not colon or not module_name or not name:
        raise SettingsError(f"{setting} {spec!r} is not of the form python:module:function")
    if module_name.endswith(".py"):
        dotted = module_name.removesuffix(".py").removeprefix("./").replace("/", ".").strip(".")
        raise SettingsError(
            f"{setting} {spec!r} names a file; name its module, as python:{dotted}:{name}, from the folder that"
            f" {dotted.partition('.')[0]} lies in"
        )
    try:
        with _lock, in_this_process():
            module = _imported_now(module_name)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
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
        with in_this_process():
            instance: Any = kind(**arguments)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        raise SettingsError(
            f"{setting} {spec}: making it from arguments {dict(arguments)} failed ({type(error).__name__}: {error})"
        ) from error
    if not callable(instance):
        raise SettingsError(f"{setting} {spec}: the class has no __call__ that takes {takes}")
    return cast("Callable[..., Any]", instance)


def check_gives(function: Callable[..., Any], spec: str, setting: str, what: str, may_await: bool = False) -> None:
    """Raise SettingsError for a generator, and unless it `may_await` an async function: a call gives no `what`."""
    kinds: dict[str, Callable[[Any], bool]] = {
        "an async generator": inspect.isasyncgenfunction,
        "a generator": inspect.isgeneratorfunction,
    }
    if not may_await:
        kinds["async"] = inspect.iscoroutinefunction
    for kind, is_of in kinds.items():
        if is_of(function) or is_of(getattr(function, "__call__", None)):  # noqa: B004
            raise SettingsError(
                f"{setting} {spec}: it is {kind}, so that a call of it gives no {what}; make it a plain function that"
                f" returns {what}" + (", in which asyncio.run awaits what is to be awaited" if kind == "async" else "")
            )


@contextlib.contextmanager
def in_this_process() -> Iterator[None]:
    """While code of the user's is called. A child that it forks ends here at the latest, with the code that it exits
    with: it must not go on as a second run."""
    process, code = os.getpid(), 1
    try:
        yield
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
        raise
    finally:
        if os.getpid() != process:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)


def source_digest(module_name: str) -> str:
    """A digest of the module's file and of those that it imports and that lie beside it, one importing another.

    Of a package that is installed, only its own files count; of what has no file, as a notebook's cells, its functions,
    or the version of Python where there are none.
    """
    return _digest_of(_files(module_name))


def _digest_of(read: Files) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for name, (_, content) in sorted(read.items()):
        digest.update(f"{name}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()


def search_also(folder: str) -> None:
    """Search this folder too, after the working folder and all others, for modules that are named; "": none."""
    global _also
    _also = folder


def digest_now(module_name: str) -> str | None:
    """The same of the module as it would be imported now, which it is not; None where there is none."""
    with _lock:
        _search_here()
        try:
            place = _place(module_name)
        except (ImportError, ValueError, AttributeError):
            return None
        if place is None:
            return source_digest(module_name) if module_name in sys.modules else None
        return _digest_of(_files(module_name, place))


def _search_here() -> None:
    """Have imports search the working folder first."""
    here = str(Path.cwd())
    if here in _put and here in sys.path:
        sys.path.remove(here)
    if here not in sys.path:
        sys.path.insert(0, here)
        _put.add(here)
    if _also and _also not in sys.path:
        sys.path.append(_also)
    importlib.invalidate_caches()


def _imported_now(name: str) -> ModuleType:
    """The module as a process that began now would import it from the working folder."""
    _search_here()
    path, before = _place(name), _read.get(name)
    now = _files(name, path)
    if before not in (None, now) or any(_is_other(one, *file) for one, file in now.items()):
        for one in {*now, *(before or ())}:
            _forget(one)
    module = importlib.import_module(name)
    _read[name] = _files(name)
    return module


def _place(name: str) -> Path | None:
    """The file that an import finds; None of what has none."""
    file = getattr(sys.modules.get(name), "__file__", None)
    parts, search, origin = name.split("."), None, None
    if name != "__main__":
        for depth in range(1, len(parts) + 1):
            spec = PathFinder.find_spec(".".join(parts[:depth]), search)
            search = spec.submodule_search_locations if spec else None
            origin = spec.origin if spec and spec.has_location else None
            if search is None and depth < len(parts):
                origin = None
                break
    place = origin or file
    return Path(place) if place else None


def _is_other(name: str, path: Path | None, content: bytes) -> bool:
    """Whether the module that is loaded is another than that of the file: of another folder, or read, before it was
    ever named here, when it had other functions."""
    module = sys.modules.get(name)
    if module is None or path is None or not _is_own(module):
        return False
    if Path(str(module.__file__)).resolve() != path.resolve():
        return True
    if any(name in files for files in _read.values()) or type(module.__loader__) is not SourceFileLoader:
        return False
    codes = set(_codes(compile(content, str(path), "exec", dont_inherit=True)))
    return any(f.__code__ not in codes for f in _functions(module) if f.__code__.co_filename == module.__file__)


def _is_own(module: ModuleType) -> bool:
    """Whether the module is of the user's files: not installed, nor Python's, nor ours, nor what was started."""
    file = getattr(module, "__file__", None)
    if not file or module.__name__.split(".")[0] in ("alignpro", "__main__"):
        return False
    return not _installed(Path(file))


def _installed(path: Path) -> bool:
    library = Path(sysconfig.get_paths()["stdlib"])
    return bool({"site-packages", "dist-packages"} & set(path.parts)) or library in path.parents


def _forget(name: str) -> None:
    """Have the next import read the module's file again, even one of the same second and size."""
    module = sys.modules.get(name)
    if module is not None and _is_own(module):
        del sys.modules[name]
        with contextlib.suppress(OSError, RuntimeError, ValueError):
            Path(importlib.util.cache_from_source(str(module.__file__))).unlink()


def _functions(module: ModuleType) -> list[FunctionType]:
    """Those that are defined in the module, methods among them."""
    held = [one for one in vars(module).values() if getattr(one, "__module__", None) == module.__name__]
    methods = (one for kind in held if isinstance(kind, type) for one in vars(kind).values())
    return [one for one in (*held, *methods) if isinstance(one, FunctionType)]


def _codes(code: CodeType) -> Iterator[CodeType]:
    yield code
    for one in code.co_consts:
        if isinstance(one, CodeType):
            yield from _codes(one)


def _compiled(code: CodeType) -> bytes:
    """What a function is compiled to, the same in every process."""
    parts = []
    for one in _codes(code):
        told = (sorted(map(repr, c)) if isinstance(c, frozenset) else c for c in one.co_consts)
        consts = [repr(c) for c in told if not isinstance(c, CodeType)]
        parts.append(repr((one.co_name, one.co_code, one.co_names, one.co_varnames, consts)))
    return "\n".join(parts).encode("utf-8", "surrogatepass")


def _files(module_name: str, path: Path | None = None) -> Files:
    """Files and their contents by module, `path` being its own; imports are read out of the source, so that those
    within functions count too."""
    module = sys.modules.get(module_name)
    path = path or (Path(file) if (file := getattr(module, "__file__", None)) else None)
    if path is None:
        codes = [_compiled(f.__code__) for f in (_functions(module) if module else ())]
        return {module_name: (None, b"\n".join(sorted(codes)) or platform.python_version().encode())}
    parts = module_name.split(".")
    root = path.parents[len(parts) - (path.stem != "__init__")]
    installed = _installed(path)
    found: Files = {module_name: (path, path.read_bytes())}
    left = [*_imported(module_name, path)]
    while left:
        name = left.pop()
        if name in found or (installed and name.split(".")[0] != parts[0]):
            continue
        stem = root.joinpath(*name.split("."))
        for file in (stem.with_name(f"{stem.name}.py"), stem / "__init__.py"):
            if file.is_file():
                found[name] = file, file.read_bytes()
                left += _imported(name, file)
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
