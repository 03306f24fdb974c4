"""The RLHF oracle depends on the frozen model and the data alone, so both prompters' cells share one."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path

from alignpro.runtime import run_folder
from alignpro.runtime.run_folder import RunFolder
from alignpro.studies.paper.grid import Cell


def trained(folder: Path) -> bool:
    """Whether the oracle of the run in `folder` is there."""
    return run_folder.holds_model(RunFolder(folder).rlhf / "model")


def trainers(cells: Iterable[Cell], everything: Iterable[Cell], out: Path) -> Mapping[str, str]:
    """Cell -> the cell whose oracle it uses, itself where it has or trains one; empty for cells without an oracle.

    A cell that has none takes that of any cell of the grid which has; else the first of those found trains for both.
    """
    chosen = [cell for cell in cells if cell.settings.rlhf.enabled]
    ordered = [*(cell for cell in everything if trained(out / cell.name)), *chosen]
    return {
        cell.name: cell.name
        if trained(out / cell.name)
        else next(other.name for other in ordered if other.shares_oracle(cell))
        for cell in chosen
    }


def take(cell: Cell, folder: Path, source: Path) -> None:
    """Put the oracle of the run in `source` where the run in `folder` would have trained its own.

    The new folder is an ordinary run's. The weights are linked, not copied, where the disk can.
    """
    if trained(folder) or not trained(source):
        return
    if not RunFolder(folder).config.is_file():
        run_folder.claim(folder, cell.settings)
    theirs, mine = RunFolder(source).rlhf, RunFolder(folder).rlhf
    shutil.rmtree(mine, ignore_errors=True)  # a training of its own that was stopped
    partial = mine.with_name(".rlhf.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    shutil.copytree(theirs / "model", partial / "model", copy_function=_linked)
    shutil.copyfile(theirs / "metrics.jsonl", partial / "metrics.jsonl")
    partial.rename(mine)


def _linked(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
