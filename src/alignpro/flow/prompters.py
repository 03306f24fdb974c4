"""Prompters made without training: none at all, a template, the closed form by sampling, several in sequence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from alignpro.data.templates import Template
from alignpro.flow.objective import objective
from alignpro.flow.rollout import rollout
from alignpro.maths import gibbs
from alignpro.rng import derive
from alignpro.types import (
    EagerPrompter,
    FloatArray,
    FrozenModel,
    Generation,
    OnDrawn,
    Prompt,
    Prompter,
    Reward,
    RewriteTerms,
    Seed,
)

NO_REWARD = "no candidate has a reward"
"""The failure of a rewrite that sampling could not choose."""


@dataclass(frozen=True)
class IdentityPrompter:
    """No prompter: x' is x."""

    name: str = "no prompter"

    def rewrite(self, prompts: Sequence[Prompt], n: int, seed: Seed) -> list[list[Generation]]:
        return [[Generation(prompt.text, "given")] * n for prompt in prompts]


@dataclass(frozen=True)
class TemplatePrompter:
    """The same template around every prompt; `frozen_calls` counts the answers by which it was chosen."""

    template: Template
    frozen_calls: int = 0

    @property
    def name(self) -> str:
        return self.template.name

    def rewrite(self, prompts: Sequence[Prompt], n: int, seed: Seed) -> list[list[Generation]]:
        return [[Generation(self.template.frame(prompt), "given")] * n for prompt in prompts]


@dataclass(frozen=True)
class Chain:
    """Several prompters in sequence: each rewrites what the one before wrote; the reward still sees x.

    A rewrite that failed on the way stays failed.
    """

    passes: tuple[Prompter, ...]

    @property
    def name(self) -> str:
        return " then ".join(prompter.name for prompter in self.passes)

    def rewrite(self, prompts: Sequence[Prompt], n: int, seed: Seed) -> list[list[Generation]]:
        return self.rewrite_each(prompts, n, seed, lambda b, g, rewrite: None)

    def rewrite_each(self, prompts: Sequence[Prompt], n: int, seed: Seed, on_drawn: OnDrawn) -> list[list[Generation]]:
        """The same, those of the last pass told of as they are drawn."""
        rows = self.passes[0].rewrite(prompts, n, derive(seed, "pass", 0))
        for number, prompter in enumerate(self.passes[1:], 1):
            flat = [g for row in rows for g in row]
            where = [i for i, g in enumerate(flat) if g.failure is None]
            usable = [prompts[i // n].asking(flat[i].text) for i in where]
            luck = derive(seed, "pass", number)
            if isinstance(luck, Sequence):
                luck = [derive(luck[i // n], i % n) for i in where]
            if prompter is self.passes[-1] and isinstance(prompter, EagerPrompter):
                again = iter(prompter.rewrite_each(usable, 1, luck, _placed(where, n, on_drawn)))
            else:
                again = iter(prompter.rewrite(usable, 1, luck))
            flat = [next(again)[0] if g.failure is None else Generation("", failure=g.failure) for g in flat]
            rows = [flat[start : start + n] for start in range(0, len(flat), n)]
        return rows


def _placed(where: Sequence[int], n: int, on_drawn: OnDrawn) -> OnDrawn:
    """Tell rewrites of the rows `where` of a flat list as those of its prompts, `n` each."""
    return lambda i, _, rewrite: on_drawn(*divmod(where[i], n), rewrite)


@dataclass
class GibbsPrompter:
    """Draw `candidates` rewrites from the reference, score each, keep one with probability proportional to exp(R /
    lam).

    Sampling-importance-resampling of (10): converges to rho* as `candidates` grows (B7); lam 0 keeps the best. Every
    rewrite asked for gets candidates of its own. `frozen_calls` counts what scoring cost; `kl_bounds` collects, a draw
    each, log N + sum w log w over different candidates, whose mean bounds the KL to the reference from above; nan for a
    draw without a reward. Terms on x' count in R, as they do in what training maximises.
    """

    reference: Prompter
    frozen: FrozenModel
    reward: Reward
    candidates: int
    responses: int
    lam: float
    prompt_terms: RewriteTerms | None = None
    frozen_calls: int = 0
    kl_bounds: list[float] = field(default_factory=list)

    @property
    def name(self) -> str:
        return f"gibbs_{self.candidates} of {self.reference.name}"

    def rewrite(self, prompts: Sequence[Prompt], n: int, seed: Seed) -> list[list[Generation]]:
        if isinstance(seed, Sequence):
            return [self.rewrite([prompt], n, own)[0] for prompt, own in zip(prompts, seed, strict=True)]
        sampled = rollout(
            prompts,
            self.reference,
            self.frozen,
            self.reward,
            rewrites=n * self.candidates,
            responses=self.responses,
            seed=derive(seed, "candidates"),
            prompt_terms=self.prompt_terms,
        )
        self.frozen_calls += sampled.frozen_calls
        scores = objective(sampled).reshape(len(prompts), n, self.candidates)
        luck = np.random.default_rng(derive(seed, "choice")).random((len(prompts), n))
        chosen: list[list[Generation]] = []
        for b, row in enumerate(sampled.rewrites):
            chosen.append([])
            for draw in range(n):
                options = row[draw * self.candidates : (draw + 1) * self.candidates]
                chosen[-1].append(self._choose(options, scores[b, draw], luck[b, draw]))
        return chosen

    def _choose(self, options: Sequence[Generation], scores: FloatArray, luck: float) -> Generation:
        if np.isnan(scores).all():
            self.kl_bounds.append(np.nan)
            unread = all(option.failure for option in options)
            return replace(options[0], failure=options[0].failure if unread else NO_REWARD)
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
