"""Shares of answers that are right (1) or not (0), with intervals that hold near 0 and 1 too.

Arrays are [B, K]: B prompts, K answers to each, nan where one failed. Prompts are the clusters: n answers to one prompt
are worth between one and n, as their rewards tell, and the intervals of independent answers are taken at that size.
"""

from __future__ import annotations

import math

import numpy as np

from alignpro.maths import rounding, stats
from alignpro.maths.stats import Interval, Withheld
from alignpro.types import FloatArray

PRIOR = 0.5
"""Prompts with all answers alike that stand beside those seen, so that a few do not tell that answers vary freely."""
ONE_PROMPT = "under 2 prompts"
POINTS = np.linspace(-20, 20, 8001)
"""Where a beta density is evaluated, on the scale of the logit and in its standard deviations."""


def is_share(*rewards: FloatArray) -> bool:
    """Whether there are rewards, and all of them are 0 or 1; nan is left out."""
    present = [values[np.isfinite(values)] for values in rewards]
    return any(map(len, present)) and all(bool(np.isin(values, (0, 1)).all()) for values in present)


def is_earned_share(*values: FloatArray) -> bool:
    """Whether a term's scores are shares, of which some are 1: what is 0 everywhere may be a penalty that nothing
    incurred."""
    return is_share(*values) and any((one == 1).any() for one in values)


def share_interval(answers: FloatArray) -> Interval:
    """95% interval of the mean over prompts of the prompts' means of answers [B, K], or of points from 0 to 1.

    Clopper and Pearson's exact interval, at the effective sample size of Korn and Graubard (1998): B over what the
    prompts' means vary beside B independent answers that are 0 or 1. So ties, worth half, make it narrower, and it is
    never a point. Withheld of fewer than two prompts.
    """
    count = np.isfinite(answers).sum(1)
    means = stats.prompt_means(answers)[count > 0]
    if len(means) < 2:
        return Withheld(ONE_PROMPT)
    share = float(means.mean())
    least = float((1 / count[count > 0]).mean()) if is_share(answers) else 0.0
    return exact(share, effective_size(means - share, share * (1 - share), least))


def pooled_share(sums: FloatArray, counts: FloatArray) -> tuple[float, Interval]:
    """Sum of points over their number, of each prompt [C] and all from 0 to 1, and its 95% interval, as of a share.

    Every answer counts once; prompts that have more than others make the effective size smaller.
    """
    some = counts > 0
    sums, counts = sums[some], counts[some]
    if len(sums) < 2:
        return (float(sums[0] / counts[0]) if len(sums) else math.nan, Withheld(ONE_PROMPT))
    share = min(1.0, max(0.0, float(sums.sum() / counts.sum())))
    uneven = float((counts**2).mean() / counts.mean() ** 2)
    size = effective_size(stats.influence(sums, counts), share * (1 - share), 0.0, uneven)
    return share, exact(share, size)


def exact(share: float, size: float) -> Interval:
    """Clopper and Pearson's 95% interval of a share of `size` answers, which need not be a whole number."""
    right, wrong = size * share, size * (1 - share)
    low = _beta_quantile(right, wrong + 1, 0.025) if right > 1e-6 else 0.0
    high = _beta_quantile(right + 1, wrong, 0.975) if wrong > 1e-6 else 1.0
    return (low, high)


def share_difference(a: FloatArray, b: FloatArray) -> tuple[float, Interval]:
    """Mean over prompts of a's mean less b's, and its 95% interval; both [B, K] on the same prompts.

    Tango's score interval (1998) of paired shares with Student's quantile, what a prompt's means differ by taken for
    the share of its pairs that differ, and B for K > 1 replaced by the effective size. Fewer than two prompts: nan.
    """
    difference = rounding.difference(stats.prompt_means(a), stats.prompt_means(b))
    both = np.isfinite(difference)
    present, prompts = difference[both], int(both.sum())
    if prompts < 2:
        return (float(present.mean()) if prompts else math.nan, Withheld(ONE_PROMPT))
    value, fewest = float(present.mean()), np.minimum(np.isfinite(a).sum(1), np.isfinite(b).sum(1))[both]
    up, down = float(np.maximum(present, 0).mean()), float(np.maximum(-present, 0).mean())
    size = effective_size(present - value, up + down - value**2, float((1 / fewest).mean()))
    z = stats.t_quantile(prompts - 1)
    return value, (-_highest_difference(down, up, size, z), _highest_difference(up, down, size, z))


def effective_size(
    away: FloatArray, variance: float, least: float, prior: float = 1.0, most: float | None = None
) -> float:
    """Independent answers that the prompts' means are worth, of which `variance` is one answer's; from B / `most`
    (`prior` where none is told) to B / `least`.

    `away` [B] are the means less their mean. Where they tell little of how alike a prompt's answers are, the size tends
    to B / `prior`.
    """
    prompts = len(away)
    spread = float((away**2).sum()) * prompts / (prompts - 1)
    beside = (spread + PRIOR * prior) / (prompts * variance + PRIOR)
    return prompts / min(prior if most is None else most, max(least, beside))


def _beta_quantile(a: float, b: float, level: float) -> float:
    """Quantile of a beta distribution, by quadrature over its logit, where the density is smooth and falls fast."""
    logit = np.clip(math.log(a / b) + math.sqrt(1 / a + 1 / b) * POINTS, -700, 700)
    log_density = -a * np.logaddexp(0, -logit) - b * np.logaddexp(0, logit)
    density = np.exp(log_density - log_density.max())
    below = density.cumsum() - density / 2
    return float(1 / (1 + np.exp(-np.interp(level * density.sum(), below, logit))))


def _highest_difference(up: float, down: float, size: float, z: float) -> float:
    """The most that share `up` less share `down` may be in truth, by Tango's test at `z` and `size` pairs.

    Of pairs that differ by a given difference, `down`'s share is a root of a quadratic equation (its likeliest value),
    and the test compares what is seen with the spread that follows.
    """
    low, high = up - down, 1.0
    for _ in range(50):
        tried = (low + high) / 2
        linear = (2 - up + down) * tried - up - down
        root = math.sqrt(max(0.0, linear**2 + 8 * down * tried * (1 - tried)))
        variance = (root - linear) / 2 + tried * (1 - tried)
        if tried - (up - down) <= z * math.sqrt(max(0.0, variance) / size):
            low = tried
        else:
            high = tried
    return low
