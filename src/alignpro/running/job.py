"""The job: train, compare, estimate, report, in one folder that a stopped run goes on in."""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from alignpro.config import Settings
from alignpro.evaluate.arms import Rlhf
from alignpro.maths.stats import t_quantile
from alignpro.models.loading import device_of
from alignpro.remote.accounting import costs_in_words
from alignpro.report import write_report
from alignpro.results import Evaluation, Headroom, Step, read, read_rows
from alignpro.running import stages
from alignpro.running.load import load
from alignpro.running.opening import Run, open_run, override
from alignpro.running.pieces import EVERYTHING, Pieces
from alignpro.running.stages.kept_arms import forget_compared
from alignpro.runtime import memory, processes
from alignpro.runtime.notices import Notices
from alignpro.runtime.run_folder import RunFolder
from alignpro.runtime.trackers import tracking

SEEN = 0.5
"""Gain, in standard deviations of the reward, that a test set should be able to show."""


def run(
    settings: Settings | None, out: str | Path, *, resume: bool = False, only_train: bool = False
) -> Evaluation | None:
    """Do the whole job in `out`, or its training alone; returns what evaluation.json holds, None after training alone.

    Raises errors of the tree in `alignpro.errors`; what was computed before one is in the folder, and `resume` goes on
    from there.
    """
    begun, out = time.perf_counter(), Path(out)
    with open_run(settings, out, _everything, resume=resume, stopping="finishing this step and saving") as opened:
        run = stages.with_scales(opened)
        _announce(run)
        if run.settings.train.steps and not only_train:
            _tell_few_prompts(run)
        with tracking(run.settings, out, run.progress.say) as track:
            stages.train_prompter(run, track.log)
            if run.settings.rlhf.enabled:
                stages.train_rlhf(run, track.log)
            if only_train:
                _say_endpoints(run)
                return None
            summary = stages.evaluate(run)
            track.summary = summary.figures()
        if run.settings.headroom.after_training:
            stages.headroom(run)
        processes.by_first(lambda: write_report(out))
    run.progress.say(
        f"done in {time.perf_counter() - begun:.0f} s; cost: {_costs(run.folder, summary)};"
        f" at most {memory.peak(torch.device(device_of(run.settings.device))) / 2**30:.1f} GiB of memory"
    )
    _say_endpoints(run)
    return summary


def headroom(
    settings: Settings | None, out: str | Path, *, resume: bool = False, overrides: Sequence[str] = ()
) -> Headroom:
    """Estimate what there is to gain, before training in a new folder or of the run in `out`; returns headroom.json.

    Of a run, `overrides` may change headroom.* alone. Raises as `run`; samples drawn before an error are kept.
    """
    begun, out = time.perf_counter(), Path(out)
    if resume:
        settings = override(RunFolder(out), overrides, ("headroom.",), "headroom")
    if settings is not None:
        settings.check_headroom()
    stopping = "stopping after these prompts; their samples are kept"
    with open_run(settings, out, _untrained, resume=resume, changed=resume, stopping=stopping) as opened:
        run = stages.with_scales(opened)
        _announce(run)
        estimated = stages.headroom(run)
        processes.by_first(lambda: write_report(out))
    run.progress.say(
        f"done in {time.perf_counter() - begun:.0f} s; cost: {estimated.frozen_calls:,} answers of the frozen model"
    )
    _say_endpoints(run)
    return estimated


def evaluate_again(path: Path, overrides: Sequence[str]) -> Evaluation:
    """Evaluate a finished run anew, with `evaluate.key=value` overrides, replacing its evaluation.json and report.

    Raises UsageError where the folder holds no run or an override is of another section.
    """
    folder = RunFolder(path)
    settings = override(folder, overrides, ("evaluate.", "judge."), "evaluate")
    folder.check_trained()
    stopping = "stopping after this arm; finished ones are kept"
    with open_run(settings, path, _untrained, resume=True, changed=True, stopping=stopping) as run:
        forget_compared(folder.arms)
        summary = stages.evaluate(stages.with_scales(run))
        processes.by_first(lambda: write_report(path))
    _say_endpoints(run)
    return summary


def evaluate_elsewhere(path: Path, out: Path, overrides: Sequence[str]) -> tuple[Evaluation, Evaluation | None]:
    """Compare a finished run's prompter in a new folder, before another frozen model or sampled otherwise, and leave
    the run as it is; what was found there, and what the run had found.

    `overrides` may change frozen.*, evaluate.*, judge.*, budget.* and dtype. The terms of its reward keep the run's
    scales; the oracle, whose model is the run's, is left out. Raises UsageError as `evaluate_again`.
    """
    source = RunFolder(path)
    settings = override(source, overrides, ("frozen.", "evaluate.", "judge.", "budget.", "dtype="), "evaluate --out")
    source.check_trained()
    arms = [arm for arm in settings.evaluate.arms if arm != Rlhf.written]
    settings = settings.model_copy(
        update={
            "evaluate": settings.evaluate.model_copy(update={"arms": arms}),
            "rlhf": settings.rlhf.model_copy(update={"enabled": False}),
        }
    )
    stopping = f"stopping after this arm; go on by `alignpro evaluate {out}`"
    with open_run(settings, out, _untrained, stopping=stopping) as run:
        _announce(run)
        if source.reward_scales.is_file():
            shutil.copyfile(source.reward_scales, run.folder.reward_scales)
        shutil.copytree(source.prompter, run.folder.prompter)
        summary = stages.evaluate(stages.with_scales(run))
        processes.by_first(lambda: write_report(out))
    _say_endpoints(run)
    return summary, read(Evaluation, source.evaluation)


def _everything(settings: Settings, say: Callable[[str], None], kept: Path | None) -> Pieces:
    return load(settings, EVERYTHING, say, kept=kept, for_run=True)


def _untrained(settings: Settings, say: Callable[[str], None], kept: Path | None) -> Pieces:
    """The same for a job that trains nothing, whatever its settings would."""
    return load(settings, EVERYTHING, say, kept=kept, for_run=True, trains=False)


def _say_endpoints(run: Run) -> None:
    if told := costs_in_words(run.pieces.endpoints.report()):
        run.progress.say(told)


def _announce(run: Run) -> None:
    pieces = run.pieces
    run.progress.say(
        f"{pieces.prompts.counted}; prompter"
        f" {pieces.pipeline().name}, frozen model {pieces.frozen.name}, reward {pieces.reward.name};"
        f" {_shared(run.threads)}; writing to {run.folder.path}"
    )


def _tell_few_prompts(run: Run) -> None:
    """Tell where the test prompts are so few that a good gain would not show."""
    count = len(run.pieces.prompts.test[: run.settings.evaluate.prompts])
    least = t_quantile(count - 1) * math.sqrt(2 / count) if count > 1 else math.inf
    if least > SEEN:
        Notices(run.folder.path, run.progress.say).tell(
            "few test prompts",
            f"{count} test prompts: a gain of less than about {least:.1f} standard deviations of the reward will not"
            " show beside its interval. Give more prompts, or a larger data.test_share",
        )


def _shared(threads: int) -> str:
    """Processes and the threads of each."""
    return f"{processes.count()} processes of {threads} threads" if processes.count() > 1 else f"{threads} threads"


def _costs(folder: RunFolder, summary: Evaluation) -> str:
    """Answers asked of the frozen model, and of the oracle's copy, by each stage."""
    estimated = read(Headroom, folder.headroom)
    last = [read_rows(Step, path / "metrics.jsonl")[-1:] for path in (folder.path, folder.rlhf)]
    parts = {
        "training": sum(int(row.frozen_calls) for rows in last for row in rows),
        "evaluation": int(summary.cost.frozen_calls),
        "headroom": int(estimated.frozen_calls) if estimated else 0,
    }
    told = ", ".join(f"{count:,} in {name}" for name, count in parts.items() if count)
    return f"{sum(parts.values()):,} answers of the frozen model, {told}"
