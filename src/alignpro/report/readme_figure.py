"""One compact figure for a README: mean reward by arm beside the win rate over no prompter."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

from alignpro.errors import UsageError
from alignpro.report.drawing import DASHES, INK, drawing, standalone, whisker
from alignpro.report.palette import Looks, looks
from alignpro.report.reading import read_run
from alignpro.report.verdict import BASELINE
from alignpro.results import UNKNOWN, Estimate, Evaluation, WinRate
from alignpro.results.words import percent, spoken
from alignpro.runtime import files

WIDTH = 760
ROW = 34
HEAD = 66
FEET = 36
LONGEST_NAME = 34


def write_readme_figure(run_dir: Path, path: Path) -> Path:
    """Write the figure of the run in `run_dir` to `path`, an SVG file, and return it.

    It carries its own paper, so that it reads on any background, and follows the viewer's light or dark preference.
    Raises UsageError where the run has no final comparison.
    """
    evaluation = read_run(run_dir).evaluation
    if evaluation is None:
        raise UsageError(f"{run_dir} has no evaluation.json with arms; let the run finish, then draw its figure")
    path.parent.mkdir(parents=True, exist_ok=True)
    files.write_text(path, _figure(evaluation))
    return path


def _figure(evaluation: Evaluation) -> str:
    arms = looks(evaluation.arms)
    means = {name: arm.reward for name, arm in evaluation.arms.items()}
    wins = {arm: found[0] for arm in arms if arm != BASELINE and (found := _wins(evaluation, arm))}
    height = HEAD + len(arms) * ROW + FEET
    told = ""
    with drawing("readme"):
        figure = Figure(figsize=(WIDTH / 72, height / 72))
        _paper(figure)
        bottom, rows = FEET / height, len(arms) * ROW / height
        left = figure.add_axes((0.2, bottom, 0.36 if wins else 0.76, rows))
        baseline = means.get(BASELINE, UNKNOWN)
        mean = "Accuracy" if evaluation.shares(evaluation.reward) else "Mean reward"
        _panel(left, arms, means, mean, evaluation.reward, baseline.value)
        for place, look in enumerate(arms.values()):
            left.text(-0.06, place, look.label, transform=left.get_yaxis_transform(), ha="right", va="center_baseline")
        if wins:
            right = figure.add_axes((0.63, bottom, 0.33, rows))
            judges = ", ".join(dict.fromkeys(wr.judge for wr in wins.values()))
            gains = {arm: wr.accuracy for arm, wr in wins.items() if wr.accuracy}
            rates = gains or {arm: wr.rate.scaled(100) for arm, wr in wins.items()}
            over, even = ("Accuracy over no prompter", 0.0) if gains else ("Win rate over no prompter, %", 50.0)
            _panel(right, arms, rates, over, f"judge: {judges}", even)
            won = [
                f"{arms[arm].label} {spoken(wr.accuracy, signed=True) if gains else percent(wr.rate)}"
                for arm, wr in wins.items()
            ]
            told = f" {over.removesuffix(', %')}: {'; '.join(won)}."
        said = [f"{look.label} {spoken(means[arm])}" for arm, look in arms.items()]
        return standalone(figure, f"{mean} by arm with 95% intervals: {'; '.join(said)}.{told}")


def _wins(evaluation: Evaluation, arm: str) -> list[WinRate]:
    """Wins over no prompter; by a judge that scores 0 or 1, whose figure is the accuracy, where there is no other."""
    return sorted(evaluation.wins_over(arm, BASELINE), key=lambda row: row.accuracy is not None)


def _panel(
    axes: Axes, arms: Looks, estimates: Mapping[str, Estimate], title: str, source: str, reference: float
) -> None:
    for place, (arm, look) in enumerate(arms.items()):
        whisker(axes, estimates.get(arm, UNKNOWN), place, look.token, look.marker)
    if not math.isnan(reference):
        axes.axvline(reference, color=INK["muted"], linewidth=1, linestyle=DASHES, zorder=1)
    axes.set_ylim(len(arms) - 0.5, -0.5)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    axes.margins(x=0.08)
    axes.locator_params(axis="x", nbins=5)
    short = source if len(source) <= LONGEST_NAME else f"{source[: LONGEST_NAME - 1]}…"
    for text, lift, size, token in ((title, 28, 14, "ink"), (short, 11, 11, "muted")):
        axes.annotate(
            text,
            (0, 1),
            (0, lift),
            "axes fraction",
            "offset points",
            fontsize=size,
            color=INK[token],
            annotation_clip=False,
        )


def _paper(figure: Figure) -> None:
    edge = 1 / 72
    width, height = figure.get_size_inches()
    card = FancyBboxPatch(
        (edge, edge),
        width - 2 * edge,
        height - 2 * edge,
        boxstyle="round,pad=0,rounding_size=0.14",
        transform=figure.dpi_scale_trans,
        facecolor=INK["panel"],
        edgecolor=INK["line"],
        linewidth=1,
        zorder=-1,
    )
    figure.add_artist(card)
