"""The closed form as a prompter: no training, works with any frozen model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from alignpro.maths import gibbs
from alignpro.rng import derive
from alignpro.rollout import rollout
from alignpro.train.prompter import mean_over_responses
from alignpro.types import FrozenModel, Generation, Prompter, Reward


@dataclass
class GibbsPrompter:
    """Draw `candidates` rewrites from the reference, score each, keep one with probability proportional to exp(R /
    lam).

    Sampling-importance-resampling of (10): converges to rho* as `candidates` grows (B7). Every rewrite asked for gets
    candidates of its own. `frozen_calls` counts what scoring cost; `kl_bounds` collects, a draw each, log N + sum w
    log w over different candidates, whose mean bounds the KL to the reference from above.
    """

    reference: Prompter
    frozen: FrozenModel
    reward: Reward
    candidates: int
    responses: int
    lam: float
    frozen_calls: int = 0
    kl_bounds: list[float] = field(default_factory=list)

    @property
    def name(self) -> str:
        return f"gibbs_{self.candidates} of {self.reference.name}"

    def rewrite(self, prompts: Sequence[str], n: int, seed: int) -> list[list[Generation]]:
        made = rollout(
            prompts,
            self.reference,
            self.frozen,
            self.reward,
            rewrites=n * self.candidates,
            responses=self.responses,
            seed=derive(seed, "candidates"),
        )
        self.frozen_calls += made.frozen_calls
        scores = mean_over_responses(made.rewards).reshape(len(prompts), n, self.candidates)
        luck = np.random.default_rng(derive(seed, "choice")).random((len(prompts), n))
        chosen: list[list[Generation]] = []
        for b, row in enumerate(made.rewrites):
            chosen.append([])
            for draw in range(n):
                options = row[draw * self.candidates : (draw + 1) * self.candidates]
                chosen[-1].append(self._choose(options, scores[b, draw], luck[b, draw]))
        return chosen

    def _choose(self, options: Sequence[Generation], scores: np.ndarray, luck: float) -> Generation:
        if np.isnan(scores).all():
            return replace(options[0], failure=options[0].failure or "no candidate has a reward")
        if self.lam > 0:
            weights = np.exp(gibbs.log_weights(scores, self.lam))
        else:
            weights = np.zeros(len(options))
            weights[np.nanargmax(scores)] = 1.0
        merged: dict[str, float] = {}
        counted: dict[str, int] = {}
        for option, weight in zip(options, weights, strict=True):
            merged[option.text] = merged.get(option.text, 0.0) + float(weight)
            counted[option.text] = counted.get(option.text, 0) + 1
        self.kl_bounds.append(sum(w * np.log(w * len(options) / counted[text]) for text, w in merged.items() if w > 0))
        return options[min(int(np.searchsorted(np.cumsum(weights), luck, side="right")), len(options) - 1)]
