"""paper.html: Table 1, Figures 2 and 3, the paper's claims and the cost, from what paper.json holds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from alignpro import results
from alignpro.report.drawing import Chart
from alignpro.report.templating import write_page
from alignpro.report.verdict import KeyFigure
from alignpro.results import Paper, PaperCell
from alignpro.results.words import NOTHING, number
from alignpro.runtime import files
from alignpro.studies.paper.charts import LOOKS, card_figure, figure_file, figure_of
from alignpro.studies.paper.published import DATA

NONE_GIVEN = "none was given"


def write(found: Paper, out: Path) -> Path:
    """Write paper.json, paper.html, figure2.svg and figure3.svg into the grid's folder; returns the page's path.

    The same figures give the same bytes. Cells whose report lies in `out` are linked to it.
    """
    results.write(out / "paper.json", found)
    rows = found.cells
    stand_ins = found.scale == "tiny"
    note = {"tiny": " (stand-ins)", "small": " (in miniature)"}.get(found.scale, "")
    files.write_text(out / "figure2.svg", figure_file(rows, "reward", "mean reward", f"Mean rewards{note}"))
    files.write_text(out / "figure3.svg", figure_file(rows, "variance", "variance", f"Reward variances{note}"))
    data_names = {data: f"stand-in for {name}" if stand_ins else name for data, name in DATA.items()}
    names = _names(rows)
    charts = {
        "reward": list(_charts("figure2", rows, data_names, names, ("reward", "second_reward"), "mean reward")),
        "variance": list(
            _charts("figure3", rows, data_names, names, ("variance", "second_variance"), "variance of the reward")
        ),
    }
    return write_page(
        out / "paper.html",
        "paper.html",
        interactive=False,
        found=found,
        figures=_key_figures(found),
        unfinished=[f"{row.cell} is {row.state}." for row in rows if row.state != "finished"],
        names=names,
        data_names=data_names,
        charts=charts,
        looks=LOOKS,
        reported={row.cell for row in rows if (out / row.cell / "report.html").is_file()},
        figure_of=figure_of,
    )


def _key_figures(found: Paper) -> list[KeyFigure]:
    finished = sum(row.state == "finished" for row in found.cells)
    cost = found.cost
    return [
        KeyFigure("cells finished", f"{finished} of {len(found.cells)}", "each an ordinary run"),
        *(
            KeyFigure(claim.claim.partition(" (")[0], f"{claim.holds} of {claim.of}", "cells in which this holds")
            for claim in found.claims
            if claim.of
        ),
        KeyFigure("wall clock", _minutes(cost.seconds), f"{_minutes(cost.cpu_seconds)} of processor time"),
    ]


def _charts(
    anchor: str,
    rows: Sequence[PaperCell],
    data_names: Mapping[str, str],
    names: Mapping[str, str],
    keys: tuple[str, str],
    axis: str,
) -> Iterator[Chart]:
    """One a reward and a data set, of the cells there are."""
    for key, kind in zip(keys, ("reward", "second_reward"), strict=True):
        if kind == "second_reward" and names[kind] == NONE_GIVEN:
            continue
        for label, shown in data_names.items():
            if mine := [row for row in rows if row.data.label == label]:
                told = f"by {names[kind]}" + (", which training did not see" if kind == "second_reward" else "")
                svg = card_figure(mine, key, axis, f"{anchor}-{key}-{label}")
                yield Chart(shown[0].upper() + shown[1:], f"{mine[0].data.prompts}; {told}", svg)


def _names(rows: Sequence[PaperCell]) -> dict[str, str]:
    """Reward, second reward and judge of the finished cells; several by commas."""
    named: dict[str, list[str | None]] = {
        "reward": [row.reward for row in rows],
        "second_reward": [row.second_reward for row in rows],
        "judge": [row.table1.judge for row in rows if row.table1],
    }
    without = {"second_reward": NONE_GIVEN} if any(row.state == "finished" for row in rows) else {}
    return {
        kind: ", ".join(dict.fromkeys(name for name in names if name)) or without.get(kind, "not known yet")
        for kind, names in named.items()
    }


def _minutes(seconds: float | None) -> str:
    return NOTHING if seconds is None else f"{number(seconds / 60, 1)} min"
