"""`alignpro paper`: the paper's experiments, whole or on stand-ins."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from alignpro.cli.options import read_words, say
from alignpro.errors import UsageError

if TYPE_CHECKING:
    from alignpro.results import Paper


def paper(
    words: Annotated[
        list[str] | None,
        typer.Argument(metavar="[--SECTION.KEY=VALUE]...", help="any setting, of every cell", show_default=False),
    ] = None,
    scale: Annotated[
        Literal["tiny", "small", "full"],
        typer.Option(
            help="tiny: stand-ins from the lab, offline; small: one small model in the place of all, hours on a laptop;"
            " full: the paper's models"
        ),
    ] = "tiny",
    data_set: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=FILE_OR_DATASET", help="where a data set of the grid is, e.g. orca=pairs.jsonl"),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="folder for the cells, new or to go on with; runs/paper-SCALE by default")
    ] = None,
    jobs: Annotated[
        int | None,
        typer.Option(min=1, help="cells at a time; the free cores by default with tiny, else 1", show_default=False),
    ] = None,
    cells: Annotated[str, typer.Option(help="which cells: shell wildcards, several by commas, e.g. 'p1-*-orca'")] = "*",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="say what it would take and what is missing, and stop")
    ] = False,
) -> None:
    """Run the paper's grid, print Table 1, draw Figures 2 and 3. The same command goes on where it was stopped."""
    from alignpro.runtime import threads
    from alignpro.studies.paper import experiments

    name, overrides = read_words(words or [])
    if name:
        raise UsageError(f"unexpected argument {name!r}; cells are chosen by --cells, settings by --section.key=value")
    folder = out or Path(f"runs/paper-{scale}")
    places = dict(_place(item) for item in data_set or ())
    if dry_run:
        for line in experiments.plan(scale, folder, cells, overrides, places):
            say(line)
        return
    count = jobs or (threads.free_cores() if scale == "tiny" else 1)
    results = experiments.run(scale, folder, cells, overrides, count, places)
    _show(results)
    say(f"page: {folder / 'paper.html'}  figures: {folder / 'figure2.svg'}, {folder / 'figure3.svg'}")


def _place(item: str) -> tuple[str, str]:
    name, _, place = item.partition("=")
    if not place:
        raise UsageError(f"--data-set {item}: give a data set of the grid and where it is, as orca=pairs.jsonl")
    return name, place


def _show(results: Paper) -> None:
    from alignpro.cli import tables
    from alignpro.results.words import number, percent, spoken
    from alignpro.studies.paper.charts import architecture
    from alignpro.studies.paper.grid import NOTES

    rows = []
    for row in results.cells:
        wins, gains = row.table1, row.gains
        shares = [percent(share) for share in ((wins.win, wins.tie, wins.loss) if wins else (None,) * 3)]
        judged = number(wins.judged, 0) if wins else row.state
        second = spoken(gains.second_reward if gains else None, signed=True)
        paper = f"{row.paper.win}, {row.paper.loss}"
        rows.append([architecture(row), row.data.label, *shares, judged, paper, second])
    columns = ["cell", "data set", "Align-Pro wins", "ties", "no prompter wins", "judged", "paper: A, B"]
    note = f", {NOTES[results.scale]}" if results.scale in NOTES else ""
    tables.table(f"Table 1{note}", [*columns, "gain in the second reward"], rows)
    for claim in results.claims:
        if claim.of:
            say(f"{claim.claim}: in {claim.holds} of {claim.of} cells")
