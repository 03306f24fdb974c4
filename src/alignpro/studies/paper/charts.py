"""Figures 2 and 3: for each data set the four architectures, the three configurations of each side by side."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from alignpro.report import row_charts
from alignpro.report.drawing import INK, drawing, standalone, whisker
from alignpro.report.palette import looks
from alignpro.report.row_charts import Row
from alignpro.results import UNKNOWN, Estimate, PaperArm, PaperCell
from alignpro.studies.paper.grid import ARMS
from alignpro.studies.paper.published import DATA

FIGURES: Mapping[str, Callable[[PaperArm], Estimate]] = {
    "reward": lambda arm: arm.reward,
    "variance": lambda arm: arm.variance,
    "second_reward": lambda arm: arm.second_reward,
    "second_variance": lambda arm: arm.second_variance,
}
LOOKS = looks(ARMS)
PANEL, LEFT, GAP, HEAD, FEET = 270, 52, 22, 62, 40
GROUP, LINE = 62, 15


def card_figure(rows: Sequence[PaperCell], key: str, axis: str, name: str) -> Markup:
    """One data set as an SVG element of the page; `key` is a figure of an arm in paper.json."""
    grouped = [(architecture(row) + missing(row), _rows(row, key)) for row in rows]
    label = f"{axis} of the three configurations, by prompter and frozen model"
    return row_charts.groups(grouped, name, label, axis)


def figure_file(rows: Sequence[PaperCell], key: str, axis: str, title: str) -> str:
    """All data sets side by side as an SVG file of its own."""
    sets = [data for data in DATA if any(row.data.label == data for row in rows)]
    most = max(sum(row.data.label == data for row in rows) for data in sets)
    width = LEFT + len(sets) * (PANEL + GAP)
    height = HEAD + most * GROUP + FEET
    with drawing(f"paper-{key}"):
        figure = Figure(figsize=(width / 72, height / 72))
        figure.patch.set_facecolor(INK["panel"])
        for place, data in enumerate(sets):
            left = (LEFT + place * (PANEL + GAP)) / width
            axes = figure.add_axes((left, FEET / height, PANEL / width, most * GROUP / height))
            mine = [row for row in rows if row.data.label == data]
            _panel(axes, mine, key, DATA[data], axis, named=place == 0)
        figure.text(LEFT / width, 1 - 20 / height, title, color=INK["ink"], fontsize=14)
        for place, look in enumerate(LOOKS.values()):
            at = (LEFT + place * 150) / width
            mark = Axes(figure, (at, 1 - 42 / height, 12 / width, 12 / height))
            mark.set_axis_off()
            figure.add_axes(mark)
            whisker(mark, Estimate(0.5), 0.5, look.token, look.marker)
            figure.text(at + 16 / width, 1 - 40 / height, look.label, color=INK["ink"], fontsize=12)
        return standalone(figure, f"{title}; {axis}")


def architecture(row: PaperCell) -> str:
    """`P1 F2`, as the paper calls it."""
    return f"{row.prompter.label} {row.frozen.label}".upper()


def missing(row: PaperCell) -> str:
    """What stands beside the name of a cell that has no figures."""
    return "" if row.state == "finished" else f" ({row.state})"


def figure_of(row: PaperCell, arm: str, key: str) -> Estimate:
    """A figure of an arm in a cell of paper.json; nan where there is none."""
    shown = row.arms.get(arm) if row.arms else None
    return FIGURES[key](shown) if shown else UNKNOWN


def _panel(axes: Axes, rows: Sequence[PaperCell], key: str, name: str, axis: str, named: bool) -> None:
    for place, row in enumerate(rows):
        for line, one in enumerate(_rows(row, key)):
            whisker(axes, one.estimate, place + (line - 1) * LINE / GROUP, one.token, one.marker)
        if place:
            axes.axhline(place - 0.5, color=INK["line"], linewidth=0.7)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_yticks(range(len(rows)), [architecture(row) for row in rows] if named else [""] * len(rows))
    axes.grid(False, axis="y")
    axes.spines["left"].set_visible(False)
    axes.set_xlabel(f"{axis}, {name}")
    axes.margins(x=0.1)
    axes.locator_params(axis="x", nbins=5)


def _rows(row: PaperCell, key: str) -> list[Row]:
    return [Row(look.label, figure_of(row, arm, key), look.token, look.marker) for arm, look in LOOKS.items()]
