"""The oracle: the answering model itself fine-tuned."""

from __future__ import annotations

from typing import TYPE_CHECKING

from alignpro.config import Settings
from alignpro.evaluate.arms.arm import Arm
from alignpro.flow.prompters import IdentityPrompter
from alignpro.types import FrozenModel, Prompter

if TYPE_CHECKING:
    from alignpro.evaluate.models import Models


class Rlhf(Arm):
    """x as it is to the model that was fine-tuned on (2)."""

    written = "rlhf"
    label = "RLHF"
    meaning = "no prompter: the answering model itself was fine-tuned on the same reward"
    rewrites = False
    kl_against = "frozen model"

    def prompter(self, models: Models, settings: Settings) -> Prompter:
        return IdentityPrompter()

    def model(self, models: Models) -> FrozenModel:
        if models.rlhf is None:
            raise ValueError(f"arm {self.name} has no fine-tuned model")
        return models.rlhf

    def unfit(self, settings: Settings) -> str | None:
        return None if settings.rlhf.enabled else "but rlhf.enabled is false; set it"
