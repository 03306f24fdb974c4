"""The figures of docs/theory.md, and every number that it quotes, from worlds of fixed seeds."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from io import StringIO
from pathlib import Path

import matplotlib.style
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from alignpro.theory import bounds
from alignpro.theory.examples import close_world, editing_world, random_world, softmax
from alignpro.theory.selection import best_of_n, best_of_n_bound, frontier, gibbs_n

# Okabe and Ito's palette, which readers with any colour vision tell apart.
BLUE, ORANGE, GREEN, PURPLE, GREY, INK = "#0072b2", "#d55e00", "#009e73", "#b0568a", "#6a717c", "#1b1d22"

_FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, Helvetica, Arial, sans-serif"
_STYLE = {
    "svg.fonttype": "none",
    "font.size": 11,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e6e4de",
    "lines.linewidth": 2,
    "legend.frameon": False,
    "text.color": INK,
    "axes.labelcolor": INK,
    "xtick.labelcolor": GREY,
    "ytick.labelcolor": GREY,
    "axes.edgecolor": GREY,
}

Drawn = tuple[Figure, list[str]]


def write_figures(folder: Path) -> list[str]:
    """Draw every figure of docs/theory.md into `folder` as SVG; the same bytes each time.

    Returns a line of text for each fact that the page quotes.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lines = []
    drawings: dict[str, Callable[[], Drawn]] = {
        "theory-frontier": _frontier,
        "theory-bounds": _bounds,
        "theory-selection": _selection,
        "theory-sequence": _sequence,
    }
    for name, draw in drawings.items():
        # Starting from matplotlib's defaults makes the output independent of the user's matplotlibrc.
        with matplotlib.style.context(["default", {**_STYLE, "svg.hashsalt": name}]):
            figure, found = draw()
            buffer = StringIO()
            FigureCanvasSVG(figure).print_svg(buffer, metadata={"Date": None, "Creator": None})
        svg = re.sub(r"font-family: [^;\"]*", f"font-family: {_FONT}", buffer.getvalue())
        (folder / f"{name}.svg").write_text(svg, encoding="utf-8")
        lines += [f"{name.removeprefix('theory-')}: {line}" for line in found]
    return lines


def _frontier() -> Drawn:
    world = random_world(1, prompts=8, rewrites=40, responses=6, beta=0.5, lam=0.25)
    noise = 0.5 * np.random.default_rng(2).normal(size=world.log_reference.shape)
    scores = world.log_reference + (world.rewards_of_rewrites + noise) / world.lam
    shared = np.broadcast_to((np.exp(world.log_prompts) @ scores), scores.shape)
    prompters = {
        "reference": (world.log_reference, "s"),
        "same rewrites for every prompt": (np.log(softmax(shared)), "v"),
        "optimum of a noisy reward": (np.log(softmax(scores)), "D"),
        "best of 8": (best_of_n(world, 8), "^"),
        "optimum for λ/4": (world.log_optimum_at(world.lam / 4), "P"),
    }
    curve = frontier(world, world.lam * np.geomspace(0.03, 300, 120))
    best = frontier(world, world.lam)
    kl, reward = float(best.kl[0]), float(best.reward[0])

    figure, axes = _canvas(7.4, 4.6)
    axes.plot(curve.kl, curve.reward, color=BLUE, label="frontier (B6)")
    reach = np.array([0.0, 4.7])
    axes.plot(reach, reward + world.lam * (reach - kl), color=GREY, linewidth=1.2, label="slope λ: equal objective")
    axes.plot(kl, reward, "*", color=BLUE, markersize=15, label="optimum ρ* at λ")
    lines = [f"lam {world.lam:g}: the optimum spends {kl:.2f} nats for a reward of {reward:.3f}"]
    for (name, (log_rho, marker)), colour in zip(prompters.items(), (INK, PURPLE, ORANGE, GREEN, BLUE), strict=True):
        at, value = world.kl_to_reference(log_rho), world.prompter_reward(log_rho)
        distance, short = world.distance(log_rho), world.objective(world.log_optimum) - world.objective(log_rho)
        axes.vlines(at, value, value + world.lam * distance, color=colour, linewidth=1.2, linestyle=(0, (2, 2)))
        axes.plot(at, value, marker, color=colour, markersize=8, label=f"{name}: {distance:.2f} nats away")
        lines.append(
            f"{name}: {at:.2f} nats, reward {value:.3f}, objective {short:.4f} short = {world.lam:g} x "
            f"{distance:.4f} nats"
        )
    axes.set(xlabel="KL to the reference prompter (nats)", ylabel="mean reward", xlim=(-0.1, 4.7), ylim=(-0.6, 1.75))
    axes.legend(loc="lower right", fontsize=9.5)
    return figure, lines


def _bounds() -> Drawn:
    lams = np.geomspace(1e-3, 10, 200)
    worlds = [replace(close_world(1.0), lam=float(lam)) for lam in lams]
    rows = {
        "bound (11)": ([bounds.theorem(w).total for w in worlds], ORANGE, (0, (6, 2))),
        "sharper bound (B5)": ([bounds.sharper(w).total for w in worlds], GREEN, (0, (3, 1.5))),
        "exact gap (B3)": ([bounds.exact(w).total for w in worlds], BLUE, "-"),
    }
    figure, axes = _canvas(7.4, 4.4)
    axes.axhline(0, color=INK, linewidth=0.8)
    for name, (values, colour, dashes) in rows.items():
        axes.plot(lams, values, color=colour, linestyle=dashes, label=name)
    first, threshold = bounds.largest_lam(worlds[0]), bounds.smallest_lam(worlds[0])
    for lam, colour, text, place in (
        (first, ORANGE, f"largest_lam {first:.3f}", (-120, -40)),
        (threshold, GREEN, f"smallest_lam {threshold:.3f}", (42, 14)),
    ):
        line = {"arrowstyle": "-", "color": colour}
        axes.plot(lam, 0, "o", color=colour, markersize=8, zorder=4)
        axes.annotate(text, (lam, 0), place, textcoords="offset points", color=colour, arrowprops=line)
    axes.set(xscale="log", xlabel="λ, the prompter's KL coefficient", ylabel="gap to RLHF (reward)")
    axes.xaxis.set_major_formatter("{x:g}")
    axes.legend(loc="center right")
    lines = [
        f"largest_lam {first:.4f}, smallest_lam {threshold:.4f}",
        f"A = {first * bounds.kl_budget(replace(worlds[0], lam=first)):.4f}: at largest_lam a KL budget of "
        f"{bounds.kl_budget(replace(worlds[0], lam=first)):.2f} nats",
    ]
    for lam in (0.01, 0.1, 1.0):
        world = replace(worlds[0], lam=lam)
        totals = [f(world).total for f in (bounds.theorem, bounds.sharper, bounds.exact)]
        lines.append("lam {:g}: (11) {:.3f}, (B5) {:.3f}, exact {:.3f}".format(lam, *totals))
    return figure, lines


def _selection() -> Drawn:
    world = random_world(3, prompts=6, rewrites=60, responses=6, beta=0.5, lam=0.3)
    counts = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024]
    best, gibbs = [best_of_n(world, n) for n in counts], [gibbs_n(world, n) for n in counts]
    figure = Figure(figsize=(8.6, 3.9), layout=ConstrainedLayoutEngine(w_pad=0.12, h_pad=0.1))
    left, right = figure.subplots(1, 2)
    optimum = world.kl_to_reference(world.log_optimum)
    left.plot(counts, [best_of_n_bound(n) for n in counts], color=GREY, linestyle=(0, (2, 2)), label="log N − (N−1)/N")
    left.plot(counts, [world.kl_to_reference(p) for p in best], color=ORANGE, marker="o", label="best of N")
    left.plot(counts, [world.kl_to_reference(p) for p in gibbs], color=GREEN, marker="^", label="Gibbs, one of N")
    left.axhline(optimum, color=BLUE, linewidth=1.2, label="optimum ρ*")
    left.set(ylabel="KL to the reference (nats)")
    right.plot(counts, [world.distance(p) for p in best], color=ORANGE, marker="o", label="best of N")
    right.plot(counts, [world.distance(p) for p in gibbs], color=GREEN, marker="^", label="Gibbs, one of N")
    right.set(yscale="log", ylabel="KL to the optimum ρ* (nats)")
    right.yaxis.set_major_formatter("{x:g}")
    for axes in (left, right):
        axes.set(xscale="log", xlabel="N, draws from the reference")
        axes.set_xticks([1, 4, 16, 64, 256, 1024], ["1", "4", "16", "64", "256", "1024"])
        axes.minorticks_off()
        axes.legend(loc="best", fontsize=9.5)
    lines = [f"lam {world.lam:g}: the optimum spends {optimum:.3f} nats"]
    for n in (4, 16, 64, 256):
        one, other = best[counts.index(n)], gibbs[counts.index(n)]
        lines.append(
            f"N {n}: best of N spends {world.kl_to_reference(one):.3f} nats (at most {best_of_n_bound(n):.3f}), "
            f"{world.distance(one):.3f} from the optimum; Gibbs {world.kl_to_reference(other):.3f}, "
            f"{world.distance(other):.2g}"
        )
    return figure, lines


def _sequence() -> Drawn:
    world, edits = editing_world()
    trained = untrained = world
    passes = np.arange(1, 9)
    rows: dict[str, list[float]] = {"trained": [], "untrained": [], "ceiling": [], "kl": []}
    for _ in passes:
        rows["trained"].append(trained.prompter_reward(trained.log_optimum))
        rows["untrained"].append(untrained.prompter_reward(untrained.log_reference))
        rows["kl"].append(trained.kl_to_reference(trained.log_optimum))
        trained = trained.after(trained.log_optimum, edits)
        untrained = untrained.after(untrained.log_reference, edits)
        rows["ceiling"].append(trained.ceiling)
    raw, rlhf = world.over_prompts(world.rewards_of_prompts), world.policy_reward(world.log_rlhf)
    figure, axes = _canvas(7.4, 4.4)
    axes.plot(passes, rows["ceiling"], color=GREY, label="ceiling: what the last rewrite still says of x")
    axes.axhline(rlhf, color=PURPLE, linewidth=1.5, linestyle=(0, (6, 2)), label="RLHF on the prompt itself")
    axes.plot(passes, rows["trained"], color=BLUE, marker="o", label="optimal prompters in sequence")
    axes.axhline(raw, color=INK, linewidth=1.2, linestyle=(0, (1, 1.5)), label="no prompter")
    axes.plot(passes, rows["untrained"], color=ORANGE, marker="s", label="reference prompters in sequence")
    axes.set(xlabel="prompters in sequence", ylabel="mean reward", ylim=(0.2, 1.05))
    figure.legend(loc="outside lower center", ncols=2, fontsize=9.5)
    lines = [f"no prompter {raw:.3f}, RLHF {rlhf:.3f}"]
    for k in (1, 2, 4, 8):
        reward, alone, kl, ceiling = (rows[name][k - 1] for name in ("trained", "untrained", "kl", "ceiling"))
        lines.append(
            f"{k} in sequence: reward {reward:.3f} (references alone {alone:.3f}), the last spends {kl:.2f} nats, "
            f"ceiling {ceiling:.3f}"
        )
    return figure, lines


def _canvas(width: float, height: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(width, height), layout=ConstrainedLayoutEngine(w_pad=0.12, h_pad=0.1))
    return figure, figure.add_subplot()
