"""Runs the grid: each cell an ordinary run in a process of its own, kept when finished, gone on with when stopped."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

from alignpro.config import Settings
from alignpro.errors import UsageError
from alignpro.evaluate import arms
from alignpro.runtime import files, run_folder
from alignpro.runtime.interrupt import StopRequest
from alignpro.runtime.progress import Progress
from alignpro.runtime.run_folder import RunFolder
from alignpro.studies.apart import run_apart
from alignpro.studies.paper import oracle
from alignpro.studies.paper.grid import Cell, GridSize

LOOK_EVERY = 2.0
"""Seconds between looks at how far the cells are."""
OF_TRAINING = 0.25
"""What evaluation costs, as a share of training's texts; for progress and the estimate of what remains alone."""


def claim(out: Path, scale: GridSize, cells: Sequence[Cell]) -> None:
    """Take `out` for the grid. Raises UsageError where it holds something else, or a cell with other settings."""
    mark = out / "grid.json"
    held = files.read_json(mark)
    if held is None and run_folder.contents(out):
        raise UsageError(f"--out {out} is not empty and holds no grid; give a new folder")
    if held is not None and held.get("scale") != scale:
        raise UsageError(f"--out {out} holds a grid of scale {held.get('scale')}; give another folder")
    for cell in cells:
        path = out / cell.name
        if RunFolder(path).config.is_file():
            try:
                run_folder.reopen(path, cell.settings)
            except UsageError as error:
                raise UsageError(f"{str(error).removeprefix('--resume ')}; give another --out") from None
    out.mkdir(parents=True, exist_ok=True)
    files.write_json(mark, {"schema": 1, "scale": scale})


def run(cells: Sequence[Cell], everything: Sequence[Cell], out: Path, jobs: int) -> None:
    """Do those of `cells` that are not finished, `jobs` at a time, and note what this took in spent.jsonl.

    Oracles are shared among `everything`, the whole grid. Raises RunFailure naming the cell that broke, and
    Interrupted; the cells under way save first.
    """
    left = [cell for cell in cells if not finished(out, cell)]
    if not left:
        return
    uses = oracle.trainers(cells, everything, out)
    begun, cpu = time.time(), _children_cpu()
    progress = Progress()
    sizes = {cell.name: _size(cell, uses) for cell in cells}
    started: dict[str, float] = {}
    spent: dict[str, float] = {}
    done: dict[str, Future[None]] = {}
    with (
        StopRequest("stopping the cells; each saves first") as stop,
        progress.task("the grid, texts sampled", total := round(sum(sizes.values()))) as advance,
        ThreadPoolExecutor(jobs) as pool,
    ):

        def work(cell: Cell) -> None:
            lender = uses.get(cell.name, cell.name)
            if lender != cell.name:
                if lender in done:  # begun before this one, so it cannot be waiting for a place in the pool
                    _wait_for_oracle(out / lender, done[lender], stop)
                oracle.take(cell, out / cell.name, out / lender)
            started[cell.name] = time.time()
            try:
                run_apart(out / cell.name, cell.settings, stop)
            finally:
                spent[cell.name] = time.time() - started[cell.name]

        for cell in left:
            done[cell.name] = pool.submit(work, cell)
        try:
            last = -1
            while not all(future.done() for future in done.values()):
                if (now := min(total - 1, round(_progressed(cells, out, sizes, uses)))) > last:
                    advance(now, _note(cells, out, started, spent))
                    last = now
                wait(done.values(), LOOK_EVERY)
                if broken := [f for f in done.values() if f.done() and f.exception()]:
                    broken[0].result()
            for future in done.values():
                future.result()
            advance(total, f"{len(cells)} of {len(cells)} cells finished")
        except BaseException:
            stop.asked = True  # the cells under way save and stop, those not begun do not begin
            wait(done.values())
            raise
        finally:
            row: dict[str, Any] = {"begun": round(begun), "seconds": round(time.time() - begun, 1), "jobs": jobs}
            row |= {"cpu_seconds": round(_children_cpu() - cpu, 1)}
            row |= {"cells": {name: round(seconds, 1) for name, seconds in spent.items()}}
            files.append_jsonl(out / "spent.jsonl", [row], checked=True)


def finished(out: Path, cell: Cell) -> bool:
    """Whether the cell's run came to its end."""
    folder = RunFolder(out / cell.name)
    return folder.evaluation.is_file() and (folder.path / "report.html").is_file()


def _wait_for_oracle(lender: Path, lending: Future[None], stop: StopRequest) -> None:
    while not oracle.trained(lender) and not lending.done():
        stop.check()
        time.sleep(0.2)
    stop.check()


def _size(cell: Cell, uses: Mapping[str, str]) -> float:
    return cell.actions(with_oracle=uses.get(cell.name) == cell.name) + OF_TRAINING * cell.actions(False)


def _progressed(cells: Sequence[Cell], out: Path, sizes: Mapping[str, float], uses: Mapping[str, str]) -> float:
    total = 0.0
    for cell in cells:
        if finished(out, cell):
            total += sizes[cell.name]
            continue
        folder, settings = RunFolder(out / cell.name), cell.settings
        parts = [(folder.metrics, settings.train)]
        parts += [(folder.rlhf / "metrics.jsonl", settings.rlhf)] if uses.get(cell.name) == cell.name else []
        total += sum(len(files.read_jsonl(path)) * part.prompts_per_step * part.rewrites for path, part in parts)
        total += OF_TRAINING * cell.actions(False) * _compared(folder, settings)
    return total


def _compared(folder: RunFolder, settings: Settings) -> float:
    """Share of the comparison's arms that a cell has finished."""
    compared = arms.compared(settings)
    return sum((folder.arms / f"{arm.name}.json").is_file() for arm in compared) / len(compared)


def _note(cells: Sequence[Cell], out: Path, started: Mapping[str, float], spent: Mapping[str, float]) -> str:
    count = sum(finished(out, cell) for cell in cells)
    under_way = [name for name in list(started) if name not in spent]
    return f"{count} of {len(cells)} cells finished; under way: {', '.join(under_way) or 'none'}"


def _children_cpu() -> float:
    """Processor seconds of processes that have ended, user and system."""
    times = os.times()
    return times.children_user + times.children_system
