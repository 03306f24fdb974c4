"""The prompter before training."""

from __future__ import annotations

from typing import TYPE_CHECKING

from alignpro.config import Settings
from alignpro.evaluate.arms.arm import Arm
from alignpro.types import Prompter

if TYPE_CHECKING:
    from alignpro.evaluate.models import Models


class ReferencePrompter(Arm):
    """Rewrites by the prompter that training begins with; its KL to itself is 0 but for rounding."""

    written = "reference_prompter"
    label = "Reference prompter"
    meaning = "the prompter before training rewrites the prompt"
    role = "baseline"
    kl_against = "reference prompter"

    def prompter(self, models: Models, settings: Settings) -> Prompter:
        return models.known_reference().prompter
