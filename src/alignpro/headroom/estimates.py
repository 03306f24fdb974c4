"""From samples to `headroom.json`: what each prompter reaches, the frontier, the gap and its bounds, with intervals."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from alignpro.config import HeadroomSettings
from alignpro.headroom.advice import advice
from alignpro.headroom.samples import Samples
from alignpro.maths import stats
from alignpro.maths.kl import k3_from_ratio
from alignpro.theory import estimate
from alignpro.theory.estimate import Draws, Tilted
from alignpro.types import FloatArray

SCHEMA = 1


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

    def report(self, reward: str) -> dict[str, Any]:
        """Everything but `noise`, which needs the models again."""
        samples = self.samples
        tilted, best = self.tilted, self.best
        tuned = estimate.tilt(Draws.of_responses(samples.raw), self.beta)
        parts = {
            "schema": SCHEMA,
            "reward": reward,
            "kl_coef": self.kl_coef,
            "beta": self.beta,
            "prompts": len(samples.prompts),
            "rewrites": self.settings.rewrites,
            "responses": self.settings.responses,
            "answers": self.settings.answers,
            "min_ess": estimate.MIN_ESS,
            "max_noise": estimate.MAX_NOISE,
            "no_prompter": self.reward(self.plain),
            "reference_prompter": self.reward(self.reference),
            "optimum": self.point(best) if best.why_withheld is None else None,
            "trained_prompter": self.trained(best, tuned, list(tilted.values())),
            "rlhf_optimum": self.rlhf(tuned),
            "frontier": [self.point(tilted[lam]) for lam in self.lams if tilted[lam].why_withheld is None],
            "gibbs": self.gibbs(best),
            **self.gap(best, tuned),
            "withheld": self.withheld(tilted, tuned),
            "noise": None,
            "frozen_calls": samples.frozen_calls,
        }
        return parts | {"needs": self.needs(parts), "advice": advice(parts)}

    @property
    def lams(self) -> list[float]:
        """Prices at which the frontier is estimated, the run's own among them, from the dearest."""
        return sorted({self.kl_coef, *(self.kl_coef * factor for factor in self.settings.lams)}, reverse=True)

    @cached_property
    def tilted(self) -> dict[float, Tilted]:
        """(10) at each price."""
        return {lam: estimate.tilt(self.draws, lam) for lam in self.lams}

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
        return self._mean_of(slice(None, self.samples.from_reference))

    def reward(self, per_prompt: FloatArray) -> dict[str, Any]:
        """{"reward", "ci95"} of one figure a prompt."""
        value = self.value(per_prompt)
        return {"reward": value["value"], "ci95": value["ci95"]}

    def value(self, per_prompt: FloatArray) -> dict[str, Any]:
        """{"value", "ci95"} of one figure a prompt."""
        present = per_prompt[np.isfinite(per_prompt)]
        interval = stats.studentised_interval(per_prompt, self.bootstrap, self.seed)
        return {"value": float(present.mean()) if len(present) else float("nan"), "ci95": list(interval)}

    def point(self, tilted: Tilted) -> dict[str, Any]:
        """A point of the frontier (B6), from (E2)."""
        kl, objective, gain = (
            self.value(v) for v in (tilted.kl, tilted.lam * tilted.log_z, tilted.reward - self.plain)
        )
        return {
            "kl_coef": tilted.lam,
            "kl": kl["value"],
            "kl_ci95": kl["ci95"],
            **self.reward(tilted.reward),
            "gain": gain,
            "ess": tilted.mean_ess,
            "noise": tilted.mean_noise,
            "objective": objective["value"],
            "objective_ci95": objective["ci95"],
            "log_z": self.value(tilted.log_z)["value"],
            "log_z_uncorrected": self.value(tilted.log_z_uncorrected)["value"],
            "reward_uncorrected": self.value(tilted.reward_uncorrected)["value"],
        }

    def rlhf(self, tuned: Tilted) -> dict[str, Any] | None:
        """J(pi*) of (4), without fine-tuning anything, (E3)."""
        if tuned.why_withheld:
            return None
        return {
            "beta": self.beta,
            **self.reward(tuned.reward),
            "ess": tuned.mean_ess,
            "kl": self.value(tuned.kl)["value"],
            "kl_ci95": self.value(tuned.kl)["ci95"],
            "log_z": self.value(tuned.log_z)["value"],
        }

    def gap(self, best: Tilted, tuned: Tilted) -> dict[str, Any]:
        """D1, D2 and gap of (7) for the optimal prompter, and both bounds on it, (11) and (B5)."""
        ours, theirs = best.why_withheld is None, tuned.why_withheld is None
        told = bool(np.isfinite(self.samples.distance).any())
        every = np.concatenate([self.samples.rewards.ravel(), self.samples.raw.ravel()])
        span = float(np.nanmax(every) - np.nanmin(every))
        fine_tuning = span * tuned.moved
        paraphrasing = span * self.samples.distance if told else np.full(len(self.samples.prompts), span)
        by_kl, by_jeffreys = best.lam * best.kl, best.reward - self.reference
        terms = {
            "fine_tuning": self.value(fine_tuning) if theirs else None,
            "paraphrasing": self.value(paraphrasing),
            "optimising_kl": self.value(by_kl) if ours else None,
            "optimising_jeffreys": self.value(by_jeffreys) if ours else None,
        }
        both = ours and theirs
        return {
            "d1": self.value(tuned.reward - self.plain) if theirs else None,
            "d2": self.value(self.plain - best.reward) if ours else None,
            "gap": self.value(tuned.reward - best.reward) if both else None,
            "bounds": {
                "theorem": self.value(fine_tuning + paraphrasing - by_kl) if both else None,
                "sharper": self.value(fine_tuning + paraphrasing - by_jeffreys) if both else None,
                "span": span,
                "tv_measured": told,
                "terms": terms,
            },
        }

    def trained(self, best: Tilted, tuned: Tilted, tilted: Sequence[Tilted]) -> dict[str, Any] | None:
        """The trained prompter beside the optimum: its distance (B4), and its share of what there is to gain."""
        samples, lam = self.samples, self.kl_coef
        if samples.from_reference == samples.rewards.shape[1]:
            return None
        own = slice(samples.from_reference, None)
        ratio = samples.log_ratio[:, own]
        reward, kl = self._mean_of(own), stats.prompt_means(ratio)
        objective, optimum = reward - lam * kl, lam * best.log_z
        ours = best.why_withheld is None
        curve = [t for t in tilted if t.why_withheld is None]
        at_kl, share_at_kl = self._at_kl(reward, kl, curve)
        return {
            **self.reward(reward),
            "kl": self.value(kl)["value"],
            "kl_ci95": self.value(kl)["ci95"],
            "kl_k3": self.value(stats.prompt_means(k3_from_ratio(ratio)))["value"],
            "objective": self.value(objective)["value"],
            "objective_ci95": self.value(objective)["ci95"],
            "distance": self.value(optimum - objective) if ours else None,
            "share_of_gain": self._share(objective - self.reference, optimum - self.reference) if ours else None,
            "frontier_at_kl": at_kl,
            "share_at_kl": share_at_kl,
            "d2": self.value(self.plain - reward),
            "gap": self.value(tuned.reward - reward) if tuned.why_withheld is None else None,
        }

    def gibbs(self, best: Tilted) -> list[dict[str, Any]]:
        """What `gibbs_N` would reach with the responses that the arm of that name has to choose by."""
        own = slice(None, self.samples.from_reference)
        by = min(self.gibbs_responses, self.settings.responses - 1)
        score = stats.mean_over_responses(self.samples.rewards[:, own, :by])
        rewards = stats.mean_over_responses(self.samples.rewards[:, own, by:])
        found = []
        for n in self.settings.gibbs:
            if 2 * n > self.samples.from_reference:
                continue
            reward, kl = estimate.gibbs_n(score, rewards, self.samples.same[:, own], n, self.kl_coef)
            share = self._share(reward - self.plain, best.reward - self.plain) if best.why_withheld is None else None
            found.append(
                {
                    "n": n,
                    **self.reward(reward),
                    "kl": self.value(kl)["value"],
                    "gain": self.value(reward - self.plain),
                    "share_of_reward_gain": share,
                    "frozen_calls_per_prompt": n * by,
                }
            )
        return found

    def withheld(self, tilted: dict[float, Tilted], tuned: Tilted) -> list[dict[str, Any]]:
        """Figures left out, why, and what they would need."""
        rows = []
        calls = self.samples.frozen_calls - self.settings.answers * len(self.samples.prompts)
        for lam, one in tilted.items():
            if one.why_withheld:
                rewrites = max(1.0, estimate.MIN_ESS / one.mean_ess)
                responses = max(1.0, one.mean_noise / estimate.MAX_NOISE)
                needs = {
                    "rewrites": _ceil(self.settings.rewrites * rewrites),
                    "responses": _ceil(self.settings.responses * responses),
                    "frozen_calls": _ceil(calls * rewrites * responses),
                }
                rows.append({"figure": f"frontier at kl_coef {lam:g}", "why": one.why_withheld, "needs": needs})
        if tuned.why_withheld:
            answers = self.settings.answers * estimate.MIN_ESS / tuned.mean_ess
            needs = {"answers": _ceil(answers), "frozen_calls": _ceil(answers * len(self.samples.prompts))}
            rows.append({"figure": f"RLHF optimum at beta {self.beta:g}", "why": tuned.why_withheld, "needs": needs})
        return rows

    def needs(self, parts: dict[str, Any]) -> list[dict[str, Any]]:
        """Prompts and calls that would halve each interval: four times as many prompts."""
        figures = {
            "reward without a prompter": parts["no_prompter"]["ci95"],
            "reward of the reference": parts["reference_prompter"]["ci95"],
            "reward at the optimum": (parts["optimum"] or {}).get("ci95"),
            "reward of the trained prompter": (parts["trained_prompter"] or {}).get("ci95"),
            "reward of the RLHF optimum": (parts["rlhf_optimum"] or {}).get("ci95"),
            "gap": (parts["gap"] or {}).get("ci95"),
        }
        return [
            {
                "figure": figure,
                "half_width": (ci95[1] - ci95[0]) / 2,
                "target": (ci95[1] - ci95[0]) / 4,
                "prompts": 4 * len(self.samples.prompts),
                "frozen_calls": 4 * self.samples.frozen_calls,
            }
            for figure, ci95 in figures.items()
            if ci95
        ]

    def _mean_of(self, own: slice) -> FloatArray:
        return stats.prompt_means(stats.mean_over_responses(self.samples.rewards)[:, own])

    def _share(self, part: FloatArray, whole: FloatArray) -> dict[str, Any]:
        """Ratio of two means over prompts, percentile interval."""
        usable = np.isfinite(part) & np.isfinite(whole)
        a, b = part[usable], whole[usable]

        return self._percentile(lambda index: np.asarray(a[index].mean(-1) / b[index].mean(-1)), len(a))

    def _at_kl(
        self, reward: FloatArray, kl: FloatArray, curve: Sequence[Tilted]
    ) -> tuple[dict[str, Any] | None, dict[str, Any] | None]:
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
            found = [
                np.interp(at[i], np.r_[0.0, np.maximum.accumulate(xs[:, i])], np.r_[start[i], ys[:, i]])
                for i in range(len(at))
            ]
            return np.array(found) if np.ndim(index) > 1 else np.asarray(found[0])

        def share(index: Any) -> FloatArray:
            start = base[index].mean(-1)
            return np.asarray((mine[index].mean(-1) - start) / (frontier(index) - start))

        at = self._percentile(frontier, len(own))
        return {"reward": at["value"], "ci95": at["ci95"]}, self._percentile(share, len(own))

    def _percentile(self, statistic: Callable[[Any], FloatArray], prompts: int) -> dict[str, Any]:
        def defined(index: Any) -> FloatArray:
            with np.errstate(invalid="ignore", divide="ignore"):
                found = statistic(index)
            return np.where(np.isfinite(found), found, np.nan)

        value = float(defined(np.arange(prompts)))
        return {"value": value, "ci95": list(stats.bootstrap(defined, prompts, self.bootstrap, self.seed))}


def _ceil(value: float) -> int | None:
    return int(np.ceil(value)) if np.isfinite(value) else None
