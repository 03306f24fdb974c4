"""The user prompts that settings name: a file's, a data set's, or the lab's own."""

from __future__ import annotations

from alignpro.config import LAB_PROMPTS, DataSettings
from alignpro.data.prompts import Prompts, with_validation
from alignpro.data.sources import load_prompts
from alignpro.rng import derive
from alignpro.types import as_prompts


def prompts_of(settings: DataSettings, seed: int) -> Prompts:
    """The prompts named in the settings, or the lab's own, whose test set is a fifth of its subjects; a share of those
    for training watches it.

    `lab:fact`, `lab:howto` and `lab:advice` are those of one kind of request.
    """
    share = 0.0 if isinstance(settings.validation, str) else settings.validation
    if settings.prompts not in LAB_PROMPTS:
        loaded = load_prompts(settings, seed)
        return with_validation(loaded, share, seed) if share else loaded
    from alignpro.lab.world import user_prompts

    kind = settings.prompts.removeprefix("lab").lstrip(":")

    train, test = (
        sorted(
            (p.text for p in user_prompts(which) if kind in ("", p.subject.kind)),
            key=lambda text: derive(0, "order", text),
        )  # any first n are a fair n
        for which in ("train", "test")
    )
    return with_validation(Prompts(as_prompts(train[: settings.limit]), as_prompts(test), {}), share, 0)
