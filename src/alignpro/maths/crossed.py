"""A crossed design: every prompt under every template, with several answers to each. What templates differ by, the gain
of the best, and how much choosing one for each prompt could add.

Scores are [P, J, R]: P prompts, J templates of which number 0 is the bare prompt, R answers; nan where one failed, so
that cells may have different numbers. A cell's mean mu_ij is its template's mu_j = E_i mu_ij, the prompt's own level,
and an interaction d_ij with sum_j d_ij = 0. Noise may differ by cell. Templates are all there are; prompts are drawn.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from alignpro.maths import rounding, stats
from alignpro.maths.stats import Interval
from alignpro.types import FloatArray

FOLDS = 5
"""Parts of the prompts: each is judged under the template that the others choose."""
CHOOSE_ON = (1, 2, 4)
"""Answers on which a prompt's template is chosen."""
FAR, LEAST = (0.0, 0.5, 1.0, 2.0, math.inf), (0.25, 0.5)
"""Errors of a cell's difference behind the best from which a template is bounded by itself, and the least its parabola
is wide, in such errors: what `at_most` tries."""
Told = tuple[float, Interval]
"""A figure, and its 95% interval over prompts."""


@dataclass(frozen=True, slots=True)
class Variances:
    """Of template, (1/J) sum_j (mu_j - mean)^2; of prompt x template, E_i (1/J) sum_j d_ij^2; of noise, the mean over
    cells of an answer's variance. The first two are unbiased, so that they can lie below 0."""

    template: Told
    interaction: Told
    noise: Told


@dataclass(frozen=True, slots=True)
class Best:
    """The single template that does best.

    `template` is chosen on all prompts, `chosen` [P] on the folds that a prompt is not in, -1 where those tell nothing.
    `each` [P] is the gain of `chosen` over the bare prompt, nan where either failed; `gain` its mean: unbiased for what
    a template gains that so many prompts choose, which is at most the gain of the best there is. `rivals` counts the
    templates that may be the best, their difference from `template` being no more than noise, itself among them.
    """

    template: int
    chosen: npt.NDArray[np.int64]
    each: FloatArray
    rivals: int
    gain: Told


@dataclass(frozen=True, slots=True)
class Bracket:
    """Bounds on E_i max_j mu_ij - max_j mu_j, what choosing a template for each prompt could add, which has no unbiased
    estimator.

    `below` by the answers k that choose: what `chosen_on` reaches, less the best single template. `above`: the lower of
    two upper confidence limits, of sigma_PT sqrt(J - 1) and of the mean of `at_most`; nan where they have none.
    """

    below: dict[int, Told]
    above: float

    @property
    def low(self) -> float:
        """The most that is surely there: the highest lower limit of `below`, at least 0."""
        return max([0.0, *(low for _, (low, _) in self.below.values() if not math.isnan(low))])


def variances(scores: FloatArray) -> Variances:
    """The variances from scores [P, J, R], by products of distinct answers.

    With D = mu_ij - mu_ik, template variance is (1/J^2) sum_{j<k} (E D)^2, from products of different prompts, and
    template + interaction is (1/J^2) sum_{j<k} E D^2, from products of different answers of a prompt, that is its
    squared mean less the mean's own variance. Each pair of templates takes the prompts that have two answers to both.
    Intervals are of the mean of the jackknife's pseudo-values; that of template is of every variance v that lies within
    t errors of the estimate, its error that which it has at v, so that it holds where no template differs.
    nan where two templates have fewer than two prompts in common.
    """
    count, means, spread = _cells(scores)
    told = (count > 1).any(1)
    count, means, spread = count[told], means[told], spread[told]
    usable = count > 1
    prompts, templates = usable.shape
    first, second = np.triu_indices(templates, 1)
    both = usable[:, first] & usable[:, second]
    gaps = np.where(both, rounding.difference(means[:, first], means[:, second]), 0.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        error = spread / count
        squares = np.where(both, gaps**2 - error[:, first] - error[:, second], 0.0)
        n, sums = both.sum(0), gaps.sum(0)
        across = (sums**2 - (gaps**2).sum(0)) / (n * (n - 1))
        total = squares.sum(0) / n
        weight = both * prompts / n / templates**2
        of_across = (weight * (gaps * (sums - gaps) - (n - 1) * across) * 2 / (n - 2)).sum(1)
        of_total = (weight * (squares - total)).sum(1)
        away = np.where(both, gaps - sums / n, 0.0) / np.sqrt(n * (n - 1)) / templates
    template = float(across.sum() / templates**2)
    interaction = float(total.sum() / templates**2) - template
    of_template = template + of_across
    interval = stats.mean_interval(of_template)
    if not isinstance(interval, stats.Withheld):
        length = float(((sums / n) ** 2).sum() / templates**2)
        first_order = float(of_template.var(ddof=1)) / prompts / length if length else 0.0
        interval = _of_square(template, first_order, away @ away.T, stats.t_quantile(prompts - 1))
    return Variances(
        (template, interval),
        (interaction, stats.mean_interval(interaction + of_total - of_across)),
        _noise(spread, usable),
    )


def _of_square(value: float, slope: float, kernel: FloatArray, t: float) -> Interval:
    """Every v for which (value - v)^2 <= t^2 (slope v + least): the error's variance grows with v, from that where v is
    0, which a degenerate kernel [P, P] between prompts leaves."""
    least = 2 * float((kernel**2).sum() - (np.diag(kernel) ** 2).sum())
    middle = value + t**2 * slope / 2
    half = math.sqrt(max(0.0, middle**2 - value**2 + t**2 * least))
    return (middle - half, middle + half)


def gains(scores: FloatArray) -> list[Told]:
    """Each template's gain over the bare prompt, paired by prompt, from scores [P, J, R]."""
    return [stats.paired_difference(scores[:, j], scores[:, 0]) for j in range(scores.shape[1])]


def best_template(scores: FloatArray) -> Best:
    """The best single template and its gain over the bare prompt, without the optimism of choosing it on the prompts
    that judge it, from scores [P, J, R]. The folds are every fifth prompt."""
    means = stats.mean_over_responses(scores)
    gain = rounding.difference(means, means[:, :1])
    part = folds(len(gain))
    by_fold = np.array([_highest(gain[part != fold]) for fold in range(part.max() + 1)])
    chosen, template = by_fold[part], _highest(gain)
    each = np.where(chosen >= 0, np.take_along_axis(gain, np.maximum(chosen, 0)[:, None], 1)[:, 0], np.nan)
    behind = [stats.mean_interval(rounding.difference(gain[:, j], gain[:, template])) for j in range(gain.shape[1])]
    rivals = 1 + sum(high >= 0 for _, high in behind)
    return Best(template, chosen, each, rivals, widened(each, rivals))


def folds(prompts: int) -> npt.NDArray[np.int64]:
    """The fold of each prompt [P]."""
    return np.arange(prompts) % min(FOLDS, prompts)


def widened(each: FloatArray, rivals: int) -> Told:
    """Mean of one figure a prompt [P] that rests on a choice among so many, and its interval: that of the mean, wider
    as Bonferroni would have it of as many figures.

    Folds choose by each other's prompts, so that where templates tie their errors agree, and what one template's error
    is would be too little.
    """
    value, (low, high) = stats.mean(each[:, None]), (interval := stats.mean_interval(each))
    if isinstance(interval, stats.Withheld):
        return value, interval
    normal = NormalDist()
    factor = normal.inv_cdf(1 - 0.025 / rivals) / normal.inv_cdf(0.975)
    return value, (value - factor * (value - low), value + factor * (high - value))


def chosen_on(scores: FloatArray, k: int) -> FloatArray:
    """Mean score [P] where a prompt's template is the best by k answers and is judged by its others, from [P, J, R].

    The mean over every place at which the k in a row can begin; templates that tie count alike. Only cells with more
    than k answers take part; nan where a prompt has none. Unbiased for what this rule reaches, which is no more than
    E_i max_j mu_ij.
    """
    finite = np.isfinite(scores)
    packed = np.take_along_axis(scores, np.argsort(~finite, axis=-1, kind="stable"), -1)
    count = finite.sum(-1)[..., None]
    able = count[..., 0] > k
    places = np.arange(scores.shape[-1])
    reached = np.zeros(len(scores))
    for start in places:
        turned = np.take_along_axis(packed, (start + places) % np.maximum(count, 1), -1)
        turned = np.where(places < count, turned, np.nan)
        by = np.where(able, turned[..., :k].mean(-1), -np.inf)
        top = by.max(1, keepdims=True)
        taken = able & (rounding.difference(np.where(able, by, np.nan), top) == 0)
        judged = np.where(taken, stats.mean_over_responses(turned[..., k:]), 0.0)
        with np.errstate(invalid="ignore"):
            reached += judged.sum(1) / taken.sum(1)
    return reached / len(places)


def bracket(scores: FloatArray, best: Best, interaction: Interval) -> Bracket:
    """What choosing per prompt could add, from scores [P, J, R], the best single template and the interval of the
    variance of prompt x template. k as far as cells have answers beyond them."""
    means = stats.mean_over_responses(scores)
    single = best.each + means[:, 0]
    most = int(np.isfinite(scores).sum(-1).max())
    below = {}
    for k in CHOOSE_ON:
        if k < most:
            more = rounding.difference(chosen_on(scores, k), single)
            below[k] = widened(more, best.rivals)
    limits = ceiling(interaction[1], scores.shape[1]), stats.mean_interval(at_most(scores, best))[1]
    return Bracket(below, min((limit for limit in limits if not math.isnan(limit)), default=math.nan))


def at_most(scores: FloatArray, best: Best) -> FloatArray:
    """A figure for each prompt [P] whose mean is at least what choosing per prompt adds to `best.chosen`, from scores
    [P, J, R], whatever the distribution; nan where a template has no answer.

    With D_j = mu_ij less that of the template chosen, max_j D_j is at most max_j D_j over the near templates, itself
    among them, and sum_j (D_j + c_j)^2 / (4 c_j) over the far, for any c_j > 0, since (D - c)^2 >= 0. The means of
    answers in the place of mu_ij only raise the first, and their errors are taken off the squares. Which are far, and
    c_j, near the root of E D_j^2, where the second is least, are chosen on the other folds.
    """
    count, means, spread = _cells(scores)
    part = folds(len(means))
    found = np.full(len(means), np.nan)
    for fold in np.unique(part[best.chosen >= 0]):
        here = part == fold
        single = best.chosen[here][0]
        told = (count > 1) & (count[:, [single]] > 1) & (np.arange(means.shape[1]) != single)
        gaps = rounding.difference(means, means[:, [single]])
        with np.errstate(divide="ignore", invalid="ignore"):
            error = spread / count
            weight = told / told[~here].mean(0)
        error = np.where(told, error + error[:, [single]], 0.0)
        away = np.where(told, gaps, 0.0)
        mean, square, noise = ((weight * each)[~here].mean(0) for each in (away, away**2 - error, error))
        tried = []
        for behind, least in itertools.product(FAR, LEAST):
            far = (noise > 0) & (mean < -behind * np.sqrt(np.where(noise > 0, noise, 1.0)))
            c = np.sqrt(square.clip(min=0) + least**2 * noise)[far]
            parabolas = weight[:, far] * ((away[:, far] + c) ** 2 - error[:, far]) / (4 * c)
            tried.append(gaps[:, ~far].max(1) + parabolas.sum(1))
        others = [each[~here & np.isfinite(each)] for each in tried]
        limits = [each.mean() + 2 * each.std() / math.sqrt(len(each)) if len(each) else math.inf for each in others]
        found[here] = tried[int(np.argmin(limits))][here]
    return found


def ceiling(variance: float, templates: int) -> float:
    """sigma sqrt(J - 1): no more can choosing per prompt add, whatever the distribution, where the variance of
    prompt x template is this.

    J numbers that sum to 0 with mean square s^2 have none above s sqrt(J - 1) (Samuelson 1968), and E s is at most
    sigma. Below 0 a variance counts as 0.
    """
    return math.sqrt(max(0.0, variance) * (templates - 1)) if not math.isnan(variance) else math.nan


def sure_surplus(gain: Interval, above: float, share: float) -> float:
    """The lower limit of the best single template's gain less `share` of the most that choosing per prompt could gain,
    which is that gain and `above`; nan where there is none. Above 0, one template has that share of all there is."""
    return (1 - share) * gain[0] - share * above


def _cells(scores: FloatArray) -> tuple[npt.NDArray[np.int64], FloatArray, FloatArray]:
    """Of each cell [P, J]: its answers, their mean, and an answer's variance, nan where they tell none."""
    count, means = np.isfinite(scores).sum(-1), stats.mean_over_responses(scores)
    away = rounding.difference(scores, means[..., None])
    with np.errstate(divide="ignore", invalid="ignore"):
        spread = np.where(count > 1, np.nansum(away**2, -1) / (count - 1), np.nan)
    return count, means, spread


def _noise(spread: FloatArray, usable: npt.NDArray[np.bool_]) -> Told:
    """The mean over templates of the mean over prompts of an answer's variance [P, J]."""
    prompts, templates = spread.shape
    n = usable.sum(0)
    with np.errstate(divide="ignore", invalid="ignore"):
        each = np.where(usable, spread, 0.0).sum(0) / n
        away = (np.where(usable, spread - each, 0.0) * prompts / n).sum(1) / templates
    value = float(each.mean())
    return value, stats.mean_interval(value + away)


def _highest(gain: FloatArray) -> int:
    """The template of the highest mean gain [P, J] over prompts that have it, the first of equals; -1 without any."""
    present = np.isfinite(gain)
    with np.errstate(invalid="ignore"):
        average = np.where(present, gain, 0.0).sum(0) / present.sum(0)
    return int(np.nanargmax(average)) if np.isfinite(average).any() else -1
