"""The user prompts that settings name: a file's, a data set's, or the lab's own."""

from __future__ import annotations

from alignpro.config import DataSettings
from alignpro.data.prompts import Prompts
from alignpro.data.sources import load_prompts
from alignpro.rng import derive


def prompts_of(settings: DataSettings, seed: int) -> Prompts:
    """The prompts named in the settings, or the lab's own, whose test set is a fifth of its subjects."""
    if settings.prompts != "lab":
        return load_prompts(settings, seed)
    from alignpro.lab.world import user_prompts

    train, test = (
        sorted(
            (p.text for p in user_prompts(which)), key=lambda text: derive(0, "order", text)
        )  # any first n are a fair n
        for which in ("train", "test")
    )
    return Prompts(tuple(train[: settings.limit]), tuple(test), {})
