"""An exported prompter: what `alignpro.json` beside its weights says of its frame, written and read back."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from alignpro import config
from alignpro.config import Settings
from alignpro.errors import UsageError
from alignpro.models.language_model import LanguageModel
from alignpro.runtime import files

FILE = "alignpro.json"
_OWN = ("template", "system", "examples", "thoughts", "sampling", "overflow", "batch_size")
"""Settings of the prompter that the file holds; without them it is not one of ours."""


def described(lm: LanguageModel, settings: Settings) -> dict[str, Any]:
    """What whoever uses the prompter elsewhere must be told of it."""
    own = settings.prompter.model_dump(mode="json", include={"sampling", "overflow", "batch_size"})
    return lm.frame.described() | own | {"guards": settings.guards.model_dump(mode="json")}


def is_exported(folder: Path) -> bool:
    """Whether it is a folder that `alignpro export` wrote."""
    return (folder / FILE).is_file()


def settings_of(folder: Path, overrides: Sequence[str] = ()) -> Settings:
    """Settings in which the exported prompter is loaded as it was trained, with overrides: a frozen model, say.

    Raises UsageError where its file is damaged, SettingsError.
    """
    told = files.read_json(folder / FILE)
    if told is None or "template" not in told:
        raise UsageError(f"{folder / FILE} is damaged or no description of a prompter; export the run anew")
    prompter = {name: told[name] for name in _OWN if name in told} | {"model": str(folder)}
    tree = {"prompter": prompter, "guards": told.get("guards", {}), "train": {"steps": 0}}
    return config.resolved(tree, overrides, str(folder / FILE))
