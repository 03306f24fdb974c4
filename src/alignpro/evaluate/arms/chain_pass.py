"""A chain of prompters, broken off before its last pass."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from alignpro.config import Settings
from alignpro.evaluate.arms.arm import Arm
from alignpro.types import Prompter

if TYPE_CHECKING:
    from alignpro.evaluate.models import Models


class ChainPass(Arm):
    """Rewrites by the first N passes of `prompter.before`; a chain's comparison has each of them."""

    written = "pass_N"

    @property
    def label(self) -> str:
        return f"Pass {self.number} of chain"

    @property
    def meaning(self) -> str:
        passes = "first pass" if self.number == 1 else f"first {self.number} passes"
        return f"the {passes} of the chain of prompters, before the one that is trained"

    def prompter(self, models: Models, settings: Settings) -> Prompter:
        return models.passes[self.number - 1]

    def unfit(self, settings: Settings) -> str | None:
        passes = len(settings.prompter.before)
        return None if self.number <= passes else f"but prompter.before has {passes} passes"

    @classmethod
    def implied(cls, settings: Settings) -> Sequence[Arm]:
        return [cls(number + 1) for number in range(len(settings.prompter.before))]
