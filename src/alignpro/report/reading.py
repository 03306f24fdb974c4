"""Reads a run's folder, whole or stopped half way, into plain data; whatever is missing or torn becomes a note.

Nothing of the run is imported or recomputed: the files are the only source.
"""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import yaml

from alignpro.config import whole
from alignpro.errors import DamagedResult, UsageError
from alignpro.results import Evaluation, Headroom, Judged, Sample, read
from alignpro.results.base import number
from alignpro.runtime import files
from alignpro.runtime.notices import FILE
from alignpro.types import FloatArray

_WITHOUT = {
    "config.yaml": "the settings are not known",
    "environment.json": "versions and hardware are not known",
    "metrics.jsonl": "there are no training curves",
    "samples.jsonl": "there are no texts and no distributions of rewards",
    "evaluation.json": "there is no comparison of arms",
}
Record = Mapping[str, Any]
Curves = Mapping[str, FloatArray]
D = TypeVar("D", Evaluation, Headroom)


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
    validation: Curves
    oracle_validation: Curves
    judgements: tuple[Judged, ...]
    notes: tuple[str, ...]
    notices: tuple[str, ...] = ()

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
    estimated = _headroom(run_dir / "headroom.json", notes)
    without = _WITHOUT if begun or estimated is None else dict.fromkeys(_WITHOUT, "")

    evaluation = _evaluation(run_dir / "evaluation.json", notes, without["evaluation.json"])
    lines = read_lines(run_dir / "samples.jsonl", notes, without["samples.jsonl"])
    settings = read_tree(run_dir / "config.yaml", notes, without["config.yaml"])
    oracle_training = _curves(read_lines(run_dir / "rlhf" / "metrics.jsonl", notes))
    untrained = (
        oracle_training or _asked(settings).get("steps") == 0
    )  # the oracle may be trained by itself, or nothing at all
    missed = "" if untrained else without["metrics.jsonl"]
    training = _curves(read_lines(run_dir / "metrics.jsonl", notes, missed))
    if evaluation is None and estimated is None and not lines and not training and not oracle_training:
        raise UsageError(
            f"{run_dir} holds nothing to report; wanted evaluation.json, headroom.json, metrics.jsonl or samples.jsonl"
            " with content. Point to a run's folder, or wait for the run's first step"
        )
    _note_lost_steps(run_dir, settings, training, notes)
    return Run(
        name=run_dir.resolve().name,
        settings=settings,
        environment=read_tree(run_dir / "environment.json", notes, without["environment.json"]),
        training=training,
        oracle_training=oracle_training,
        evaluation=evaluation,
        headroom=estimated,
        samples=_samples(lines, "evaluation"),
        monitor=_samples(lines, "monitor"),
        validation=_curves(read_lines(run_dir / "validation.jsonl", notes)),
        oracle_validation=_curves(read_lines(run_dir / "rlhf" / "validation.jsonl", notes)),
        judgements=tuple(map(Judged.model_validate, read_lines(run_dir / "judgements.jsonl", notes))),
        notes=tuple(notes),
        notices=tuple(
            f"{of}{line['text']}."
            for part, of in (("", ""), ("rlhf", "The RLHF oracle: "))
            for line in read_lines(run_dir / part / FILE, notes)
            if line.get("text")
        ),
    )


def _note_lost_steps(run_dir: Path, settings: Record, training: Curves, notes: list[str]) -> None:
    """Tell of steps between those that metrics.jsonl has, and after them where the training came to its end."""
    steps = training.get("step", np.zeros(0))
    asked = _asked(settings)
    guards = settings.get("guards")
    stops = asked.get("patience") is not None or (isinstance(guards, Mapping) and guards.get("stop") is not None)
    ended = (run_dir / "prompter").is_dir() and not stops
    last = max(int(steps.max(initial=0)), int(np.nan_to_num(number(asked.get("steps")))) if ended else 0)
    if len(steps) and (lost := last - int((steps > 0).sum())) > 0:
        notes.append(
            f"metrics.jsonl lacks {lost} of {last} steps; `alignpro run --resume --out` makes them anew where the"
            " checkpoint has them."
        )


def _asked(settings: Record) -> Record:
    """What the settings ask of training; empty where they are not known."""
    own = settings.get("train")
    return own if isinstance(own, Mapping) else {}


def _curves(lines: list[Record]) -> Curves:
    """Columns by name, ordered by step; a resumed run writes some steps again, and the later line counts."""
    by_step = {step: record for record in lines if not math.isnan(step := number(record.get("step")))}
    steps = sorted(by_step)
    names = sorted({name for record in by_step.values() for name in record if name != "step"})
    columns = {name: np.array([number(by_step[step].get(name)) for step in steps]) for name in names}
    kept = {name: column for name, column in columns.items() if np.isfinite(column).any()}
    return {"step": np.array(steps, dtype=np.float64), **kept} if kept else {}


def _samples(lines: list[Record], stage: str) -> tuple[Sample, ...]:
    rows = (Sample.model_validate(line) for line in lines)
    return tuple(row for row in rows if row.stage == stage and row.arm)


def _evaluation(path: Path, notes: list[str], without: str) -> Evaluation | None:
    """The comparison, where there is one; None, with a note, where its file is missing, torn or names no arm."""
    found = _read(Evaluation, path, notes)
    if without and not path.exists():
        notes.append(f"{path.name} is missing: {without}.")
    if found and not found.arms:
        notes.append(f"{path.name} names no arm, so there is no comparison to show.")
        return None
    return found


def _headroom(path: Path, notes: list[str]) -> Headroom | None:
    """The estimate, where there is one; None, with a note, where its file is torn or holds no figure and no advice."""
    found = _read(Headroom, path, notes)
    if found and found.empty:
        notes.append(f"{path.name} holds no figure, so what there was to gain is not shown.")
        return None
    return found


def _read(kind: type[D], path: Path, notes: list[str]) -> D | None:
    try:
        return read(kind, path)
    except DamagedResult as error:
        # The page says the same wherever its folder stands.
        notes.append(f"{error}.".replace(str(path), path.name))
        return None


def read_tree(path: Path, notes: list[str], without: str = "") -> Record:
    """The mapping in a JSON or YAML file; empty, with a note, where there is none that is whole.

    `without` says what the report cannot show when the file is missing; empty where nobody will miss it.
    """
    parse, wanted = (yaml.safe_load, "valid YAML") if path.suffix == ".yaml" else (json.loads, "complete JSON")
    # A run killed in mid-write may end inside a character.
    content = _data(path, notes, without).decode("utf-8", errors="replace")
    if path.suffix == ".yaml" and (fault := whole.fault(content)):
        notes.append(f"{path.name}: {fault}.")
    try:
        tree = parse(content) if content else {}
    except (ValueError, yaml.YAMLError):
        notes.append(f"{path.name} is not {wanted} and was left out.")
        return {}
    return tree if isinstance(tree, dict) else {}


def read_lines(path: Path, notes: list[str], without: str = "") -> list[Record]:
    """The objects in a file of JSON lines; torn lines are skipped and counted."""
    lines = [line for line in _data(path, notes, without).split(b"\n") if line.strip()]
    found: list[Record] = []
    for line in lines:
        with contextlib.suppress(ValueError):
            found.append(files.row_of(line))
    if skipped := len(lines) - len(found):
        notes.append(f"{path.name}: {skipped} torn line{'s' if skipped > 1 else ''} skipped.")
    return found


def _data(path: Path, notes: list[str], without: str) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        if without:
            notes.append(f"{path.name} is missing: {without}.")
    except OSError as error:
        notes.append(f"{path.name} could not be read: {error.strerror}.")
    return b""
