"""The charts that compare arms: rewards, differences, wins, how rewards are spread, and their plane against KL."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes

from alignpro.evaluate.arms import known
from alignpro.report.drawing import DASHES, INK, Chart, canvas, cross, dot, drawing, inline, level, whisker
from alignpro.report.palette import Looks
from alignpro.report.row_charts import Row, caption_of, intervals, rows_canvas
from alignpro.report.standing import part_of_reward, standing
from alignpro.report.verdict import BASELINE
from alignpro.results import Arm, Estimate, Evaluation, Sample, WinRate
from alignpro.results.words import MINUS, number, percent
from alignpro.types import FloatArray

INTERVAL = "Whiskers are 95% intervals, over prompts."
OF_SHARES = "Whiskers are 95% intervals of shares, over prompts."

CURVE_POINTS = 160
BINS = 2048
NARROWEST_LABEL = 0.08
"""Share of the width below which a bar is too short for its number."""


def in_order(evaluation: Evaluation, looks: Looks) -> list[Arm]:
    """The arms that were compared, in the order in which charts and tables show them."""
    return [evaluation.arms[name] for name in looks if name in evaluation.arms]


def rewards(evaluation: Evaluation, looks: Looks) -> Chart:
    """Mean reward of each arm, or its accuracy."""
    dashed = " The dashed line is no prompter." if BASELINE in evaluation.arms else ""
    name, mean, interval = _named(evaluation, evaluation.reward, "mean reward")
    text = f"{mean} of {evaluation.reward}, the reward that {part_of_reward(evaluation).did}.{dashed} {interval}"
    means = {arm.name: arm.reward for arm in in_order(evaluation, looks)}
    return _means(means, looks, name, "rewards", text)


def second_rewards(evaluation: Evaluation, looks: Looks) -> list[Chart]:
    """Mean second reward of each arm that has one, or its accuracy."""
    means = {arm.name: arm.second for arm in in_order(evaluation, looks) if arm.second.defined}
    name, _, interval = _named(evaluation, evaluation.second_reward or "", "mean second reward")
    text = f"The same answers under {evaluation.second_reward}, which {part_of_reward(evaluation).did_not}. {interval}"
    return [_means(means, looks, name, "second", text)] if means else []


def _named(evaluation: Evaluation, reward: str, name: str) -> tuple[str, str, str]:
    """What a mean of `reward` is called, what it is, and what its whiskers are."""
    if evaluation.shares(reward):
        return "accuracy", "Share of right answers, mean over prompts,", OF_SHARES
    return name, "Mean over prompts", INTERVAL


def _means(means: Mapping[str, Estimate], looks: Looks, kind: str, name: str, text: str) -> Chart:
    rows = [Row(looks[arm].label, mean, looks[arm].token, looks[arm].marker) for arm, mean in means.items()]
    reference = means[BASELINE].value if BASELINE in means else math.nan
    title = f"{kind.capitalize()} by arm"
    return Chart(title, text, intervals(rows, name, f"{title} with 95% intervals", kind, reference))


def differences(evaluation: Evaluation, looks: Looks) -> list[Chart]:
    """Paired differences between arms, one chart for each reward."""
    charts = []
    for reward in dict.fromkeys(row.reward for row in evaluation.differences):
        rows = [_paired(d.a, d.b, d.mean, looks) for d in evaluation.differences if d.reward == reward]
        usual = "reward" if reward == evaluation.reward else "second reward"
        kind, _, interval = _named(evaluation, reward, usual)
        label = f"Paired differences in {kind} with 95% intervals"
        svg = intervals(rows, f"differences-{reward}", label, f"difference in {kind}", 0.0)
        told = "Mean of the first arm less that of the second."
        charts.append(
            Chart(f"Difference in {kind}", f"By {reward}, {standing(reward, evaluation)}. {told} {interval}", svg)
        )
    return charts


def _paired(a: str, b: str, difference: Estimate, looks: Looks) -> Row:
    return Row(f"{looks[a].label} {MINUS} {looks[b].label}", difference, looks[a].token, looks[a].marker, True)


def wins_over_baseline(evaluation: Evaluation, looks: Looks) -> list[Chart]:
    """Win rates over no prompter, one chart for each judge; differences in accuracy by one that scores 0 or 1."""
    pairs = [row if row.b == BASELINE else row.mirrored() for row in evaluation.win_rates if BASELINE in (row.a, row.b)]
    text = "Judge: {judge}, {standing}. Bars: won, tied, lost, in the arms' colours."
    text += " The diamond is the win rate with its 95% interval; 50% is no preference."
    return [
        _accuracies(judge, rows, looks, "Accuracy over no prompter", f"wins-{judge}")
        if rows[0].accuracy
        else Chart(
            "Win rate over no prompter",
            text.format(judge=judge, standing=standing(judge, evaluation)),
            _wins(rows, looks, f"wins-{judge}"),
        )
        for judge, rows in _by_judge(pairs)
    ]


def other_wins(evaluation: Evaluation, looks: Looks) -> list[Chart]:
    """Win rates between arms that both have a prompter or were fine-tuned, one chart for each judge; differences in
    accuracy by one that scores 0 or 1."""
    pairs = [row for row in evaluation.win_rates if BASELINE not in (row.a, row.b)]
    return [
        _accuracies(judge, rows, looks, "Accuracy between other arms", f"others-{judge}")
        if rows[0].accuracy
        else Chart(
            "Win rate between other arms",
            f"Judge: {judge}. Bars: won, tied, lost, in the arms' colours; the diamond is the win rate.",
            _wins(rows, looks, f"others-{judge}"),
        )
        for judge, rows in _by_judge(pairs)
    ]


def _accuracies(judge: str, rows: Sequence[WinRate], looks: Looks, title: str, name: str) -> Chart:
    """Paired differences in accuracy: before a judge that scores 0 or 1 most comparisons tie."""
    lines = [_paired(row.a, row.b, row.accuracy, looks) for row in rows if row.accuracy]
    text = f"Judge: {judge}, which scores 0 or 1. Share of right answers of the first arm less that of the second."
    label = f"{title} with 95% intervals"
    return Chart(title, f"{text} {OF_SHARES}", intervals(lines, name, label, "difference in accuracy", 0.0))


def _by_judge(rows: Sequence[WinRate]) -> list[tuple[str, list[WinRate]]]:
    return [(judge, [row for row in rows if row.judge == judge]) for judge in dict.fromkeys(r.judge for r in rows)]


def _wins(win_rates: Sequence[WinRate], looks: Looks, name: str) -> Markup:
    """Win, tie and loss shares as bars in the two arms' colours, the win rate's interval beneath each."""
    with drawing(name):
        figure, axes = rows_canvas(len(win_rates), "share of comparisons, %", row=68)
        axes.grid(False)
        axes.axvline(50, color=INK["muted"], linewidth=1, linestyle=DASHES, zorder=0)
        for place, wr in enumerate(win_rates):
            a, b = looks[wr.a], looks[wr.b]
            caption_of(axes, place, f"{a.label} against {b.label}", percent(wr.rate), lift=0.27)
            left = 0.0
            for share, token in zip(wr.shares, (a.token, "line", b.token), strict=True):
                if share.value > 0:
                    _bar_piece(axes, place, left, share.value, token)
                    left += 100 * share.value
            whisker(axes, wr.rate.scaled(100), place + 0.28, "ink", "d")
        axes.set_xlim(-0.5, 100.5)
        axes.set_xticks([0, 25, 50, 75, 100])
        return inline(figure, "Share of comparisons won, tied and lost, with the win rate and its 95% interval")


def _bar_piece(axes: Axes, place: float, left: float, share: float, token: str) -> None:
    width = 100 * share
    axes.barh(place, width, 0.32, left, color=INK[token], edgecolor=INK["panel"], linewidth=1.5)
    if share >= NARROWEST_LABEL:
        colour = INK["ink" if token == "line" else "panel"]
        centre = left + width / 2
        axes.text(centre, place, number(width, 0), color=colour, ha="center", va="center_baseline")


def distributions(samples: Sequence[Sample], looks: Looks) -> list[Chart]:
    """Smoothed density of the rewards of each arm, with its middle half and median."""
    scored = [sample for sample in samples if math.isfinite(sample.reward)]
    present = {sample.arm for sample in scored}
    by_arm = {arm: np.array([s.reward for s in scored if s.arm == arm]) for arm in looks if arm in present}
    if not by_arm:
        return []
    with drawing("spread"):
        figure, axes = rows_canvas(len(by_arm), "reward", row=68)
        pooled = np.concatenate(list(by_arm.values()))
        margin = 0.06 * (np.ptp(pooled) or 1.0)
        points = np.linspace(pooled.min() - margin, pooled.max() + margin, CURVE_POINTS)
        hills = {arm: density(values, points) for arm, values in by_arm.items()}
        highest = max(hill.max() for hill in hills.values())
        for place, (arm, values) in enumerate(by_arm.items()):
            look, floor = looks[arm], place + 0.36
            colour, top = INK[look.token], floor - 0.6 * hills[arm] / highest
            quarter, median, three_quarters = (float(q) for q in np.quantile(values, [0.25, 0.5, 0.75]))
            caption_of(axes, place, look.label, f"median {number(median)}", lift=0.25)
            axes.fill_between(points, top, floor, color=colour, alpha=0.22, linewidth=0)
            axes.plot(points, top, color=colour, linewidth=1.6)
            axes.plot([quarter, three_quarters], [floor, floor], color=colour, linewidth=3.5)
            dot(axes, median, floor, look.token, look.marker)
        axes.set_xlim(points[0], points[-1])
        svg = inline(figure, "Distribution of the rewards of single answers, by arm")
    text = (
        "Each hill is the smoothed distribution of the rewards of single answers (Gaussian kernel, Silverman's"
        " bandwidth). The bar beneath spans the middle half, its marker is the median."
    )
    return [Chart("Rewards of single answers", text, svg)]


def density(values: FloatArray, points: FloatArray) -> FloatArray:
    """Gaussian kernel density of `values` at `points`.

    Silverman's bandwidth, 0.9 min(sd, IQR / 1.34) n^(-1/5), but never finer than the distance between points:
    rewards may be equal or lie on a few values.
    """
    quarter, three_quarters = np.quantile(values, [0.25, 0.75])
    scales = [scale for scale in (float(np.std(values)), float(three_quarters - quarter) / 1.34) if scale > 0]
    bandwidth = max(0.9 * min(scales, default=0.0) * len(values) ** -0.2, float(points[1] - points[0]))
    # Bins far finer than the bandwidth bound the memory, however many answers a run holds.
    counts, edges = np.histogram(values, BINS, (float(points[0]), float(points[-1])))
    kernels = np.exp(-0.5 * ((points[:, None] - (edges[:-1] + edges[1:]) / 2) / bandwidth) ** 2)
    hill: FloatArray = kernels @ counts / (len(values) * bandwidth * math.sqrt(2 * math.pi))
    return hill


def variances(evaluation: Evaluation, looks: Looks) -> list[Chart]:
    """Variance of the reward of each arm, split into its part between and its part within prompts."""
    measured = in_order(evaluation, looks)
    arms = [arm for arm in measured if arm.variance_between.defined and arm.variance_within.defined]
    if not arms:
        return []
    with drawing("variance"):
        figure, axes = rows_canvas(len(arms), "variance of the reward")
        for place, arm in enumerate(arms):
            look, between, within = looks[arm.name], arm.variance_between.value, arm.variance_within.value
            caption_of(axes, place, look.label, f"{number(between)} + {number(within)}")
            # An estimate of the part between prompts may come out below zero; a bar has no such length.
            solid, pale = max(between, 0.0), max(within, 0.0)
            axes.barh(place + 0.1, solid, 0.3, color=INK[look.token], linewidth=0)
            axes.barh(place + 0.1, pale, 0.3, solid, color=INK[look.token], alpha=0.4, linewidth=0)
            if arm.variance.bounded:
                axes.plot([arm.variance.lo, arm.variance.hi], [place + 0.1] * 2, color=INK["ink"], linewidth=1.2)
        axes.set_xlim(left=0)
        svg = inline(figure, "Variance of the reward between prompts and within a prompt, by arm")
    text = (
        "Solid: between prompts, some being easier than others. Pale: within a prompt, the luck of sampling a"
        " rewrite and an answer. The figures are those two parts, the whiskers 95% intervals of their sum."
    )
    return [Chart("Where the variance comes from", text, svg)]


def placed_on_kl(evaluation: Evaluation) -> list[tuple[Arm, Estimate]]:
    """Arms with a prompter whose KL to the reference is known; a fine-tuned model's KL is of another policy."""
    prompted = [(arm, arm.kl) for arm in evaluation.arms.values() if not _without_prompter(arm)]
    return [(arm, kl) for arm, kl in prompted if kl and kl.defined and arm.reward.defined]


def level_lines(evaluation: Evaluation) -> list[Arm]:
    """Arms without a prompter, which have a mean reward and no place on the KL axis."""
    return [arm for arm in evaluation.arms.values() if _without_prompter(arm) and arm.reward.defined]


def _without_prompter(arm: Arm) -> bool:
    kind = known(arm.name)
    return kind is not None and not kind.rewrites


def plane(evaluation: Evaluation, looks: Looks) -> Markup:
    """Mean reward of each arm against its KL to the reference prompter."""
    with drawing("plane"):
        figure, axes = canvas(330)
        for arm in level_lines(evaluation):
            level(axes, arm.reward, looks[arm.name].token)
        for arm, kl in placed_on_kl(evaluation):
            cross(axes, kl, arm.reward, *looks[arm.name].shape, size=10, width=2.5)
        axes.set_xlabel("KL to the reference prompter, nats")
        name = _named(evaluation, evaluation.reward, "mean reward")[0]
        axes.set_ylabel(name)
        return inline(figure, f"{name.capitalize()} of each arm against how far its prompter left the reference")
