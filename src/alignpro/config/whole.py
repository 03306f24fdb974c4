"""A resolved configuration that is whole says so in its first line, so that half of it is not filled up by defaults."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from alignpro.errors import SettingsError

_SEAL = re.compile(r"# whole: ([0-9a-f]{16})\n")


def sealed(text: str) -> str:
    """The text of a configuration, and the line that tells it from a part or a change of it."""
    return f"# whole: {_digest(text)}\n{text}"


def fault(text: str) -> str | None:
    """What is wrong with a text that `sealed` gave, or None; one without that line may be older, or of a user's."""
    found = _SEAL.match(text)
    if found is None or found[1] == _digest(text[found.end() :]):
        return None
    return "it was cut or changed since it was written: its first line does not fit it"


def check(path: Path) -> bool:
    """Whether a resolved configuration tells that it is whole; older ones do not.

    Raises SettingsError where it was cut or changed after it was written.
    """
    try:
        text = path.read_bytes().decode()
        why = fault(text)
    except UnicodeDecodeError as error:
        why = f"it is not UTF-8 (byte {error.start + 1})"
    except OSError as error:
        raise SettingsError(f"{path} could not be read: {error.strerror}; make it readable") from None
    if why:
        raise SettingsError(
            f"{path} is damaged: {why}; put it back as it was, or, where the change is meant, delete its first line"
        )
    return _SEAL.match(text) is not None


def check_complete(tree: Mapping[str, Any], resolved: Mapping[str, Any], path: Path) -> None:
    """Raise SettingsError where the tree that a file holds lacks settings that resolved ones have."""
    lacking = list(_lacking(tree, resolved))
    if lacking:
        more = f" and {len(lacking) - 3} more" if len(lacking) > 3 else ""
        raise SettingsError(
            f"{path} is no whole configuration of a run: it lacks {', '.join(lacking[:3])}{more}; put it back as it"
            " was, or write them there with the values that the run was begun with"
        )


def _lacking(tree: Mapping[str, Any], resolved: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    for name, value in resolved.items():
        if name not in tree:
            yield prefix + name
        elif isinstance(value, Mapping) and isinstance(tree[name], Mapping):
            yield from _lacking(tree[name], value, f"{prefix}{name}.")


def _digest(text: str) -> str:
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()
