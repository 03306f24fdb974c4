"""The closed forms (4) and (10) estimated from samples alone, (E1) to (E5): numbers in, numbers out.

A draw is a rewrite of the reference with the mean reward of its responses, or a response of the frozen model with its
reward. Every figure is one value a prompt [B]; `interval` and `figure` make means with intervals over prompts of it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from alignpro.maths import gibbs, stats
from alignpro.types import FloatArray

MIN_ESS = 10.0
"""Effective sample size a prompt, by the harmonic mean over prompts, below which a figure is withheld."""

MAX_NOISE = 0.3
"""Variance of the measured R(x, x') over lam squared above which a figure is withheld, (E1)."""


@dataclass(frozen=True, slots=True)
class Draws:
    """N draws for each of B prompts.

    `values` [B, N] are R(x, x') as measured, or r(x, y); nan where one failed. `noise` [B, N] is the variance of each
    measurement, 0 for r itself. `same` [B, N] numbers a prompt's different rewrites: equal ones share one measurement
    and its error. `log_base` [B, N] is log(reference / proposal), 0 for draws of the reference itself.
    """

    values: FloatArray
    noise: FloatArray
    same: npt.NDArray[np.int64]
    log_base: FloatArray

    @classmethod
    def of_rewards(cls, rewards: FloatArray, same: npt.NDArray[np.int64], log_base: FloatArray | None = None) -> Draws:
        """From rewards [B, N, K] of K responses each, nan where one failed; a draw with fewer than two is left out."""
        count = np.isfinite(rewards).sum(-1)
        values = np.where(count > 1, stats.mean_over_responses(rewards), np.nan)
        residual = np.where(np.isfinite(rewards), rewards - values[..., None], 0.0)
        with np.errstate(invalid="ignore", divide="ignore"):
            noise = np.where(count > 1, (residual**2).sum(-1) / (count - 1) / count, np.nan)
        return cls(values, noise, same, np.zeros_like(values) if log_base is None else log_base)

    @classmethod
    def of_responses(cls, rewards: FloatArray) -> Draws:
        """From rewards [B, N] of single responses, the draws of (4)."""
        zero = np.zeros_like(rewards)
        return cls(rewards, zero, np.tile(np.arange(rewards.shape[1]), (len(rewards), 1)), zero)


@dataclass(frozen=True, slots=True)
class Tilted:
    """A Gibbs distribution (4) or (10) at one lam, as its draws show it; all [B].

    log_z and kl in nats, reward in the reward's units. `ess` is the effective sample size; `noise` the variance of the
    measured rewards over lam squared, under these weights, (E1). `reward_uncorrected` and `log_z_uncorrected` take
    measured rewards for true ones. `weights` [B, N] are those of the draws, summing to 1.
    """

    lam: float
    log_z: FloatArray
    reward: FloatArray
    kl: FloatArray
    ess: FloatArray
    noise: FloatArray
    log_z_uncorrected: FloatArray
    reward_uncorrected: FloatArray
    weights: FloatArray

    @property
    def why_withheld(self) -> str | None:
        """Why the figures cannot be believed, or None where they can."""
        if not self.mean_ess >= MIN_ESS:
            return f"effective sample size {self.mean_ess:.1f}, under {MIN_ESS:g}"
        if not self.mean_noise <= MAX_NOISE:
            return f"noise variance of the measured rewards {self.mean_noise:.2f} lam^2, over {MAX_NOISE:g} lam^2"
        return None

    @property
    def mean_ess(self) -> float:
        """Harmonic mean over prompts: a few prompts that rest on a draw or two pull it down, as they do the figures."""
        present = self.ess[np.isfinite(self.ess)]
        return float(1 / (1 / present).mean()) if len(present) else float("nan")

    @property
    def mean_noise(self) -> float:
        """Mean over prompts."""
        present = self.noise[np.isfinite(self.noise)]
        return float(present.mean()) if len(present) else float("nan")

    @property
    def moved(self) -> FloatArray:
        """TV between the tilted distribution and its base [B], from draws of the base."""
        return np.asarray(0.5 * np.abs(self.weights - 1 / self.weights.shape[1]).sum(1))


def tilt(draws: Draws, lam: float) -> Tilted:
    """log Z, E R and KL of (10) at `lam` by self-normalised importance weights, (E2); of (4) likewise, (E3).

    Two biases are taken off. Noise in the measured R makes the lucky ones weigh more, (E1): by the second-order
    expansion in each different rewrite's error, which is linear in its variance and so needs no pooling of them.
    Ratios of finite sums are off by O(1 / ESS): by the jackknife over draws.
    """
    scores = draws.values / lam + draws.log_base
    weights = np.exp(gibbs.log_weights(scores, 1.0))
    log_z, reward = _jackknifed(scores, draws.values)
    plain = _weighted(weights, draws.values)
    log_z_noise, reward_noise = _noise_bias(draws, weights, plain, lam)
    log_z, reward = log_z - log_z_noise, reward - reward_noise
    return Tilted(
        lam=lam,
        log_z=log_z,
        reward=reward,
        kl=reward / lam - log_z,
        ess=gibbs.effective_sample_size(gibbs.log_weights(scores, 1.0)),
        noise=2 * log_z_noise,
        log_z_uncorrected=gibbs.log_partition(scores, 1.0),
        reward_uncorrected=plain,
        weights=weights,
    )


def _noise_bias(draws: Draws, weights: FloatArray, reward: FloatArray, lam: float) -> tuple[FloatArray, FloatArray]:
    """What noise adds to log Z and to E R [B], to second order in the errors of the different rewrites.

    With p_g the weight of rewrite g, v_g its variance and S = sum p R: d2 log Z / d e_g^2 = p_g (1 - p_g) / lam^2 and
    d2 S / d e_g^2 = 2 p_g (1 - p_g) / lam + p_g (R_g - S) (1 - 2 p_g) / lam^2; half of each times v_g, summed.
    """
    flat = draws.same + np.arange(len(draws.same))[:, None] * draws.same.shape[1]
    p = np.bincount(flat.ravel(), weights.ravel(), minlength=flat.size)[flat]  # of the draw's rewrite, not of the draw
    v = np.where(weights > 0, np.nan_to_num(draws.noise), 0.0)
    away = np.where(weights > 0, np.nan_to_num(draws.values) - reward[:, None], 0.0)
    log_z = (weights * v * (1 - p)).sum(1) / (2 * lam**2)
    tilted = (weights * v * (2 * (1 - p) / lam + away * (1 - 2 * p) / lam**2)).sum(1) / 2
    return log_z, tilted


def _weighted(weights: FloatArray, values: FloatArray) -> FloatArray:
    total = np.where(weights > 0, weights * np.nan_to_num(values), 0.0).sum(1)
    return np.where(np.isfinite(values).any(1), total, np.nan)


def _jackknifed(scores: FloatArray, values: FloatArray) -> tuple[FloatArray, FloatArray]:
    """log mean exp(scores) and the mean of values under weights exp(scores), both [B], less their first-order bias."""
    usable = np.isfinite(scores)
    n = usable.sum(1)
    top = np.where(usable, scores, -np.inf).max(1, keepdims=True)
    with np.errstate(invalid="ignore", divide="ignore"):
        w = np.where(usable, np.exp(scores - top), 0.0)
        wv = w * np.where(usable, values, 0.0)
        total, weighted = w.sum(1, keepdims=True), wv.sum(1, keepdims=True)
        left = np.maximum(total - w, 1e-12 * total)  # one draw may hold all the weight; its ess then withholds it
        without = np.where(usable, (weighted - wv) / left, 0.0).sum(1) / n
        log_without = np.where(usable, np.log(left), 0.0).sum(1) / n - np.log(n - 1)
        reward = n * (weighted / total)[:, 0] - (n - 1) * without
        log_z = n * (np.log(total)[:, 0] - np.log(n)) - (n - 1) * log_without + top[:, 0]
    return log_z, reward


def gibbs_n(
    chosen_by: FloatArray, rewards: FloatArray, same: npt.NDArray[np.int64], n: int, lam: float
) -> tuple[FloatArray, FloatArray]:
    """Reward of `gibbs_N`, and an upper bound of its KL to the reference in nats, both [B], from N' >= n draws. (B7)

    `chosen_by` [B, N'] are the scores that pick one of n draws; `rewards` [B, N'] are measured apart from them, so that
    luck in the one does not count as reward in the other. nan where draws failed.
    """
    groups = rewards.shape[1] // n
    shape = (len(rewards), groups, n)
    score, value, kind = (a[:, : groups * n].reshape(shape) for a in (chosen_by, rewards, same))
    score = np.where(np.isfinite(value), score, np.nan)
    weights = np.exp(gibbs.log_weights(score, lam))
    reward = np.where(weights > 0, weights * np.nan_to_num(value), 0.0).sum(-1)
    reward = np.where(np.isfinite(weights).any(-1), reward, np.nan)
    alike = kind[..., :, None] == kind[..., None, :]
    merged = np.where(alike, weights[..., None, :], 0.0).sum(-1)  # weight of the draw's text, per draw
    with np.errstate(divide="ignore", invalid="ignore"):
        terms = np.where(weights > 0, weights * np.log(n * merged / alike.sum(-1)), 0.0)
    return stats.mean_over_responses(reward), stats.mean_over_responses(
        np.where(np.isnan(reward), np.nan, terms.sum(-1))
    )
