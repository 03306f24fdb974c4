"""The job: train, compare, estimate, report, in one folder that a stopped run goes on in."""

from __future__ import annotations

import datetime
import platform
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
import transformers

from alignpro import config, stages, threads
from alignpro import folder as files
from alignpro.assemble import Pieces, assemble
from alignpro.config import Settings
from alignpro.errors import UsageError
from alignpro.folder import RunFolder
from alignpro.interrupt import StopRequest
from alignpro.models.local import fingerprint
from alignpro.progress import Progress
from alignpro.report import write_report
from alignpro.stages import Run


def run(
    settings: Settings | None, out: str | Path, *, resume: bool = False, only_train: bool = False
) -> dict[str, Any]:
    """Do the whole job in `out`, or its training alone; returns what evaluation.json holds, or {} after training alone.

    Raises errors of the tree in `alignpro.errors`; what was computed before one is in the folder, and `resume` goes on
    from there.
    """
    begun, out = time.perf_counter(), Path(out)
    opened, count = _open(settings, out, resume)
    with StopRequest("finishing this step and saving") as stop:
        run = opened(stop)
        _announce(run, count)
        stages.train_prompter(run)
        if run.settings.rlhf.enabled:
            stages.train_rlhf(run)
        if only_train:
            return {}
        summary = stages.evaluate(run)
        if run.settings.headroom.after_training:
            stages.headroom(run)
        write_report(out)
    run.progress.say(f"done in {time.perf_counter() - begun:.0f} s; cost: {_costs(run.folder, summary)}")
    return summary


def headroom(
    settings: Settings | None, out: str | Path, *, resume: bool = False, overrides: Sequence[str] = ()
) -> dict[str, Any]:
    """Estimate what there is to gain, before training in a new folder or of the run in `out`; returns headroom.json.

    Of a run, `overrides` may change headroom.* alone. Raises as `run`; samples drawn before an error are kept.
    """
    begun, out = time.perf_counter(), Path(out)
    if resume:
        settings = _override(RunFolder(out), overrides, ("headroom.",), "headroom")
    if settings is not None:
        settings.check_headroom()
    opened, count = _open(settings, out, resume, settings if resume else None)
    with StopRequest("stopping after these prompts; their samples are kept") as stop:
        run = opened(stop)
        _announce(run, count)
        found = stages.headroom(run)
        write_report(out)
    run.progress.say(
        f"done in {time.perf_counter() - begun:.0f} s; cost: {found['frozen_calls']:,} answers of the frozen model"
    )
    return found


def evaluate_again(path: Path, overrides: Sequence[str]) -> dict[str, Any]:
    """Evaluate a finished run anew, with `evaluate.key=value` overrides, replacing its evaluation.json and report.

    Raises UsageError where the folder holds no run or an override is of another section.
    """
    folder = RunFolder(path)
    settings = _override(folder, overrides, ("evaluate.",), "evaluate")
    if not folder.trained:
        raise UsageError(f"{path} holds no trained prompter yet; finish it by `alignpro run --resume --out {path}`")
    opened, _ = _open(settings, path, True, settings)
    with StopRequest("stopping after this arm") as stop:
        summary = stages.evaluate(opened(stop))
    write_report(path)
    return summary


def _open(
    settings: Settings | None, out: Path, resume: bool, instead: Settings | None = None
) -> tuple[Callable[[StopRequest], Run], int]:
    """Everything checked and loaded, the folder claimed; `instead` are settings to use in place of a run's own."""
    progress = Progress()
    if resume:
        folder, settings = files.reopen(out, None if instead else settings)
        settings = instead or settings
    else:
        assert settings is not None
        folder = RunFolder(out)
    count = threads.use(threads_of(settings, folder, resume))
    pieces = assemble(settings, progress.say)
    if not resume:
        folder = files.claim(out, settings)
        files.write_json(folder.path / "environment.json", environment(settings, pieces, count))
    return lambda stop: Run(folder, pieces, progress, stop), count


def _announce(run: Run, count: int) -> None:
    pieces = run.pieces
    run.progress.say(
        f"{len(pieces.prompts.train)} training and {len(pieces.prompts.test)} test prompts; prompter"
        f" {pieces.pipeline(pieces.reference).name}, frozen model {pieces.frozen.name}, reward {pieces.reward.name};"
        f" {count} threads; writing to {run.folder.path}"
    )


def _override(folder: RunFolder, overrides: Sequence[str], sections: tuple[str, ...], what: str) -> Settings:
    """A run's settings with some changed. Raises UsageError for one of another section, or where there is no run."""
    folder.settings()
    foreign = [o for o in overrides if not o.startswith((*sections, "threads=", "device="))]
    if foreign:
        raise UsageError(f"{foreign[0]!r}: of a run that is there, `{what}` can change {sections[0]}* settings alone")
    return config.load(folder.config, overrides)


def environment(settings: Settings, pieces: Pieces, thread_count: int) -> dict[str, Any]:
    """What the run ran on and with."""
    return machine(settings, thread_count) | {
        "device": str(pieces.frozen.lm.model.device),
        "frozen_weights": fingerprint(pieces.frozen.lm.model),
    }


def machine(settings: Settings, thread_count: int) -> dict[str, Any]:
    """Versions, hardware, commit, command and time of a job."""
    from alignpro import __version__

    return {
        "alignpro": __version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "platform": platform.platform(),
        "processor": platform.processor() or platform.machine(),
        "cpu_count": threads.usable_cores(),
        "threads": thread_count,
        "accelerator": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "seed": settings.seed,
        "commit": _commit(),
        "command": shlex.join(["alignpro", *sys.argv[1:]])
        if Path(sys.argv[0]).stem in {"alignpro", "__main__"}
        else None,
        "started": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
    }


def _costs(folder: RunFolder, summary: dict[str, Any]) -> str:
    """Answers asked of the frozen model, and of the oracle's copy, by each stage."""
    last = [files.read_jsonl(path / "metrics.jsonl")[-1:] for path in (folder.path, folder.rlhf)]
    parts = {
        "training": sum(int(row["frozen_calls"]) for rows in last for row in rows),
        "evaluation": int(summary["cost"]["frozen_calls"]),
        "headroom": int((files.read_json(folder.headroom) or {}).get("frozen_calls", 0)),
    }
    told = ", ".join(f"{count:,} in {name}" for name, count in parts.items() if count)
    return f"{sum(parts.values()):,} answers of the frozen model, {told}"


def threads_of(settings: Settings, folder: RunFolder, resume: bool) -> int | None:
    """Those of the settings; a resumed run keeps those it began with, since sums depend on them in the last digit."""
    if settings.threads is None and resume:
        began_with = (files.read_json(folder.path / "environment.json") or {}).get("threads")
        return int(began_with) if began_with else None
    return settings.threads


def _commit() -> str | None:
    try:
        found = subprocess.run(
            ["git", "-C", str(Path(__file__).parent), "rev-parse", "HEAD"],
            capture_output=True,
            text=True,
            timeout=5,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return found.stdout.strip()
