"""Prompters ready to use, in three lines of Python."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from alignpro.config import Settings
from alignpro.errors import RewardFailure, RunFailure, UsageError
from alignpro.flow.prompters import NO_REWARD, GibbsPrompter
from alignpro.models.loading import device_of
from alignpro.models.local import LocalPrompter, load_prompter
from alignpro.remote.opened import Endpoints
from alignpro.rewards import load_reward
from alignpro.rewards.composite import check_scales
from alignpro.rewards.prompt_terms import load_prompt_terms
from alignpro.running.assemble import frozen_of, load_before, load_trained, pipeline
from alignpro.runtime.run_folder import RunFolder
from alignpro.types import FrozenModel, Prompter


@dataclass
class Rewriter:
    """A prompter with the settings it came with; its frozen model is loaded when first asked."""

    settings: Settings
    prompter: Prompter
    first: LocalPrompter
    frozen: FrozenModel | None = None

    def rewrite(self, prompt: str, n: int = 1, seed: int = 0) -> list[str]:
        """`n` rewrites x' of one prompt. A rewrite that cannot be read is replaced by the prompt itself.

        Raises PromptTooLong where the prompt does not fit the prompter's context, RewardFailure where candidates were
        to be scored and none could be.
        """
        self.first.lm.queries([prompt])
        found = self.prompter.rewrite([prompt], n, seed)[0]
        if any(g.failure == NO_REWARD for g in found):
            raise RewardFailure(f"{NO_REWARD}, so that none can be chosen; look at the reward and at the frozen model")
        return [prompt if g.failure else g.text for g in found]

    def answer(self, prompt: str, seed: int = 0) -> str:
        """The frozen model's answer to a prompt, rewritten or not."""
        if self.frozen is None:
            endpoints = Endpoints(self.settings.budget, self.settings.frozen.cache)
            self.frozen = frozen_of(self.settings, endpoints)
            endpoints.ready()
        generation = self.frozen.respond([prompt], [1], seed)[0][0]
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
        if not folder.trained:
            raise UsageError(f"{run} holds no trained prompter yet; finish it by `alignpro run --resume --out {run}`")
        before = load_before(settings)
        last = load_trained(settings, folder.prompter)
        return cls(settings, pipeline(before, last), before[0][0] if before else last)


class SampledPrompter(Rewriter):
    """The closed form (10) by sampling: rewrites of the reference, scored, one kept. No training, any frozen model."""

    @classmethod
    def load(cls, settings: Settings, candidates: int = 8, best: bool = False) -> SampledPrompter:
        """With `candidates` (N) drawn for every rewrite; kept by exp(R / kl_coef), or the best one.

        Raises UsageError where a model or the reward is not set or cannot be used.
        """
        if missing := [name for name in settings.missing() if name != "data.prompts"]:
            raise UsageError(f"{', '.join(missing)} not set; sampling scores answers, so it needs all three")
        device = device_of(settings.device)
        check_scales(settings.reward)
        endpoints = Endpoints(settings.budget, settings.frozen.cache)
        reward = load_reward(settings.reward, device, settings.dtype, endpoints=endpoints)
        frozen = frozen_of(settings, endpoints)
        endpoints.ready()
        before = load_before(settings)
        last = load_prompter(settings.prompter, device, settings.dtype)
        sampled = GibbsPrompter(
            reference=pipeline(before, last),
            frozen=frozen,
            reward=reward,
            candidates=candidates,
            responses=settings.evaluate.gibbs_responses,
            lam=0.0 if best else settings.train.kl.coef,
            prompt_terms=load_prompt_terms(settings.prompt_terms, last.lm),
        )
        return cls(settings, sampled, before[0][0] if before else last, frozen)
