"""Reads a run's folder, whole or stopped half way, into plain data; whatever is missing or torn becomes a note.

Nothing of the run is imported or recomputed: the files are the only source.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from alignpro.errors import UsageError
from alignpro.report.estimate import Estimate
from alignpro.types import FloatArray

LONE_SURROGATE = re.compile("[\ud800-\udfff]")
_WITHOUT = {
    "config.yaml": "the settings are not known",
    "environment.json": "versions and hardware are not known",
    "metrics.jsonl": "there are no training curves",
    "samples.jsonl": "there are no texts and no distributions of rewards",
    "evaluation.json": "there is no comparison of arms",
}
Record = Mapping[str, Any]
Curves = Mapping[str, FloatArray]


@dataclass(frozen=True, slots=True)
class Arm:
    """One way of answering the prompts, as the final comparison measured it; nan where a figure is undefined."""

    name: str
    reward: Estimate
    second_reward: Estimate
    variance: float
    variance_between: float
    variance_within: float
    kl: float
    frozen_calls: float
    failed: float


@dataclass(frozen=True, slots=True)
class Difference:
    """Mean of `a` minus mean of `b` under `reward`, paired by prompt."""

    a: str
    b: str
    reward: str
    mean: Estimate


@dataclass(frozen=True, slots=True)
class WinRate:
    """`a` against `b` before `judge`; `win`, `tie`, `loss` are shares of what was judged."""

    a: str
    b: str
    judge: str
    win: float
    tie: float
    loss: float
    rate: Estimate
    order_consistency: float
    unparsed: float
    length_difference: float


@dataclass(frozen=True, slots=True)
class FrontierPoint:
    """Reward that the best prompter reaches at one KL price; `ess` is the effective sample size behind it."""

    kl_coef: float
    kl: float
    reward: Estimate
    ess: float


@dataclass(frozen=True, slots=True)
class Optimum:
    """What the best possible prompter would reach, estimated by sampling the reference."""

    kl_coef: float
    prompts: float
    rewrites: float
    responses: float
    objective_reference: float
    objective_trained: float
    objective_optimum: float
    share_of_gain: Estimate
    frontier: tuple[FrontierPoint, ...]


@dataclass(frozen=True, slots=True)
class Evaluation:
    """The final comparison of arms."""

    reward: str
    second_reward: str | None
    prompts: float
    responses: float
    arms: tuple[Arm, ...]
    differences: tuple[Difference, ...]
    win_rates: tuple[WinRate, ...]
    optimum: Optimum | None
    frozen_calls: float
    seconds: float

    def arm(self, name: str) -> Arm | None:
        """The arm of that name."""
        return next((arm for arm in self.arms if arm.name == name), None)


@dataclass(frozen=True, slots=True)
class Sample:
    """One answer: x, x', y and its rewards; nan where scoring failed."""

    step: float
    arm: str
    prompt_id: str
    prompt: str
    rewrite: str
    response: str
    reward: float
    second_reward: float
    finish: str
    failure: str | None


@dataclass(frozen=True, slots=True)
class Run:
    """Everything a run's folder holds that the report shows."""

    name: str
    settings: Record
    environment: Record
    training: Curves
    oracle_training: Curves
    evaluation: Evaluation | None
    samples: tuple[Sample, ...]
    monitor: tuple[Sample, ...]
    notes: tuple[str, ...]


def read_run(run_dir: Path) -> Run:
    """The run in `run_dir`.

    Raises UsageError where the folder is missing or holds neither evaluation, metrics nor samples.
    """
    if not run_dir.is_dir():
        raise UsageError(f"{run_dir} is not a folder; wanted a run's folder, as `alignpro run --out DIR` makes it")
    notes: list[str] = []
    tree = _read_json(run_dir / "evaluation.json", notes)
    lines = _read_lines(run_dir / "samples.jsonl", notes)
    training = _curves(_read_lines(run_dir / "metrics.jsonl", notes))
    oracle = run_dir / "rlhf" / "metrics.jsonl"
    oracle_training = _curves(_read_lines(oracle, notes)) if oracle.exists() else {}
    evaluation = _evaluation(tree) if tree else None
    if tree and evaluation is None:
        notes.append("evaluation.json names no arm, so there is no comparison to show.")
    if evaluation is None and not lines and not training and not oracle_training:
        raise UsageError(
            f"{run_dir} holds nothing to report; wanted evaluation.json, metrics.jsonl or samples.jsonl with content."
            " Point to a run's folder, or wait for the run's first step"
        )
    return Run(
        name=run_dir.resolve().name,
        settings=_read_settings(run_dir / "config.yaml", notes),
        environment=_read_json(run_dir / "environment.json", notes),
        training=training,
        oracle_training=oracle_training,
        evaluation=evaluation,
        samples=_samples(lines, "evaluation"),
        monitor=_samples(lines, "monitor"),
        notes=tuple(notes),
    )


def _read_text(path: Path, notes: list[str]) -> str:
    try:
        # A run killed in mid-write may end inside a character.
        return path.read_bytes().decode("utf-8", errors="replace")
    except FileNotFoundError:
        notes.append(f"{path.name} is missing: {_WITHOUT[path.name]}.")
    except OSError as error:
        notes.append(f"{path.name} could not be read: {error.strerror}.")
    return ""


def _read_json(path: Path, notes: list[str]) -> Record:
    text = _read_text(path, notes)
    try:
        value = json.loads(text) if text else {}
    except ValueError:
        notes.append(f"{path.name} is not complete JSON and was left out.")
        return {}
    return value if isinstance(value, dict) else {}


def _read_settings(path: Path, notes: list[str]) -> Record:
    try:
        value = yaml.safe_load(_read_text(path, notes))
    except yaml.YAMLError:
        notes.append(f"{path.name} is not valid YAML and was left out.")
        return {}
    return value if isinstance(value, dict) else {}


def _read_lines(path: Path, notes: list[str]) -> list[Record]:
    # Split on \n alone: str.splitlines would also cut at U+2028, which texts contain.
    records: list[Record] = []
    skipped = 0
    for line in _read_text(path, notes).split("\n"):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except ValueError:
            record = None
        if isinstance(record, dict):
            records.append(record)
        else:
            skipped += 1
    if skipped:
        notes.append(f"{path.name}: {skipped} torn line{'s' if skipped > 1 else ''} skipped.")
    return records


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        return math.nan
    return float(value)


def _text(value: object) -> str:
    # JSON can spell half a surrogate pair, which no UTF-8 file can hold.
    return LONE_SURROGATE.sub("\ufffd", value if isinstance(value, str) else "" if value is None else str(value))


def _estimate(record: object, key: str, ci: str = "ci95") -> Estimate:
    if not isinstance(record, dict):
        return Estimate(math.nan)
    bounds = record.get(ci)
    lo, hi = bounds if isinstance(bounds, list) and len(bounds) == 2 else (None, None)
    return Estimate(_number(record.get(key)), _number(lo), _number(hi))


def _records(value: object) -> Iterable[Record]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _curves(records: list[Record]) -> Curves:
    """Columns by name, ordered by step; a resumed run writes some steps again, and the later line counts."""
    by_step = {step: record for record in records if not math.isnan(step := _number(record.get("step")))}
    steps = sorted(by_step)
    names = sorted({name for record in by_step.values() for name in record if name != "step"})
    columns = {name: np.array([_number(by_step[step].get(name)) for step in steps]) for name in names}
    kept = {name: column for name, column in columns.items() if np.isfinite(column).any()}
    return {"step": np.array(steps, dtype=np.float64), **kept} if kept else {}


def _samples(records: list[Record], stage: str) -> tuple[Sample, ...]:
    return tuple(
        Sample(
            step=_number(record.get("step")),
            arm=_text(record.get("arm")),
            prompt_id=_text(record.get("prompt_id")),
            prompt=_text(record.get("prompt")),
            rewrite=_text(record.get("rewrite")),
            response=_text(record.get("response")),
            reward=_number(record.get("reward")),
            second_reward=_number(record.get("second_reward")),
            finish=_text(record.get("finish")),
            failure=_text(record["failure"]) if record.get("failure") else None,
        )
        for record in records
        if record.get("stage") == stage and record.get("arm")
    )


def _evaluation(tree: Record) -> Evaluation | None:
    arms = tree.get("arms")
    found = (
        [_arm(name, record) for name, record in arms.items() if isinstance(record, dict)]
        if isinstance(arms, dict)
        else []
    )
    if not found:
        return None
    cost = tree.get("cost")
    cost = cost if isinstance(cost, dict) else {}
    optimum = tree.get("optimum")
    return Evaluation(
        reward=_text(tree.get("reward")) or "training reward",
        second_reward=_text(tree.get("second_reward")) or None,
        prompts=_number(tree.get("prompts")),
        responses=_number(tree.get("responses_per_prompt")),
        arms=tuple(found),
        differences=tuple(
            Difference(_text(d.get("a")), _text(d.get("b")), _text(d.get("reward")), _estimate(d, "mean_difference"))
            for d in _records(tree.get("differences"))
        ),
        win_rates=tuple(_win_rate(record) for record in _records(tree.get("win_rates"))),
        optimum=_optimum(optimum) if isinstance(optimum, dict) else None,
        frozen_calls=_number(cost.get("frozen_calls")),
        seconds=_number(cost.get("seconds")),
    )


def _arm(name: str, record: Record) -> Arm:
    return Arm(
        name=_text(name),
        reward=_estimate(record, "mean_reward"),
        second_reward=_estimate(record.get("second_reward"), "mean"),
        variance=_number(record.get("reward_variance")),
        variance_between=_number(record.get("variance_between_prompts")),
        variance_within=_number(record.get("variance_within_prompts")),
        kl=_number(record.get("kl_to_reference")),
        frozen_calls=_number(record.get("frozen_calls")),
        failed=_number(record.get("failed")),
    )


def _win_rate(record: Record) -> WinRate:
    win, tie, loss = (_number(record.get(key)) for key in ("win", "tie", "loss"))
    judged = win + tie + loss or math.nan
    return WinRate(
        a=_text(record.get("a")),
        b=_text(record.get("b")),
        judge=_text(record.get("judge")),
        win=win / judged,
        tie=tie / judged,
        loss=loss / judged,
        rate=_estimate(record, "win_rate"),
        order_consistency=_number(record.get("order_consistency")),
        unparsed=_number(record.get("unparsed")),
        length_difference=_number(record.get("mean_length_difference")),
    )


def _optimum(record: Record) -> Optimum:
    points = [
        FrontierPoint(_number(p.get("kl_coef")), _number(p.get("kl")), _estimate(p, "reward"), _number(p.get("ess")))
        for p in _records(record.get("frontier"))
    ]
    usable = [point for point in points if point.reward.defined and not math.isnan(point.kl)]
    return Optimum(
        kl_coef=_number(record.get("kl_coef")),
        prompts=_number(record.get("prompts")),
        rewrites=_number(record.get("rewrites")),
        responses=_number(record.get("responses")),
        objective_reference=_number(record.get("objective_reference")),
        objective_trained=_number(record.get("objective_trained")),
        objective_optimum=_number(record.get("objective_optimum")),
        share_of_gain=_estimate(record, "share_of_gain", "share_ci95"),
        frontier=tuple(sorted(usable, key=lambda point: point.kl)),
    )
