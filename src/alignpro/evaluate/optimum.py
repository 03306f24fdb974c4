"""How much there was to gain: the closed-form optimum (10) estimated from samples, beside what the prompter reached.

Rewrites are drawn half from the reference and half from the trained prompter; the weights of (10) are corrected for
that mixture, which keeps the effective sample size high where the trained prompter is close to the optimum and is
valid where it is not. R(x, x') is a mean of noisy rewards, whose noise inflates exp(R / lam): (E1) corrects for it,
and both figures are reported.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from alignpro.config import OptimumSettings
from alignpro.evaluate.arms import log_ratios
from alignpro.maths import gibbs, stats
from alignpro.models.local import LocalPrompter
from alignpro.rng import derive
from alignpro.rollout import answer
from alignpro.types import FloatArray, FrozenModel, Reward

MIN_ESS = 5.0
"""Mean effective sample size a prompt below which a point of the frontier is left out."""

FRONTIER = (4.0, 2.5, 1.6, 1.0, 0.7, 0.5, 0.35, 0.25)
"""Multiples of the run's kl_coef at which the frontier (B6) is estimated, besides 1."""


@dataclass(frozen=True, slots=True)
class Draws:
    """B prompts, G rewrites from the reference and then G from the trained prompter.

    reward [B, 2G] is R(x, x'); `variance` [B, 2G] that of a single reward there, `responses` [B, 2G] how many were
    averaged; log_ratio [B, 2G] is log trained - log reference.
    """

    reward: FloatArray
    variance: FloatArray
    responses: FloatArray
    log_ratio: FloatArray
    frozen_calls: int

    @property
    def half(self) -> int:
        return int(self.reward.shape[1]) // 2


def estimate(
    prompts: Sequence[str],
    reference: LocalPrompter,
    trained: LocalPrompter,
    frozen: FrozenModel,
    reward: Reward,
    settings: OptimumSettings,
    kl_coef: float,
    bootstrap: int,
    seed: int,
) -> dict[str, Any] | None:
    """The `optimum` section of evaluation.json; None where kl_coef is 0, since there is no closed form then."""
    if kl_coef <= 0:
        return None
    chosen = sorted(range(len(prompts)), key=lambda i: derive(seed, "optimum", prompts[i]))[: settings.prompts]
    subset = [prompts[i] for i in sorted(chosen)]
    draws = draw(subset, reference, trained, frozen, reward, settings, derive(seed, "optimum"))
    return report(draws, kl_coef, bootstrap, derive(seed, "optimum", "bootstrap")) | {
        "prompts": len(subset),
        "rewrites": settings.rewrites,
        "responses": settings.responses,
        "frozen_calls": draws.frozen_calls,
    }


def draw(
    prompts: Sequence[str],
    reference: LocalPrompter,
    trained: LocalPrompter,
    frozen: FrozenModel,
    reward: Reward,
    settings: OptimumSettings,
    seed: int,
) -> Draws:
    """Sample both prompters and score; equal rewrites of a prompt share their responses, which lowers the noise of
    R."""
    half = max(1, settings.rewrites // 2)
    theirs = reference.rewrite(prompts, half, derive(seed, "reference"))
    ours = trained.rewrite(prompts, half, derive(seed, "trained"))
    rewrites = [[*a, *b] for a, b in zip(theirs, ours, strict=True)]
    log_ratio = np.concatenate([-log_ratios(trained.lm, theirs), log_ratios(reference.lm, ours)], axis=1)
    made = answer(prompts, rewrites, frozen, reward, responses=settings.responses, seed=seed)
    value, variance, count = (np.full(log_ratio.shape, np.nan) for _ in range(3))
    for b, row in enumerate(rewrites):
        pooled: dict[str, list[int]] = {}
        for g, rewrite in enumerate(row):
            pooled.setdefault(rewrite.text, []).append(g)
        for members in pooled.values():
            scores = made.rewards[b, members].ravel()
            scores = scores[np.isfinite(scores)]
            if len(scores) > 1:
                value[b, members], variance[b, members], count[b, members] = (
                    scores.mean(),
                    scores.var(ddof=1),
                    len(scores),
                )
    # One rewrite's variance is a poor estimate of itself; a prompt's mean over rewrites is a steady one.
    variance = np.where(np.isfinite(variance), np.nanmean(variance, axis=1, keepdims=True), np.nan)
    return Draws(value, variance, count, log_ratio, made.frozen_calls)


def report(draws: Draws, kl_coef: float, bootstrap: int, seed: int) -> dict[str, Any]:
    """Objectives of the reference, the trained prompter and the optimum; share of the gain reached; frontier (B6)."""
    half = draws.half
    with np.errstate(invalid="ignore"):
        reference = stats.prompt_means(draws.reward[:, :half])
        trained = stats.prompt_means((draws.reward - kl_coef * draws.log_ratio)[:, half:])
    plain = kl_coef * _log_z(draws, kl_coef, corrected=False)
    corrected = kl_coef * _log_z(draws, kl_coef, corrected=True)
    usable = np.isfinite(reference) & np.isfinite(trained) & np.isfinite(corrected)
    table = np.stack([reference, trained, corrected, plain])[:, usable]

    def share(index: Any, optimum: int = 2) -> FloatArray:
        means = table[:, index].mean(-1)
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.asarray((means[1] - means[0]) / (means[optimum] - means[0]))

    everything = np.arange(table.shape[1])
    return {
        "kl_coef": kl_coef,
        "objective_reference": float(table[0].mean()),
        "objective_trained": float(table[1].mean()),
        "objective_optimum": float(table[2].mean()),
        "objective_optimum_uncorrected": float(table[3].mean()),
        "share_of_gain": float(share(everything)),
        "share_ci95": list(stats.bootstrap(share, table.shape[1], bootstrap, seed)),
        "share_of_gain_uncorrected": float(share(everything, 3)),
        "ess": float(np.nanmean(_ess(draws, kl_coef))),
        "frontier": _frontier(draws, kl_coef, bootstrap, seed),
    }


def _frontier(draws: Draws, kl_coef: float, bootstrap: int, seed: int) -> list[dict[str, Any]]:
    points = []
    for factor in sorted({*FRONTIER, 1.0}, reverse=True):
        lam = kl_coef * factor
        ess = float(np.nanmean(_ess(draws, lam)))
        if ess < MIN_ESS:
            continue
        weights = np.exp(gibbs.log_weights(_corrected(draws, lam), 1.0, _log_base(draws)))
        tilted = np.where(weights > 0, weights * np.nan_to_num(draws.reward), 0.0).sum(1)
        kl = tilted / lam - _log_z(draws, lam, corrected=True)
        points.append(
            {
                "kl_coef": lam,
                "kl": float(np.nanmean(kl)),
                "reward": float(np.nanmean(tilted)),
                "ci95": list(stats.mean_interval(tilted, bootstrap, seed)),
                "ess": ess,
            }
        )
    return points


def _log_base(draws: Draws) -> FloatArray:
    """log(reference / mixture) of each draw: the mixture is half reference, half trained."""
    return np.asarray(np.log(2.0) - np.logaddexp(0.0, draws.log_ratio))


def _corrected(draws: Draws, lam: float) -> FloatArray:
    return draws.reward / lam + gibbs.noise_correction(draws.variance, draws.responses, lam)


def _log_z(draws: Draws, lam: float, corrected: bool) -> FloatArray:
    scores = _corrected(draws, lam) if corrected else draws.reward / lam
    return gibbs.log_partition(scores, 1.0, _log_base(draws))


def _ess(draws: Draws, lam: float) -> FloatArray:
    return gibbs.effective_sample_size(gibbs.log_weights(_corrected(draws, lam), 1.0, _log_base(draws)))
