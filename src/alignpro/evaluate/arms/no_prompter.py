"""The frozen model by itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from alignpro.config import Settings
from alignpro.evaluate.arms.arm import Arm
from alignpro.flow.prompters import IdentityPrompter
from alignpro.types import Prompter

if TYPE_CHECKING:
    from alignpro.evaluate.models import Models


class NoPrompter(Arm):
    """x goes to the frozen model as it is."""

    written = "no_prompter"
    label = "No prompter"
    meaning = "the user's prompt goes to the frozen model as it is"
    role = "baseline"
    rewrites = False

    def prompter(self, models: Models, settings: Settings) -> Prompter:
        return IdentityPrompter()
