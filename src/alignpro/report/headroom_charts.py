"""The charts of the headroom: the plane of reward against KL, and rewards under noise."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from markupsafe import Markup
from matplotlib.axes import Axes

from alignpro.evaluate.arms import AlignPro, Gibbs, NoPrompter, ReferencePrompter, Rlhf
from alignpro.report.drawing import DASHES, INK, canvas, cross, drawing, inline, level
from alignpro.report.palette import Look, looks
from alignpro.report.row_charts import Row, groups, intervals
from alignpro.results import UNKNOWN, Estimate, Evaluation, Framed, GibbsPoint, Headroom, Point, Templates, Trained
from alignpro.results.words import count, form_of, number

_ARMS = looks(arm.name for arm in (NoPrompter(), ReferencePrompter(), AlignPro(), Gibbs(2), Rlhf()))
NO_PROMPTER, REFERENCE, TRAINED, GIBBS, RLHF = _ARMS.values()
BEST = Look("optimum", "Best prompter", "ink", "P", "✚", "the closed-form optimum")
FRONTIER = Look("frontier", "Frontier", "muted", "", "━", "the most reward that any prompter has at its KL")
FINE_TUNED = replace(RLHF, label="Fine-tuning's optimum", marker="", glyph="╍")
SHOWN_UNDER_NOISE = (NO_PROMPTER, REFERENCE, BEST, TRAINED)
"""Looks in the order of `Noise.rewards`."""

MARKS = {
    "no_prompter": NO_PROMPTER,
    "reference": REFERENCE,
    "trained": TRAINED,
    "best": BEST,
    "frontier": FRONTIER,
    "fine_tuned": FINE_TUNED,
}
"""The looks of the plane and its table, by what the page calls them."""
ROOM = 2.2
"""How far the plane follows the frontier, in multiples of the largest KL of anything else."""
LONGEST_NOISE, LONGEST_TEMPLATE, MOST_TEMPLATES = 50, 34, 20
CLOSE = (0, (1, 1.6))


@dataclass(frozen=True, slots=True)
class HeadroomCharts:
    """The charts of an estimate, None where there is nothing to draw, and what stands beside them.

    `gibbs` is the mark of all draws that have a place in the plane; `goes_on`, whether the frontier does beyond it;
    `under_noise`, places in `Noise.rewards` with the look of each prompter that has a reward there.
    """

    plane: Markup | None
    gibbs: Look | None
    goes_on: bool
    templates: Markup | None
    per_prompt: Markup | None
    noise: Markup | None
    under_noise: list[tuple[int, Look]]


def headroom_charts(headroom: Headroom) -> HeadroomCharts:
    """What there is to draw of an estimate."""
    placed = [point for point in headroom.gibbs if point.placed]
    shown = shown_under_noise(headroom)
    return HeadroomCharts(
        plane=_plane(headroom) if headroom.in_plane else None,
        gibbs=gibbs_look(placed) if placed else None,
        goes_on=len(drawn_frontier(headroom)) < len(headroom.curve),
        templates=_templates(headroom.templates) if headroom.templates and headroom.templates.framed else None,
        per_prompt=_per_prompt(headroom.templates) if headroom.templates and headroom.templates.gain.defined else None,
        noise=_noise(headroom) if shown else None,
        under_noise=[(place, SHOWN_UNDER_NOISE[place]) for place in shown],
    )


def _templates(found: Templates) -> Markup:
    """The best templates by their gain over the bare prompt."""
    drawn = found.framed[:MOST_TEMPLATES]
    rows = [Row(_short(row), row.gain, "align-pro", "o", signed=True) for row in drawn]
    label = "Gain of each template over the bare prompt, with 95% intervals"
    return intervals(rows, "templates", label, "gain over the bare prompt", reference=0.0)


def _per_prompt(found: Templates) -> Markup:
    """What choosing for each prompt adds to the best single template: what is learned, the bracket, the frontier."""
    rows = [Row("Learned from length and words", found.learned, TRAINED.token, "o", signed=True)]
    rows += [
        Row(f"Chosen on {count(row.chosen_on)} of its answers", row.gain, GIBBS.token, "s", signed=True)
        for row in found.chosen_per_prompt
    ]
    rows.append(Row("Chosen, at most", Estimate(found.added_at_most), NO_PROMPTER.token, "<", signed=True))
    rows.append(Row("Best prompter", found.frontier_ahead, BEST.token, BEST.marker, signed=True))
    drawn = [row for row in rows if row.estimate.defined]
    label = "What each adds to the best single template, with 95% intervals"
    return intervals(drawn, "per-prompt", label, "more than the best single template", reference=0.0)


def _short(row: Framed) -> str:
    """What a row of the chart is called: its text, on one line that fits, with dots for the prompt."""
    text = " ".join(row.text.replace("{prompt}", "…").split())
    if text == "…":
        return "The bare prompt"
    return text if len(text) <= LONGEST_TEMPLATE else f"{text[: LONGEST_TEMPLATE - 1]}…"


def gibbs_look(points: Sequence[GibbsPoint]) -> Look:
    """The look of the closed form by sampling, with the numbers of rewrites it takes."""
    return replace(GIBBS, label=f"Gibbs, N = {', '.join(count(point.n) for point in points)}")


def places_arms(headroom: Headroom, evaluation: Evaluation | None) -> bool:
    """Whether the headroom's plane shows what a plane of the compared arms would show again.

    An estimate made before training has no trained prompter, which the comparison may have.
    """
    compared, trained = evaluation.arms.get(AlignPro.written) if evaluation else None, headroom.trained_prompter
    unplaced = compared is None or not (compared.kl and compared.kl.defined)
    return headroom.in_plane and (unplaced or bool(trained and trained.placed))


def _plane(headroom: Headroom) -> Markup:
    """Reward against KL to the reference prompter: the frontier (B6), and where everything else stands."""
    optimum, trained = headroom.optimum, headroom.trained_prompter
    with drawing("headroom"):
        figure, axes = canvas(370)
        _frontier(axes, headroom)
        level(axes, headroom.no_prompter.reward, NO_PROMPTER.token)
        if headroom.rlhf_optimum:
            level(axes, headroom.rlhf_optimum.reward, RLHF.token)
        if headroom.reference_prompter.reward.defined:
            axes.axhline(
                headroom.reference_prompter.reward.value, color=INK[REFERENCE.token], linewidth=1.2, linestyle=CLOSE
            )
        cross(axes, Estimate(0.0), headroom.reference_prompter.reward, *REFERENCE.shape)
        for drawn in headroom.gibbs:
            cross(axes, Estimate(drawn.kl), drawn.reward, *GIBBS.shape, size=7)
            if drawn.placed:
                foot = drawn.reward.lo if drawn.reward.bounded else drawn.reward.value
                _note(axes, count(drawn.n), drawn.kl, foot, (0, -9), "center")
        # Pale and wide, so that the distance can be read upon them.
        if optimum:
            cross(axes, optimum.kl, optimum.reward, *BEST.shape, size=10, width=5, alpha=0.4)
        if trained:
            cross(axes, trained.kl, trained.reward, *TRAINED.shape, size=9, width=5, alpha=0.4)
            if optimum and trained.placed and trained.distance and trained.distance.defined:
                distance(axes, headroom.kl_coef, optimum, trained, trained.distance)
        axes.set_xlabel("KL to the reference prompter, nats")
        axes.set_ylabel(headroom.mean)
        return inline(figure, _said(headroom))


def drawn_frontier(headroom: Headroom) -> list[Point]:
    """The points of the frontier that the plane has room for.

    A low price of KL carries the frontier far from everything else, which would then lie in a corner.
    """
    optimum, trained = headroom.optimum, headroom.trained_prompter
    others = [drawn.kl for drawn in headroom.gibbs if drawn.placed]
    others += [optimum.kl.value] if optimum and optimum.placed else []
    others += [trained.kl.value] if trained and trained.placed else []
    furthest = ROOM * max(others, default=math.inf)
    return [point for place, point in enumerate(headroom.curve) if place == 0 or point.kl.value <= furthest]


def _noise(headroom: Headroom) -> Markup:
    """Reward with and without a prompter under each kind of noise in the frozen model."""
    shown = shown_under_noise(headroom)
    rows = [
        (
            found.noise if len(found.noise) <= LONGEST_NOISE else f"{found.noise[:LONGEST_NOISE]}…",
            [
                Row(look.label, reward or UNKNOWN, look.token, look.marker)
                for place, (look, reward) in enumerate(zip(SHOWN_UNDER_NOISE, found.rewards, strict=True))
                if place in shown
            ],
        )
        for found in headroom.noise or ()
    ]
    label = f"{headroom.mean.capitalize()} with 95% intervals under each kind of noise in the frozen model"
    return groups(rows, "noise", label, headroom.mean)


def shown_under_noise(headroom: Headroom) -> list[int]:
    """Places in SHOWN_UNDER_NOISE of the prompters that have a reward under any noise."""
    rows = [row.rewards for row in headroom.noise or ()]
    return [place for place in range(len(SHOWN_UNDER_NOISE)) if any((row[place] or UNKNOWN).defined for row in rows)]


def _frontier(axes: Axes, headroom: Headroom) -> None:
    # At an infinite price of KL the best prompter is the reference: there the frontier begins.
    if not headroom.curve:
        return
    points = [(0.0, headroom.reference_prompter.reward)] if headroom.reference_prompter.reward.defined else []
    points += [(point.kl.value, point.reward) for point in drawn_frontier(headroom)]
    kl = [at for at, _ in points]
    axes.fill_between(
        kl, [r.lo for _, r in points], [r.hi for _, r in points], color=INK["muted"], alpha=0.16, linewidth=0
    )
    axes.plot(kl, [r.value for _, r in points], color=INK["muted"])


def distance(axes: Axes, kl_coef: float, best: Point, trained: Trained, short: Estimate) -> None:
    """The distance (B4), upright from the trained prompter to the line of points as good as the optimum.

    At a price kl_coef, objective = reward - kl_coef * KL: points of equal objective lie on a line of that slope, and
    the frontier's tangent is the one through the optimum. So the distance drawn has the length that is told.
    """
    at, foot = trained.kl.value, trained.reward.value
    head = foot + short.value
    axes.plot([at, at], [foot, head], color=INK["ink"], linewidth=1.6, linestyle=CLOSE, zorder=3.5)
    if best.placed and math.isfinite(kl_coef):
        low, high = sorted((at, best.kl.value))
        beyond = max(0.25 * (high - low), 0.16 * axes.get_xlim()[1])
        ends = [max(0.0, low - beyond), high + beyond]
        heights = [best.reward.value + kl_coef * (end - best.kl.value) for end in ends]
        axes.plot(ends, heights, color=INK["ink"], linewidth=1, linestyle=DASHES, zorder=1.5)
    said = f"{number(short.value, form_of(short))} (B4)"
    width = axes.get_xlim()[1]
    # Nothing lies above the tangent; but its left has no room by the axis, and may hold the optimum's interval.
    if at < 0.15 * width:
        _note(axes, said, at, max(foot, head), (-2, 24), "left")
    elif at > best.kl.value and at < 0.75 * width:
        _note(axes, said, at, (foot + head) / 2, (8, 0 if head > foot else -14), "left")
    else:
        _note(axes, said, at, max(foot, head), (-3, 10), "right")


def _note(axes: Axes, text: str, x: float, y: float, offset: tuple[float, float], side: str) -> None:
    paper = {"facecolor": INK["panel"], "edgecolor": "none", "pad": 0.8, "alpha": 0.8}
    axes.annotate(
        text, (x, y), offset, textcoords="offset points", ha=side, va="center_baseline", fontsize=11, bbox=paper
    )


def _said(headroom: Headroom) -> str:
    """What a screen reader says of the plane; the table beneath has all its figures."""
    parts = [f"the reference prompter has {number(headroom.reference_prompter.reward.value)} at 0 nats"]
    for who, found in (
        ("the best prompter", headroom.optimum),
        ("the trained prompter", headroom.trained_prompter),
    ):
        if found and found.placed:
            parts.append(f"{who} {number(found.reward.value)} at {number(found.kl.value)}")
    return f"{headroom.mean.capitalize()} against KL to the reference prompter: {', '.join(parts)}"
