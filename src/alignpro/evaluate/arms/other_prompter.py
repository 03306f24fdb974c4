"""Another model that rewrites, behind a URL, framed in a way of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from alignpro.config import PROMPTER, OtherPrompterSettings, Settings
from alignpro.evaluate.arms.arm import Arm, Rows
from alignpro.remote.address import is_endpoint
from alignpro.types import FloatArray, Prompter

if TYPE_CHECKING:
    from alignpro.evaluate.models import Models


class OtherPrompter(Arm):
    """Rewrites by one of `evaluate.prompters`, or by the model of a URL in the package's own template.

    Its KL to the reference is nan: a server does not tell what is needed.
    """

    written = f"{PROMPTER}NAME"
    meaning = "another model behind a URL rewrites the prompt"

    def __init__(self, called: str) -> None:
        super().__init__()
        self.called = called

    @property
    def name(self) -> str:
        return f"{PROMPTER}{self.called}"

    @property
    def label(self) -> str:
        model = self.called.rpartition("#")[2] if is_endpoint(self.called) else self.called
        return f"By {model.removeprefix('openai:')}"

    def named(self, settings: Settings) -> OtherPrompterSettings | None:
        """What the settings say of its model; None where they do not name it."""
        if is_endpoint(self.called):
            return OtherPrompterSettings(name="unnamed", model=self.called)
        return next((one for one in settings.evaluate.prompters if one.name == self.called), None)

    def prompter(self, models: Models, settings: Settings) -> Prompter:
        return models.others[self.name]

    def kl(self, models: Models, prompter: Prompter, rewrites: Rows, responses: Rows) -> FloatArray:
        return np.full((len(rewrites), len(rewrites[0]) if rewrites else 0), np.nan)

    def unfit(self, settings: Settings) -> str | None:
        own = self.named(settings)
        if own is None:
            names = ", ".join(one.name for one in settings.evaluate.prompters) or "no model"
            return f"but evaluate.prompters names {names}; name it there, or a URL: {PROMPTER}http://host:8000/v1#MODEL"
        if not is_endpoint(own.model):
            return f"but its model, {own.model}, is behind no URL; give http://host:8000/v1#MODEL or openai:MODEL"
        return None

    @classmethod
    def parse(cls, name: str) -> Arm | None:
        called = name.removeprefix(PROMPTER)
        return cls(called) if called not in ("", "NAME", name) else None
