"""Reads a run's folder, whole or stopped half way, into plain data; whatever is missing or torn becomes a note.

Nothing of the run is imported or recomputed: the files are the only source.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from alignpro.errors import UsageError
from alignpro.report.estimate import Estimate
from alignpro.report.headroom_folder import Headroom, headroom
from alignpro.report.records import Record, estimate, number, read_json, read_lines, read_settings, records, spent, text
from alignpro.types import FloatArray

_WITHOUT = {
    "config.yaml": "the settings are not known",
    "environment.json": "versions and hardware are not known",
    "metrics.jsonl": "there are no training curves",
    "samples.jsonl": "there are no texts and no distributions of rewards",
    "evaluation.json": "there is no comparison of arms",
}
Curves = Mapping[str, FloatArray]


@dataclass(frozen=True, slots=True)
class Arm:
    """One way of answering the prompts, as the final comparison measured it; nan where a figure is undefined."""

    name: str
    reward: Estimate
    second_reward: Estimate
    variance: Estimate
    variance_between: Estimate
    variance_within: Estimate
    kl: Estimate
    frozen_calls: float
    failed: float
    reward_terms: Mapping[str, Estimate] = field(default_factory=dict)
    prompt_terms: Mapping[str, Estimate] = field(default_factory=dict)


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
    at_equal_length: Estimate
    order_consistency: Estimate
    unparsed: float
    length_difference: Estimate


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
    frozen_calls: float
    seconds: float
    spent: str

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
    headroom: Headroom | None
    samples: tuple[Sample, ...]
    monitor: tuple[Sample, ...]
    judgements: tuple[Record, ...]
    notes: tuple[str, ...]

    @property
    def begun(self) -> bool:
        """Whether anything of the run itself is there, be it a comparison, a step of training or an answer."""
        return bool(self.evaluation or self.training or self.oracle_training or self.samples or self.monitor)


def read_run(run_dir: Path) -> Run:
    """The run in `run_dir`.

    Raises UsageError where the folder is missing or holds neither evaluation, headroom, metrics nor samples.
    """
    if not run_dir.is_dir():
        raise UsageError(f"{run_dir} is not a folder; wanted a run's folder, as `alignpro run --out DIR` makes it")
    notes: list[str] = []
    # Before a run begins its folder has none of these; once it has begun, each that is missing is worth a word.
    begun = any((run_dir / name).exists() for name in ("evaluation.json", "metrics.jsonl", "samples.jsonl"))
    estimated = headroom(run_dir / "headroom.json", notes)
    without = _WITHOUT if begun or estimated is None else dict.fromkeys(_WITHOUT, "")

    tree = read_json(run_dir / "evaluation.json", notes, without["evaluation.json"])
    lines = read_lines(run_dir / "samples.jsonl", notes, without["samples.jsonl"])
    oracle_training = _curves(read_lines(run_dir / "rlhf" / "metrics.jsonl", notes))
    missed = "" if oracle_training else without["metrics.jsonl"]  # the oracle may be trained by itself
    training = _curves(read_lines(run_dir / "metrics.jsonl", notes, missed))
    evaluation = _evaluation(tree) if tree else None
    if tree and evaluation is None:
        notes.append("evaluation.json names no arm, so there is no comparison to show.")
    if evaluation is None and estimated is None and not lines and not training and not oracle_training:
        raise UsageError(
            f"{run_dir} holds nothing to report; wanted evaluation.json, headroom.json, metrics.jsonl or samples.jsonl"
            " with content. Point to a run's folder, or wait for the run's first step"
        )
    return Run(
        name=run_dir.resolve().name,
        settings=read_settings(run_dir / "config.yaml", notes, without["config.yaml"]),
        environment=read_json(run_dir / "environment.json", notes, without["environment.json"]),
        training=training,
        oracle_training=oracle_training,
        evaluation=evaluation,
        headroom=estimated,
        samples=_samples(lines, "evaluation"),
        monitor=_samples(lines, "monitor"),
        judgements=tuple(read_lines(run_dir / "judgements.jsonl", notes)),
        notes=tuple(notes),
    )


def _curves(lines: list[Record]) -> Curves:
    """Columns by name, ordered by step; a resumed run writes some steps again, and the later line counts."""
    by_step = {step: record for record in lines if not math.isnan(step := number(record.get("step")))}
    steps = sorted(by_step)
    names = sorted({name for record in by_step.values() for name in record if name != "step"})
    columns = {name: np.array([number(by_step[step].get(name)) for step in steps]) for name in names}
    kept = {name: column for name, column in columns.items() if np.isfinite(column).any()}
    return {"step": np.array(steps, dtype=np.float64), **kept} if kept else {}


def _samples(lines: list[Record], stage: str) -> tuple[Sample, ...]:
    return tuple(
        Sample(
            step=number(record.get("step")),
            arm=text(record.get("arm")),
            prompt_id=text(record.get("prompt_id")),
            prompt=text(record.get("prompt")),
            rewrite=text(record.get("rewrite")),
            response=text(record.get("response")),
            reward=number(record.get("reward")),
            second_reward=number(record.get("second_reward")),
            finish=text(record.get("finish")),
            failure=text(record["failure"]) if record.get("failure") else None,
        )
        for record in lines
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
    return Evaluation(
        reward=text(tree.get("reward")) or "training reward",
        second_reward=text(tree.get("second_reward")) or None,
        prompts=number(tree.get("prompts")),
        responses=number(tree.get("responses_per_prompt")),
        arms=tuple(found),
        differences=tuple(
            Difference(text(d.get("a")), text(d.get("b")), text(d.get("reward")), estimate(d, "mean_difference"))
            for d in records(tree.get("differences"))
        ),
        win_rates=tuple(_win_rate(record) for record in records(tree.get("win_rates"))),
        frozen_calls=number(cost.get("frozen_calls")),
        seconds=number(cost.get("seconds")),
        spent=spent(cost),
    )


def _arm(name: str, record: Record) -> Arm:
    return Arm(
        name=text(name),
        reward=estimate(record, "mean_reward"),
        second_reward=estimate(record.get("second_reward"), "mean"),
        variance=_bounded(record, "reward_variance"),
        variance_between=_bounded(record, "variance_between_prompts"),
        variance_within=_bounded(record, "variance_within_prompts"),
        kl=_bounded(record, "kl_to_reference"),
        frozen_calls=number(record.get("frozen_calls")),
        failed=number(record.get("failed")),
        reward_terms=_terms(record.get("reward_terms")),
        prompt_terms=_terms(record.get("prompt_terms")),
    )


def _bounded(record: Record, key: str) -> Estimate:
    """A figure whose interval stands beside it under a name of its own."""
    return estimate(record, key, f"{key}_ci95")


def _terms(found: object) -> dict[str, Estimate]:
    """Mean of each term by name; none where the file has none."""
    return {text(name): estimate(term, "mean") for name, term in found.items()} if isinstance(found, dict) else {}


def _win_rate(record: Record) -> WinRate:
    win, tie, loss = (number(record.get(key)) for key in ("win", "tie", "loss"))
    judged = win + tie + loss or math.nan
    return WinRate(
        a=text(record.get("a")),
        b=text(record.get("b")),
        judge=text(record.get("judge")),
        win=win / judged,
        tie=tie / judged,
        loss=loss / judged,
        rate=estimate(record, "win_rate"),
        at_equal_length=estimate(record.get("length_controlled"), "win_rate"),
        order_consistency=_bounded(record, "order_consistency"),
        unparsed=number(record.get("unparsed")),
        length_difference=_bounded(record, "mean_length_difference"),
    )
