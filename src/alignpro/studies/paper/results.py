"""Reads the grid's folders into what Table 1 and Figures 2 and 3 show: paper.json. What is missing stays missing."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from alignpro.results import (
    UNKNOWN,
    CellCost,
    CellData,
    CellModel,
    Claim,
    Estimate,
    Evaluation,
    Gains,
    GridCost,
    Paper,
    PaperArm,
    PaperCell,
    Published,
    Step,
    Wins,
    read,
    read_rows,
)
from alignpro.runtime import files
from alignpro.runtime.run_folder import RunFolder
from alignpro.studies.paper import oracle
from alignpro.studies.paper.grid import ARMS, Cell, GridSize
from alignpro.studies.paper.published import CLAIMS

A, B = "align_pro", "no_prompter"


def collect(cells: Sequence[Cell], out: Path, scale: GridSize) -> Paper:
    """What paper.json holds: a row for every cell, done or not, what the claims of the paper come to, and the cost."""
    rows = [_row(cell, out) for cell in cells]
    sessions = files.read_jsonl(out / "spent.jsonl")
    costs = [row.cost for row in rows if row.cost]
    return Paper(
        scale=scale,
        cells=tuple(rows),
        claims=tuple(_claim(name, text, rows) for name, text in CLAIMS.items()),
        cost=GridCost(
            frozen_calls=sum(cost.frozen_calls for cost in costs),
            oracle_calls=sum(cost.oracle_calls for cost in costs),
            seconds=sum(session["seconds"] for session in sessions) if sessions else None,
            cpu_seconds=sum(session["cpu_seconds"] for session in sessions) if sessions else None,
            sessions=len(sessions),
        ),
    )


def _row(cell: Cell, out: Path) -> PaperCell:
    folder = RunFolder(out / cell.name)
    evaluation = read(Evaluation, folder.evaluation)
    won, lost = cell.published
    return PaperCell(
        cell=cell.name,
        state="finished" if evaluation else "under way" if folder.config.is_file() else "missing",
        prompter=CellModel(label=cell.prompter, model=cell.settings.prompter.model),
        frozen=CellModel(label=cell.frozen, model=cell.settings.frozen.model),
        data=CellData(label=cell.data, prompts=cell.settings.data.prompts),
        paper=Published(win=won, loss=lost),
        reward=evaluation.reward if evaluation else None,
        second_reward=evaluation.second_reward if evaluation else None,
        prompts=evaluation.prompts if evaluation else None,
        table1=_wins(evaluation) if evaluation else None,
        gains=Gains(
            reward=_gain(evaluation, evaluation.reward), second_reward=_gain(evaluation, evaluation.second_reward)
        )
        if evaluation
        else None,
        arms=_arms(evaluation) if evaluation else None,
        cost=_cost(folder, evaluation) if evaluation else None,
    )


def _wins(evaluation: Evaluation) -> Wins | None:
    rows = [row for row in evaluation.win_rates if (row.a, row.b) == (A, B)]
    if not rows:
        return None
    row = rows[-1]  # of several judges the one that judged last
    win, tie, loss = (_share(share) if row.judged else None for share in row.shares)
    return Wins(
        judge=row.judge, judged=row.judged, unparsed=row.unparsed, win=win, tie=tie, loss=loss, win_rate=row.rate
    )


def _share(share: Estimate) -> Estimate:
    """Where no prompt differs from another, e.g. none has a tie, resampling prompts tells nothing."""
    return Estimate(share.value) if share.lo == share.hi else share


def _gain(evaluation: Evaluation, reward: str | None) -> Estimate | None:
    """Mean of Align-Pro less that of no prompter under a reward, paired by prompt."""
    return next((d.mean for d in evaluation.differences if (d.a, d.b, d.reward) == (A, B, reward)), None)


def _arms(evaluation: Evaluation) -> dict[str, PaperArm]:
    return {
        name: PaperArm(
            reward=arm.reward,
            variance=arm.variance,
            second_reward=arm.second,
            second_variance=arm.second_reward.variance if arm.second_reward else UNKNOWN,
        )
        for name in (*ARMS, "reference_prompter")
        if (arm := evaluation.arms.get(name))
    }


def _cost(folder: RunFolder, evaluation: Evaluation) -> CellCost:
    own, theirs = (read_rows(Step, path)[-1:] for path in (folder.metrics, folder.rlhf / "metrics.jsonl"))
    lent = not (folder.rlhf / "checkpoints").is_dir() and oracle.trained(folder.path)
    return CellCost(
        frozen_calls=sum(row.frozen_calls for row in own) + evaluation.cost.frozen_calls,
        oracle_calls=0 if lent else sum(row.frozen_calls for row in theirs),
        training_seconds=sum(row.seconds for row in (*own, *([] if lent else theirs))),
        oracle_taken=lent,
    )


def _claim(name: str, text: str, rows: Sequence[PaperCell]) -> Claim:
    holds: list[bool] = []
    certain: list[bool] = []
    for row in rows:
        if name == "variance":
            variances = {arm: row.arms[arm].variance.value for arm in ARMS if arm in row.arms} if row.arms else {}
            if len(variances) == len(ARMS) and not any(math.isnan(value) for value in variances.values()):
                holds.append(variances[A] == min(variances.values()))
            continue
        wins, gain = row.table1 and row.table1.win_rate, row.gains and row.gains.reward
        figure, of = (wins, 0.5) if name == "wins" else (gain, 0.0)
        if figure and figure.defined:
            holds.append(figure.value > of)
            certain.append(figure.lo > of)
    return Claim(claim=text, holds=sum(holds), certain=None if name == "variance" else sum(certain), of=len(holds))
