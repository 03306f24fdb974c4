"""Prompters ready to use, in three lines of Python."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from alignpro.config import Settings
from alignpro.errors import RewardFailure, RunFailure
from alignpro.flow.prompters import NO_REWARD, GibbsPrompter
from alignpro.models.local import LocalPrompter
from alignpro.running.load import load, prompted_by
from alignpro.runtime.run_folder import RunFolder
from alignpro.types import FrozenModel, Prompter, as_prompts


@dataclass
class Rewriter:
    """A prompter with the settings it came with; its frozen model is loaded when first asked."""

    settings: Settings
    prompter: Prompter
    first: LocalPrompter
    frozen: FrozenModel | None = None

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.prompter.name})"

    def rewrite(self, prompt: str, n: int = 1, seed: int = 0) -> list[str]:
        """`n` rewrites x' of one prompt. A rewrite that cannot be read is replaced by the prompt itself.

        Raises PromptTooLong where the prompt does not fit the prompter's context, RewardFailure where candidates were
        to be scored and none could be.
        """
        self.first.lm.queries([prompt])
        rewrites = self.prompter.rewrite(as_prompts([prompt]), n, seed)[0]
        if any(g.failure == NO_REWARD for g in rewrites):
            raise RewardFailure(f"{NO_REWARD}, so that none can be chosen; look at the reward and at the frozen model")
        return [prompt if g.failure else g.text for g in rewrites]

    def answer(self, prompt: str, seed: int = 0) -> str:
        """The frozen model's answer to a prompt, rewritten or not."""
        if self.frozen is None:
            self.frozen = load(self.settings, {"frozen"}).frozen
        generation = self.frozen.respond(as_prompts([prompt]), [1], seed)[0][0]
        if generation.failure:
            raise RunFailure(generation.failure)
        return generation.text


class TrainedPrompter(Rewriter):
    """A run's prompter."""

    @classmethod
    def load(cls, run: str | Path) -> TrainedPrompter:
        """From the folder of a run. Raises UsageError where it holds no trained prompter."""
        folder = RunFolder(Path(run))
        settings = folder.settings()
        folder.check_trained()
        pieces = load(prompted_by(settings, folder.prompter), {"passes", "prompter"})
        return cls(settings, pieces.pipeline(), pieces.prompters[0])


class SampledPrompter(Rewriter):
    """The closed form (10) by sampling: rewrites of the reference, scored, one kept. No training, any frozen model."""

    @classmethod
    def load(cls, settings: Settings, candidates: int = 8, best: bool = False) -> SampledPrompter:
        """With `candidates` (N) drawn for every rewrite; kept by exp(R / kl_coef), or the best one.

        Raises UsageError where a model or the reward is not set or cannot be used.
        """
        pieces = load(settings, {"frozen", "reward", "passes", "prompter", "prompt_terms"})
        sampled = GibbsPrompter(
            reference=pieces.pipeline(),
            frozen=pieces.frozen,
            reward=pieces.reward,
            candidates=candidates,
            responses=settings.evaluate.gibbs_responses,
            lam=0.0 if best else settings.train.kl.coef,
            prompt_terms=pieces.prompt_terms,
        )
        return cls(settings, sampled, pieces.prompters[0], pieces.frozen)
