"""Packages that are extras of this one."""

from __future__ import annotations

import importlib.util


def installed(name: str) -> bool:
    """Whether the package can be imported. A folder of that name on the way, as W&B's own files lie in, is none."""
    found = importlib.util.find_spec(name)
    return found is not None and found.origin is not None
