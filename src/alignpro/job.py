"""The job: train, compare, estimate, report, in one folder that a stopped run goes on in."""

from __future__ import annotations

import datetime
import platform
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path
from typing import Any

import torch
import transformers

from alignpro import config, processes, stages, threads
from alignpro import folder as files
from alignpro.assemble import Pieces, assemble, assemble_judge
from alignpro.config import Settings
from alignpro.data.judged_pairs import load_judged_pairs
from alignpro.endpoints.accounting import spoken
from alignpro.endpoints.opened import Endpoints
from alignpro.errors import SettingsError, UsageError
from alignpro.evaluate.agreement import judge_all, measured
from alignpro.evaluate.judged_arms import read_answers
from alignpro.folder import RunFolder
from alignpro.interrupt import StopRequest
from alignpro.progress import Progress
from alignpro.report import write_report
from alignpro.rewards.llm_judge import LlmJudge
from alignpro.rng import derive
from alignpro.stages import Run
from alignpro.tracking import check as check_trackers
from alignpro.tracking import figures_of, tracking

JUDGING = ("judge.", "evaluate.judge=", "evaluate.tie_margin=", "evaluate.bootstrap=")
"""Settings that judging again may change."""


def run(
    settings: Settings | None, out: str | Path, *, resume: bool = False, only_train: bool = False
) -> dict[str, Any]:
    """Do the whole job in `out`, or its training alone; returns what evaluation.json holds, or {} after training alone.

    Raises errors of the tree in `alignpro.errors`; what was computed before one is in the folder, and `resume` goes on
    from there.
    """
    begun, out = time.perf_counter(), Path(out)
    opened, count = _open(settings, out, resume)
    with StopRequest("finishing this step and saving") as stop, opened(stop) as opened_run:
        run = stages.with_scales(opened_run)
        _announce(run, count)
        with tracking(run.settings, out, run.progress.say) as track:
            stages.train_prompter(run, track.log)
            if run.settings.rlhf.enabled:
                stages.train_rlhf(run, track.log)
            if only_train:
                _say_endpoints(run)
                return {}
            summary = stages.evaluate(run)
            track.summary = figures_of(summary)
        if run.settings.headroom.after_training:
            stages.headroom(run)
        processes.by_first(lambda: write_report(out))
    run.progress.say(f"done in {time.perf_counter() - begun:.0f} s; cost: {_costs(run.folder, summary)}")
    _say_endpoints(run)
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
    with StopRequest("stopping after these prompts; their samples are kept") as stop, opened(stop) as opened_run:
        run = stages.with_scales(opened_run)
        _announce(run, count)
        found = stages.headroom(run)
        processes.by_first(lambda: write_report(out))
    run.progress.say(
        f"done in {time.perf_counter() - begun:.0f} s; cost: {found['frozen_calls']:,} answers of the frozen model"
    )
    _say_endpoints(run)
    return found


def evaluate_again(path: Path, overrides: Sequence[str]) -> dict[str, Any]:
    """Evaluate a finished run anew, with `evaluate.key=value` overrides, replacing its evaluation.json and report.

    Raises UsageError where the folder holds no run or an override is of another section.
    """
    folder = RunFolder(path)
    settings = _override(folder, overrides, ("evaluate.", "judge."), "evaluate")
    if not folder.trained:
        raise UsageError(f"{path} holds no trained prompter yet; finish it by `alignpro run --resume --out {path}`")
    opened, _ = _open(settings, path, True, settings)
    with StopRequest("stopping after this arm") as stop, opened(stop) as run:
        summary = stages.evaluate(stages.with_scales(run))
    _say_endpoints(run)
    processes.by_first(lambda: write_report(path))
    return summary


def judge_again(path: Path, overrides: Sequence[str]) -> dict[str, Any]:
    """Judge a finished run's answers anew, without sampling any, and add the win rates to its evaluation.json and
    report; those by a judge of the same name are replaced.

    `overrides` may change judge.*, evaluate.judge, evaluate.tie_margin and evaluate.bootstrap. Raises UsageError where
    the folder holds no finished evaluation, and as the judge.
    """
    folder = RunFolder(path)
    settings = _override(folder, overrides, JUDGING, "judge")
    summary = files.read_json(folder.evaluation)
    arms = read_answers(files.read_jsonl(folder.samples))
    shape = (summary["prompts"], summary["responses_per_prompt"]) if summary else None
    whole = all((len(arm.prompts), len(row)) == shape for arm in arms for row in arm.responses)
    if summary is None or not whole or {arm.name for arm in arms} != set(summary["arms"]):
        raise UsageError(
            f"{path} holds no finished evaluation to judge; go on with it by `alignpro run --resume --out {path}`, or"
            f" sample its answers again by `alignpro evaluate {path}`"
        )
    threads.use(threads_of(settings, folder, True))
    progress = Progress()
    with (
        StopRequest("stopping after these comparisons; a language model's verdicts are kept") as stop,
        closing(Endpoints(settings.budget)) as endpoints,
    ):
        judge = assemble_judge(settings, endpoints)
        endpoints.keep(path)
        endpoints.check()
        summary |= stages.judge(folder, settings, judge, arms, progress, stop, summary)
    files.write_json(folder.evaluation, summary)
    write_report(path)
    return summary


def measure_agreement(settings: Settings, path: Path, out: Path, limit: int | None = None) -> dict[str, Any]:
    """How evaluate.judge agrees with people on the pairs of a file; writes agreement.json to `out`, which keeps a
    language model's replies too.

    `notes` of the result are lines for the user. Raises SettingsError without a judge, DataError, and as the judge.
    """
    if not settings.evaluate.judge:
        raise SettingsError("agreement of which judge? give --judge")
    pairs, dropped = load_judged_pairs(path)
    pairs = pairs[:limit]
    threads.use(settings.threads)
    progress = Progress()
    for reason, count in dropped.items():
        progress.say(f"{count} rows left out: {reason}")
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"--out {out}: cannot be used as a folder ({error}); give another") from None
    with (
        StopRequest("stopping after these pairs; a language model's verdicts are kept") as stop,
        closing(Endpoints(settings.budget)) as endpoints,
    ):
        judge = assemble_judge(settings, endpoints)
        endpoints.keep(out)
        endpoints.check()
        if isinstance(judge, LlmJudge):
            judge = judge.keeping(out / "judge_answers.db")
        with progress.task(f"judging by {judge.name}", len(pairs)) as advance:

            def next_pairs(done: int, note: str) -> None:
                stop.check()
                advance(done, note)

            judged = judge_all(judge, pairs, next_pairs)
    found = measured(judge.name, pairs, judged, settings.evaluate.bootstrap, derive(settings.seed, "agreement"))
    if isinstance(judge, LlmJudge):
        found["cost"] = judge.cost()
    files.write_json(out / "agreement.json", found)
    notes = [f"{found['unparsed']} pairs have no verdict: {found['unparsed_reasons']}"] if found["unparsed"] else []
    if not judge.symmetric:
        notes.append(f"share of pairs with the same verdict in both orders: {found['position_consistency']:.3f}")
    return found | {"notes": notes}


def _open(
    settings: Settings | None, out: Path, resume: bool, instead: Settings | None = None
) -> tuple[Callable[[StopRequest], AbstractContextManager[Run]], int]:
    """Everything checked and loaded, the folder claimed; `instead` are settings to use in place of a run's own."""
    processes.begin()
    progress = Progress()
    if resume:
        folder, settings = files.reopen(out, None if instead else settings)
        settings = instead or settings
    else:
        assert settings is not None
        folder = RunFolder(out)
    check_trackers(settings.track)
    count = threads.use(threads_of(settings, folder, resume))
    pieces = assemble(settings, progress.say, folder.path if resume else None)
    try:
        if not resume:
            folder = files.claim(out, settings)
            pieces.endpoints.keep(folder.path)
        if not (folder.path / "environment.json").is_file():  # not there where a folder was made ready for a run
            files.write_json(folder.path / "environment.json", environment(settings, pieces, count))
    except BaseException:
        pieces.endpoints.close()
        raise

    @contextmanager
    def opened(stop: StopRequest) -> Iterator[Run]:
        with closing(pieces.endpoints):
            yield Run(folder, pieces, progress, stop)

    return opened, count


def _say_endpoints(run: Run) -> None:
    if told := spoken(run.pieces.endpoints.report()):
        run.progress.say(told)


def _announce(run: Run, count: int) -> None:
    pieces = run.pieces
    run.progress.say(
        f"{len(pieces.prompts.train)} training and {len(pieces.prompts.test)} test prompts; prompter"
        f" {pieces.pipeline(pieces.reference).name}, frozen model {pieces.frozen.name}, reward {pieces.reward.name};"
        f" {_shared(count)}; writing to {run.folder.path}"
    )


def _shared(threads: int) -> str:
    """Processes and the threads of each."""
    return f"{processes.count()} processes of {threads} threads" if processes.count() > 1 else f"{threads} threads"


def _override(folder: RunFolder, overrides: Sequence[str], sections: tuple[str, ...], what: str) -> Settings:
    """A run's settings with some changed. Raises UsageError for one of another section, or where there is no run."""
    folder.settings()
    foreign = [
        o for o in overrides if not (o.startswith((*sections, "threads=", "device=")) or files.MAY_CHANGE.match(o))
    ]
    if foreign:
        may = ", ".join(f"{section}*" if section.endswith(".") else section.rstrip("=") for section in sections)
        raise UsageError(f"{foreign[0]!r}: of a run that is there, `{what}` can change {may} settings alone")
    return config.load(folder.config, overrides)


def environment(settings: Settings, pieces: Pieces, thread_count: int) -> dict[str, Any]:
    """What the run ran on and with."""
    return machine(settings, thread_count) | {
        "device": str(pieces.reference.lm.model.device),
        "frozen_weights": pieces.frozen_weights,
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
        "processes": processes.count(),
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
