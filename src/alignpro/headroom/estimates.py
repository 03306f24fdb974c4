"""From samples to `headroom.json`: what each prompter reaches, the frontier, the gap and its bounds, with intervals."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from alignpro.config import HeadroomSettings
from alignpro.headroom.advice import advice
from alignpro.headroom.samples import Samples
from alignpro.maths import stats
from alignpro.maths.kl import k3_from_ratio
from alignpro.maths.shares import is_earned_share, is_share, share_difference, share_interval
from alignpro.results import (
    SHARE,
    Bounds,
    BoundTerms,
    Estimate,
    FineTuned,
    GibbsPoint,
    Headroom,
    Mean,
    Need,
    Needed,
    Point,
    Reward,
    Sampled,
    Trained,
    Withheld,
)
from alignpro.theory import estimate
from alignpro.theory.estimate import Draws, Tilted
from alignpro.types import FloatArray

ABOVE = tuple(2 ** (step / 4) for step in range(1, 33))
"""Multiples of the run's own price at which the frontier is tried where the own tells nothing, up to 256."""


@dataclass(frozen=True)
class Estimator:
    """The samples, the prices of KL, and how intervals are drawn; every method gives a part of `headroom.json`."""

    samples: Samples
    kl_coef: float
    beta: float
    settings: HeadroomSettings
    gibbs_responses: int
    bootstrap: int
    seed: int

    def report(self, reward: str) -> Headroom:
        """Everything but `noise`, which needs the models again."""
        samples = self.samples
        tilted, best = self.tilted, self.best
        tuned = estimate.tilt(Draws.of_responses(samples.raw), self.beta)
        ours, theirs = best.why_withheld is None, tuned.why_withheld is None
        estimated = Headroom(
            reward=reward,
            kind=SHARE if self.shares else "",
            kl_coef=self.kl_coef,
            beta=self.beta,
            prompts=len(samples.prompts),
            rewrites=self.settings.rewrites,
            responses=self.settings.responses,
            answers=self.settings.answers,
            min_ess=estimate.MIN_ESS,
            max_noise=estimate.MAX_NOISE,
            no_prompter=Sampled(reward=self.mean(samples.raw), reward_terms=self.terms(samples.raw_parts)),
            reference_prompter=Sampled(
                reward=self.mean(self.of_rewrites[:, : samples.from_reference]),
                reward_terms=self.terms(samples.parts, slice(samples.from_reference)),
            ),
            optimum=self.point(best) if ours else None,
            trained_prompter=self.trained(best, tuned, list(tilted.values())),
            rlhf_optimum=self.rlhf(tuned),
            frontier=tuple(self.point(one) for one in tilted.values() if one.why_withheld is None),
            gibbs=tuple(self.gibbs(best)),
            d1=self.value(tuned.reward - self.plain) if theirs else None,
            d2=self.value(self.plain - best.reward) if ours else None,
            gap=self.value(tuned.reward - best.reward) if ours and theirs else None,
            bounds=self.bounds(best, tuned),
            withheld=tuple(self.withheld(tilted, tuned)),
            noise=None,
            frozen_calls=samples.frozen_calls,
            needs=(),
            advice=None,
        )
        estimated.needs, estimated.advice = tuple(self.needs(estimated)), advice(estimated)
        return estimated

    @property
    def lams(self) -> list[float]:
        """Prices at which the frontier is estimated, the run's own among them, from the dearest."""
        return sorted({self.kl_coef, *(self.kl_coef * factor for factor in self.settings.lams)}, reverse=True)

    @cached_property
    def tilted(self) -> dict[float, Tilted]:
        """(10) at each price, from the dearest; where the run's own is withheld, also at the lowest above it that these
        samples can tell of."""
        asked = {lam: estimate.tilt(self.draws, lam) for lam in self.lams}
        if asked[self.kl_coef].why_withheld:
            above = (estimate.tilt(self.draws, float(f"{self.kl_coef * factor:.3g}")) for factor in ABOVE)
            if first := next((one for one in above if one.why_withheld is None), None):
                asked[first.lam] = first
        return dict(sorted(asked.items(), reverse=True))

    @property
    def best(self) -> Tilted:
        """(10) at the run's own price."""
        return self.tilted[self.kl_coef]

    @cached_property
    def draws(self) -> Draws:
        """Rewrites of the reference, or of it and the trained prompter, as draws of the reference."""
        return Draws.of_rewards(self.samples.rewards, self.samples.same, self.samples.log_base)

    @cached_property
    def plain(self) -> FloatArray:
        """R(x, x) [B]."""
        return stats.mean_over_responses(self.samples.raw)

    @cached_property
    def reference(self) -> FloatArray:
        """E R(x, x') under the reference [B]."""
        return stats.prompt_means(self.of_rewrites[:, : self.samples.from_reference])

    @cached_property
    def of_rewrites(self) -> FloatArray:
        """R(x, x') [B, N] of each rewrite, the reference's first."""
        return stats.mean_over_responses(self.samples.rewards)

    @cached_property
    def shares(self) -> bool:
        """Whether every reward is 0 or 1, so that means are shares of right answers."""
        return is_share(self.samples.rewards, self.samples.raw)

    def mean(self, rewards: FloatArray) -> Estimate:
        """Mean over prompts of rewards [B, N] of answers, or of rewrites."""
        return self._mean(rewards, self.shares)

    def terms(self, parts: Mapping[str, FloatArray], own: slice = slice(None)) -> dict[str, Mean]:
        """Mean of each term's raw scores: of answers [B, M], or of the answers [B, N, K] to a prompter's `own`
        rewrites."""
        means = {}
        for name, values in parts.items():
            scores = (self.samples.parts[name], self.samples.raw_parts[name])
            share = is_earned_share(*scores)
            seen = stats.mean_over_responses(values[:, own]) if values.ndim == 3 else values
            means[name] = Mean(mean=self._mean(seen, share), kind=SHARE if share else "")
        return means

    def _mean(self, values: FloatArray, share: bool) -> Estimate:
        usual = self.value(stats.prompt_means(values))
        return Estimate.of(usual.value, share_interval(values)) if share else usual

    def value(self, per_prompt: FloatArray) -> Estimate:
        """Mean of one figure a prompt, with its interval."""
        return Estimate.of(stats.mean(per_prompt[:, None]), stats.mean_interval(per_prompt))

    def point(self, tilted: Tilted) -> Point:
        """A point of the frontier (B6), from (E2)."""
        return Point(
            kl_coef=tilted.lam,
            kl=self.value(tilted.kl),
            reward=self.value(tilted.reward),
            gain=self.value(tilted.reward - self.plain),
            ess=tilted.mean_ess,
            noise=tilted.mean_noise,
            objective=self.value(tilted.lam * tilted.log_z),
            log_z=self.value(tilted.log_z).value,
            log_z_uncorrected=self.value(tilted.log_z_uncorrected).value,
            reward_uncorrected=self.value(tilted.reward_uncorrected).value,
        )

    def rlhf(self, tuned: Tilted) -> FineTuned | None:
        """J(pi*) of (4), without fine-tuning anything, (E3)."""
        if tuned.why_withheld:
            return None
        return FineTuned(
            beta=self.beta,
            reward=self.value(tuned.reward),
            ess=tuned.mean_ess,
            kl=self.value(tuned.kl),
            log_z=self.value(tuned.log_z).value,
        )

    def bounds(self, best: Tilted, tuned: Tilted) -> Bounds:
        """Both bounds on the optimal prompter's gap, (11) and (B5), and their terms."""
        ours, theirs = best.why_withheld is None, tuned.why_withheld is None
        told = bool(np.isfinite(self.samples.distance).any())
        every = np.concatenate([self.samples.rewards.ravel(), self.samples.raw.ravel()])
        span = float(np.nanmax(every) - np.nanmin(every))
        fine_tuning = span * tuned.moved
        paraphrasing = span * self.samples.distance if told else np.full(len(self.samples.prompts), span)
        by_kl, by_jeffreys = best.lam * best.kl, best.reward - self.reference
        both = ours and theirs
        return Bounds(
            theorem=self.value(fine_tuning + paraphrasing - by_kl) if both else None,
            sharper=self.value(fine_tuning + paraphrasing - by_jeffreys) if both else None,
            span=span,
            tv_measured=told,
            terms=BoundTerms(
                fine_tuning=self.value(fine_tuning) if theirs else None,
                paraphrasing=self.value(paraphrasing),
                optimising_kl=self.value(by_kl) if ours else None,
                optimising_jeffreys=self.value(by_jeffreys) if ours else None,
            ),
        )

    def trained(self, best: Tilted, tuned: Tilted, tilted: Sequence[Tilted]) -> Trained | None:
        """The trained prompter beside the optimum: its distance (B4), and its share of what there is to gain."""
        samples, lam = self.samples, self.kl_coef
        if samples.from_reference == samples.rewards.shape[1]:
            return None
        own = slice(samples.from_reference, None)
        ratio = samples.log_ratio[:, own]
        reward, kl = stats.prompt_means(self.of_rewrites[:, own]), stats.prompt_means(ratio)
        objective, optimum = reward - lam * kl, lam * best.log_z
        ours = best.why_withheld is None
        curve = [t for t in tilted if t.why_withheld is None]
        at_kl, share_at_kl = self._at_kl(reward, kl, curve)
        return Trained(
            reward=self.mean(self.of_rewrites[:, own]),
            reward_terms=self.terms(samples.parts, own),
            kl=self.value(kl),
            kl_k3=self.value(stats.prompt_means(k3_from_ratio(ratio))).value,
            objective=self.value(objective),
            distance=self.value(optimum - objective) if ours else None,
            share_of_gain=self._share(objective - self.reference, optimum - self.reference) if ours else None,
            frontier_at_kl=Reward(reward=at_kl) if at_kl else None,
            share_at_kl=share_at_kl,
            d2=self._above(own),
            gap=self.value(tuned.reward - reward) if tuned.why_withheld is None else None,
        )

    def gibbs(self, best: Tilted) -> Iterator[GibbsPoint]:
        """What `gibbs_N` would reach with the responses that the arm of that name has to choose by."""
        own = slice(None, self.samples.from_reference)
        by = min(self.gibbs_responses, self.settings.responses - 1)
        score = stats.mean_over_responses(self.samples.rewards[:, own, :by])
        rewards = stats.mean_over_responses(self.samples.rewards[:, own, by:])
        for n in self.settings.gibbs:
            if 2 * n > self.samples.from_reference:
                continue
            reward, kl = estimate.gibbs_n(score, rewards, self.samples.same[:, own], n, self.kl_coef)
            share = self._share(reward - self.plain, best.reward - self.plain) if best.why_withheld is None else None
            yield GibbsPoint(
                n=n,
                reward=self.value(reward),
                kl=self.value(kl).value,
                gain=self.value(reward - self.plain),
                share_of_reward_gain=share,
                frozen_calls_per_prompt=n * by,
            )

    def withheld(self, tilted: dict[float, Tilted], tuned: Tilted) -> Iterator[Withheld]:
        """Figures left out, why, and what they would need."""
        calls = self.samples.frozen_calls - self.settings.answers * len(self.samples.prompts)
        for lam, one in tilted.items():
            if one.why_withheld:
                rewrites = max(1.0, estimate.MIN_ESS / one.mean_ess)
                responses = max(1.0, one.mean_noise / estimate.MAX_NOISE)
                needs = Needed(
                    rewrites=_ceil(self.settings.rewrites * rewrites),
                    responses=_ceil(self.settings.responses * responses),
                    frozen_calls=_ceil(calls * rewrites * responses),
                )
                yield Withheld(figure=f"frontier at kl_coef {lam:g}", why=one.why_withheld, needs=needs)
        if tuned.why_withheld:
            answers = self.settings.answers * estimate.MIN_ESS / tuned.mean_ess
            needs = Needed(answers=_ceil(answers), frozen_calls=_ceil(answers * len(self.samples.prompts)))
            yield Withheld(figure=f"RLHF optimum at beta {self.beta:g}", why=tuned.why_withheld, needs=needs)

    def needs(self, estimated: Headroom) -> Iterator[Need]:
        """Prompts and calls that would halve each interval: four times as many prompts."""
        best, trained, tuned = estimated.optimum, estimated.trained_prompter, estimated.rlhf_optimum
        figures = {
            "reward without a prompter": estimated.no_prompter.reward,
            "reward of the reference": estimated.reference_prompter.reward,
            "reward at the optimum": best and best.reward,
            "reward of the trained prompter": trained and trained.reward,
            "reward of the RLHF optimum": tuned and tuned.reward,
            "gap": estimated.gap,
        }
        for name, figure in figures.items():
            if figure:
                yield Need(
                    figure=name,
                    half_width=(figure.hi - figure.lo) / 2,
                    target=(figure.hi - figure.lo) / 4,
                    prompts=4 * len(self.samples.prompts),
                    frozen_calls=4 * self.samples.frozen_calls,
                )

    def _above(self, own: slice) -> Estimate:
        """No prompter's reward less that of a prompter's `own` rewrites, paired by prompt."""
        rewards = self.of_rewrites[:, own]
        if self.shares:
            return Estimate.of(*share_difference(self.samples.raw, rewards))
        return self.value(self.plain - stats.prompt_means(rewards))

    def _share(self, part: FloatArray, whole: FloatArray) -> Estimate:
        """Ratio of two means over prompts, percentile interval."""
        usable = np.isfinite(part) & np.isfinite(whole)
        a, b = part[usable], whole[usable]

        return self._percentile(lambda index: np.asarray(a[index].mean(-1) / b[index].mean(-1)), len(a))

    def _at_kl(
        self, reward: FloatArray, kl: FloatArray, curve: Sequence[Tilted]
    ) -> tuple[Estimate | None, Estimate | None]:
        """The frontier's reward at the trained prompter's KL, between its points, and the share of that gain made.

        None where the frontier was not estimated as far as that KL.
        """
        if not curve:
            return None, None
        kls, rewards = np.array([t.kl for t in curve]), np.array([t.reward for t in curve])
        columns = np.isfinite(kl) & np.isfinite(reward) & np.isfinite(kls).all(0) & np.isfinite(rewards).all(0)
        if not np.mean(kl[columns]) <= kls[:, columns].mean(1).max():
            return None, None
        kls, rewards = kls[:, columns], rewards[:, columns]
        own, mine, base = kl[columns], reward[columns], self.reference[columns]

        def frontier(index: Any) -> FloatArray:
            at = np.atleast_1d(own[index].mean(-1))
            xs, ys = kls[:, index].mean(-1).reshape(len(kls), -1), rewards[:, index].mean(-1).reshape(len(kls), -1)
            start = np.atleast_1d(base[index].mean(-1))
            xs = np.concatenate([np.zeros_like(start)[None], np.maximum.accumulate(xs)]).T.copy()
            ys = np.concatenate([start[None], ys]).T.copy()
            rewards_at = np.array([np.interp(*one) for one in zip(at, xs, ys, strict=True)])
            return rewards_at if np.ndim(index) > 1 else np.asarray(rewards_at[0])

        def share(index: Any) -> FloatArray:
            start = base[index].mean(-1)
            return np.asarray((mine[index].mean(-1) - start) / (frontier(index) - start))

        return self._percentile(frontier, len(own)), self._percentile(share, len(own))

    def _percentile(self, statistic: Callable[[Any], FloatArray], prompts: int) -> Estimate:
        def defined(index: Any) -> FloatArray:
            with np.errstate(invalid="ignore", divide="ignore"):
                values = statistic(index)
            return np.where(np.isfinite(values), values, np.nan)

        value = float(defined(np.arange(prompts)))
        return Estimate.of(value, stats.bootstrap(defined, prompts, self.bootstrap, self.seed))


def _ceil(value: float) -> float:
    return int(np.ceil(value)) if np.isfinite(value) else float("nan")
