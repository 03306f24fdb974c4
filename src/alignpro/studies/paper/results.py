"""Reads the grid's folders into what Table 1 and Figures 2 and 3 show: paper.json. What is missing stays missing."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from alignpro.report.records import Record, estimate, number, records
from alignpro.results import Estimate
from alignpro.runtime import files as files
from alignpro.runtime.run_folder import RunFolder
from alignpro.studies.paper import oracle
from alignpro.studies.paper.grid import ARMS, Cell, GridSize
from alignpro.studies.paper.published import CLAIMS

A, B = "align_pro", "no_prompter"


def collect(cells: Sequence[Cell], out: Path, scale: GridSize) -> dict[str, Any]:
    """What paper.json holds: a row for every cell, done or not, what the claims of the paper come to, and the cost.

    Shares and rates are between 0 and 1; intervals are 95%, by bootstrap over prompts, [lo, hi].
    """
    rows = [_row(cell, out) for cell in cells]
    sessions = files.read_jsonl(out / "spent.jsonl")
    return {
        "schema": 1,
        "scale": scale,
        "cells": rows,
        "claims": [{"claim": text, **_claim(name, rows)} for name, text in CLAIMS.items()],
        "cost": {
            "frozen_calls": sum(row["cost"]["frozen_calls"] for row in rows if row["cost"]),
            "oracle_calls": sum(row["cost"]["oracle_calls"] for row in rows if row["cost"]),
            "seconds": sum(session["seconds"] for session in sessions) if sessions else None,
            "cpu_seconds": sum(session["cpu_seconds"] for session in sessions) if sessions else None,
            "sessions": len(sessions),
        },
    }


def _row(cell: Cell, out: Path) -> dict[str, Any]:
    folder = RunFolder(out / cell.name)
    found = files.read_json(folder.evaluation) if folder.evaluation.is_file() else None
    begun = folder.config.is_file()
    return {
        "cell": cell.name,
        "state": "finished" if found else "under way" if begun else "missing",
        "prompter": {"label": cell.prompter, "model": cell.settings.prompter.model},
        "frozen": {"label": cell.frozen, "model": cell.settings.frozen.model},
        "data": {"label": cell.data, "prompts": cell.settings.data.prompts},
        "paper": dict(zip(("win", "loss"), cell.published, strict=True)),
        "reward": found and found.get("reward"),
        "second_reward": found and found.get("second_reward"),
        "prompts": found and found.get("prompts"),
        "table1": _wins(found) if found else None,
        "gains": _gains(found) if found else None,
        "arms": _arms(found) if found else None,
        "cost": _cost(folder, found) if found else None,
    }


def _wins(found: Record) -> dict[str, Any] | None:
    rows = [r for r in records(found.get("win_rates")) if (r.get("a"), r.get("b")) == (A, B)]
    if not rows:
        return None
    row = rows[-1]  # of several judges the one that judged last
    counts = {name: number(row.get(name)) for name in ("win", "tie", "loss")}
    judged = sum(counts.values())
    shares = {
        name: _told(Estimate(count / judged, *_bounds(row, f"{name}_ci95"))) for name, count in counts.items() if judged
    }
    return {
        "judge": row.get("judge"),
        "judged": judged,
        "unparsed": row.get("unparsed"),
        **shares,
        "win_rate": _told(estimate(row, "win_rate")),
    }


def _gains(found: Record) -> dict[str, Any]:
    """Mean of Align-Pro less that of no prompter, paired by prompt, under both rewards."""
    names = {"reward": found.get("reward"), "second_reward": found.get("second_reward")}
    told: dict[str, Any] = {}
    for kind, name in names.items():
        row = next(
            (d for d in records(found.get("differences")) if (d.get("a"), d.get("b"), d.get("reward")) == (A, B, name)),
            None,
        )
        told[kind] = _told(estimate(row, "mean_difference")) if row and name else None
    return told


def _arms(found: Record) -> dict[str, Any]:
    arms = found.get("arms")
    told: dict[str, Any] = {}
    for name in (*ARMS, "reference_prompter"):
        arm = arms.get(name) if isinstance(arms, dict) else None
        if isinstance(arm, dict):
            second = arm.get("second_reward")
            told[name] = {
                "reward": _told(estimate(arm, "mean_reward")),
                "variance": _told(estimate(arm, "reward_variance", "reward_variance_ci95")),
                "second_reward": _told(estimate(second, "mean")),
                "second_variance": _told(estimate(second, "variance", "variance_ci95")),
            }
    return told


def _cost(folder: RunFolder, found: Record) -> dict[str, Any]:
    """Answers asked of the frozen model, and seconds of training; an oracle that was taken costs nothing here."""
    own, theirs = (files.read_jsonl(path)[-1:] for path in (folder.metrics, folder.rlhf / "metrics.jsonl"))
    lent = not (folder.rlhf / "checkpoints").is_dir() and oracle.trained(folder.path)
    cost = found.get("cost")
    evaluation = cost.get("frozen_calls", 0) if isinstance(cost, dict) else 0
    return {
        "frozen_calls": sum(row["frozen_calls"] for row in own) + evaluation,
        "oracle_calls": 0 if lent else sum(row["frozen_calls"] for row in theirs),
        "training_seconds": sum(row["seconds"] for row in (*own, *([] if lent else theirs))),
        "oracle_taken": lent,
    }


def _claim(name: str, rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """In how many cells a claim of the paper holds, in how many its interval says so, and of how many."""
    holds: list[bool] = []
    certain: list[bool] = []
    for row in rows:
        arms, wins = row["arms"] or {}, row["table1"]
        if name == "variance":
            variances = [arms[arm]["variance"]["value"] for arm in ARMS if arm in arms]
            if len(variances) == len(ARMS) and None not in variances:
                holds.append(arms[A]["variance"]["value"] == min(variances))
            continue
        figure, of = (wins and wins["win_rate"], 0.5) if name == "wins" else ((row["gains"] or {}).get("reward"), 0.0)
        if figure and figure["value"] is not None:
            holds.append(figure["value"] > of)
            certain.append(figure["ci95"][0] is not None and figure["ci95"][0] > of)
    return {"holds": sum(holds), "certain": None if name == "variance" else sum(certain), "of": len(holds)}


def read(figure: object) -> Estimate:
    """A figure of paper.json with its interval; nan where there is none."""
    return estimate(figure, "value")


def _told(figure: Estimate) -> dict[str, Any]:
    told = asdict(figure)
    return {"value": _or_none(told["value"]), "ci95": [_or_none(told["lo"]), _or_none(told["hi"])]}


def _or_none(value: float) -> float | None:
    return None if math.isnan(value) else value


def _bounds(row: Record, key: str) -> tuple[float, float]:
    found = row.get(key)
    lo, hi = found if isinstance(found, list) and len(found) == 2 else (None, None)
    # Where no prompt differs from another, e.g. none has a tie, resampling prompts tells nothing.
    return (math.nan, math.nan) if lo == hi else (number(lo), number(hi))
