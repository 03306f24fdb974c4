"""The trained prompter."""

from __future__ import annotations

from typing import TYPE_CHECKING

from alignpro.config import Settings
from alignpro.evaluate.arms.arm import Arm
from alignpro.types import Prompter

if TYPE_CHECKING:
    from alignpro.evaluate.models import Models


class AlignPro(Arm):
    """Rewrites by the prompter that was trained on (9), whatever the method."""

    written = "align_pro"
    label = "Align-Pro"
    meaning = "the trained prompter rewrites the prompt"
    role = "subject"
    trained = True
    kl_against = "reference prompter"

    def prompter(self, models: Models, settings: Settings) -> Prompter:
        if models.trained is None:
            raise ValueError(f"arm {self.name} has no trained prompter")
        return models.trained
