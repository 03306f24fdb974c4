"""Align a frozen language model by training a small prompter in front of it (Align-Pro, arXiv 2501.03486)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

__all__ = [
    "AskedPrompter",
    "Prompt",
    "Rewrite",
    "SampledPrompter",
    "Settings",
    "TrainedPrompter",
    "__version__",
    "consent",
    "estimate_headroom",
    "load_settings",
    "run",
]

if TYPE_CHECKING:
    from alignpro.config import Settings
    from alignpro.config import load as load_settings
    from alignpro.running.job import headroom as estimate_headroom
    from alignpro.running.job import run
    from alignpro.running.rewriter import AskedPrompter, Rewrite, SampledPrompter, TrainedPrompter
    from alignpro.runtime.consent import consent
    from alignpro.types import Prompt

_WHERE = {
    "AskedPrompter": ("alignpro.running.rewriter", "AskedPrompter"),
    "Prompt": ("alignpro.types", "Prompt"),
    "Rewrite": ("alignpro.running.rewriter", "Rewrite"),
    "SampledPrompter": ("alignpro.running.rewriter", "SampledPrompter"),
    "Settings": ("alignpro.config", "Settings"),
    "TrainedPrompter": ("alignpro.running.rewriter", "TrainedPrompter"),
    "consent": ("alignpro.runtime.consent", "consent"),
    "estimate_headroom": ("alignpro.running.job", "headroom"),
    "load_settings": ("alignpro.config", "load"),
    "run": ("alignpro.running.job", "run"),
}


def __getattr__(name: str) -> Any:
    """Import on first use, so that `import alignpro` and the command line's help take no seconds of torch."""
    if name not in _WHERE:
        raise AttributeError(f"module 'alignpro' has no attribute {name!r}")
    import importlib

    module, attribute = _WHERE[name]
    return getattr(importlib.import_module(module), attribute)
