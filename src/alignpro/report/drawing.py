"""The frame every figure shares: type, paper, and colours that follow the page's theme.

matplotlib draws with a sentinel colour for each token of the palette. On the page the sentinels become CSS
variables; in a figure that stands alone, literal colours with a style sheet for dark mode.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import matplotlib.style
from markupsafe import Markup, escape
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from alignpro.report.palette import TOKENS
from alignpro.results import Estimate

WIDTH = 400
"""Units across a figure: a phone shows it at about 0.8 of that, a desktop column at 1.2."""

INK = {name: f"#fe{place:04x}" for place, name in enumerate(TOKENS)}
"""Token -> the sentinel colour to draw with."""

DASHES = (0, (4, 3))

_LARGER = {"*": 1.6, "^": 1.2, "v": 1.2, "<": 1.2, ">": 1.2}  # shapes of little area at the same width

_STYLE = {
    "svg.fonttype": "none",
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "font.size": 12,
    "text.parse_math": False,  # a judge's or an arm's name may hold a dollar sign
    "text.color": INK["ink"],
    "axes.labelcolor": INK["muted"],
    "axes.labelsize": 11,
    "axes.edgecolor": INK["line"],
    "axes.linewidth": 1,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": INK["line"],
    "grid.linewidth": 0.7,
    "xtick.color": INK["line"],
    "ytick.color": INK["line"],
    "xtick.labelcolor": INK["muted"],
    "ytick.labelcolor": INK["muted"],
    "xtick.labelsize": 11,
    "ytick.labelsize": 11,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "lines.linewidth": 2,
}
_FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, Helvetica, Arial, sans-serif"
_NO_METADATA = {"Date": None, "Creator": None, "Format": None, "Type": None}


@dataclass(frozen=True, slots=True)
class Chart:
    """A drawing with its title and, in plain words, what it shows."""

    title: str
    text: str
    svg: Markup


@contextmanager
def drawing(name: str) -> Iterator[None]:
    """The house style for what is drawn inside; `name` keeps the ids of one figure apart from another's."""
    # Starting from matplotlib's defaults makes the output independent of the user's matplotlibrc.
    with matplotlib.style.context(["default", {**_STYLE, "svg.hashsalt": name}]):
        yield


def canvas(height: float, width: float = WIDTH) -> tuple[Figure, Axes]:
    """A figure of `width` by `height` units with one set of axes."""
    layout = ConstrainedLayoutEngine(w_pad=0.03, h_pad=0.05)
    figure = Figure(figsize=(width / 72, height / 72), layout=layout)
    return figure, figure.add_subplot()


def dot(axes: Axes, x: float, y: float, token: str, marker: str, size: float = 8.5) -> None:
    """One marker, edged with the paper so that it stands out from what lies beneath."""
    size *= _LARGER.get(marker, 1.0)
    axes.plot([x], [y], color=INK[token], marker=marker, markersize=size, markeredgecolor=INK["panel"], zorder=4)


def whisker(axes: Axes, estimate: Estimate, place: float, token: str, marker: str) -> None:
    """A marker with its 95% interval lying at height `place`; nothing where the value is undefined."""
    if not estimate.defined:
        return
    if estimate.bounded:
        ends = [estimate.lo, estimate.hi]
        axes.plot(ends, [place, place], color=INK[token], linewidth=3, solid_capstyle="round")
    dot(axes, estimate.value, place, token, marker)


def cross(
    axes: Axes, x: Estimate, y: Estimate, token: str, marker: str, size: float = 8.5, width: float = 2, alpha: float = 1
) -> None:
    """A marker with the 95% intervals of both its coordinates; nothing where one is undefined."""
    if not (x.defined and y.defined):
        return
    if y.bounded:
        axes.plot([x.value, x.value], [y.lo, y.hi], color=INK[token], linewidth=width, alpha=alpha)
    if x.bounded:
        axes.plot([x.lo, x.hi], [y.value, y.value], color=INK[token], linewidth=width, alpha=alpha)
    dot(axes, x.value, y.value, token, marker, size)


def level(axes: Axes, y: Estimate, token: str) -> None:
    """A dashed line all across at height `y`, with the band of its interval."""
    if y.defined:
        axes.axhline(y.value, color=INK[token], linewidth=1.6, linestyle=(0, (6, 3)))
    if y.bounded:
        axes.axhspan(y.lo, y.hi, color=INK[token], alpha=0.1, linewidth=0)


def inline(figure: Figure, label: str) -> Markup:
    """The figure as an SVG element in the page's CSS variables; `label` is what a screen reader says."""
    svg = re.sub(r"<defs>\s*<style.*?</style>\s*</defs>", "", _svg(figure), count=1, flags=re.DOTALL)
    svg = re.sub(r' (width|height)="[\d.]+pt"', "", svg, count=2)
    # Groups carry ids like axes_1 in every figure, which one page cannot hold twice.
    svg = re.sub(r'<g id="[^"]*"', "<g", svg)
    for name, sentinel in INK.items():
        svg = svg.replace(sentinel, f"var(--{name})")
    return Markup(svg.replace("<svg ", f'<svg class="chart" role="img" aria-label="{escape(label)}" ', 1))


def standalone(figure: Figure, title: str) -> str:
    """The figure as an SVG file: light colours, and dark ones where the viewer prefers them."""
    svg = _svg(figure)
    dark = ""
    for name, sentinel in INK.items():
        light_colour, dark_colour = TOKENS[name]
        svg = svg.replace(sentinel, light_colour)
        # Overriding by attribute keeps the light colours in place for viewers that know no CSS variables.
        for kind in ("fill", "stroke"):
            if f"{kind}: {light_colour}" in svg:
                dark += f'[style*="{kind}: {light_colour}"]{{{kind}:{dark_colour}!important}}'
    opening, body = svg.split(">", 1)
    opening = opening.replace('pt"', '"').replace("<svg ", f'<svg role="img" aria-label="{escape(title)}" ', 1)
    style = f"<style>@media (prefers-color-scheme:dark){{{dark}}}</style>"
    return f"{opening}>\n<title>{escape(title)}</title>\n{style}{body.rstrip()}\n"


def _svg(figure: Figure) -> str:
    buffer = io.StringIO()
    # savefig would lay the figure out and draw it twice.
    FigureCanvasSVG(figure).print_svg(buffer, metadata=_NO_METADATA)
    text = buffer.getvalue()
    text = text[text.index("<svg ") :]
    text = text.replace(' xmlns:xlink="http://www.w3.org/1999/xlink"', "").replace("xlink:href", "href")
    text = re.sub(r"font-family: [^;\"]*", f"font-family: {_FONT}", text)
    text = re.sub(r' transform="rotate\(-0 [^"]*\)"', "", text)
    # Hundredths of a unit are finer than any screen; the rest is weight.
    return re.sub(r' d="[^"]*"', lambda path: re.sub(r"(\.\d\d)\d+", r"\1", path[0]), text)
