"""The closed form (10) by sampling, without training."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from alignpro.config import EvaluateSettings, Settings
from alignpro.evaluate.arms.arm import Arm, Rows
from alignpro.flow.prompters import GibbsPrompter
from alignpro.types import FloatArray, Prompter

if TYPE_CHECKING:
    from alignpro.evaluate.models import Models


class Gibbs(Arm):
    """N rewrites of the reference, one drawn by its reward. (B7)"""

    written = "gibbs_N"
    kl_against = "reference prompter"

    @property
    def label(self) -> str:
        return f"Gibbs, N = {self.number}"

    @property
    def meaning(self) -> str:
        return f"{self.number} rewrites of the reference, one drawn by its reward; no training"

    def prompter(self, models: Models, settings: Settings) -> Prompter:
        return GibbsPrompter(
            models.known_reference().prompter,
            models.frozen,
            models.reward,
            candidates=self.number,
            responses=settings.evaluate.gibbs_responses,
            lam=settings.train.kl.coef,
            prompt_terms=models.prompt_terms,
        )

    def kl(self, models: Models, prompter: Prompter, rewrites: Rows, responses: Rows) -> FloatArray:
        """An upper bound of it, a draw each, since what is drawn has no log-probability of its own."""
        assert isinstance(prompter, GibbsPrompter)
        return np.array(prompter.kl_bounds).reshape(len(rewrites), -1)

    def extra_calls(self, settings: EvaluateSettings) -> int:
        return self.number * settings.gibbs_responses
