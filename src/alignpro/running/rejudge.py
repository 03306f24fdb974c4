"""Judging as a job of its own: a run's answers judged anew, and a judge measured against people."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path

from alignpro.config import Settings
from alignpro.data.judged_pairs import load_judged_pairs
from alignpro.errors import SettingsError, UsageError
from alignpro.judges.agreement import judge_all, measured
from alignpro.judges.by_language_model import LlmJudge
from alignpro.judges.comparisons import Answers, read_answers
from alignpro.report import write_report
from alignpro.results import Evaluation, JudgeAgreement, Sample, read, write
from alignpro.results.words import told
from alignpro.rng import derive
from alignpro.running import stages
from alignpro.running.checks import tell_rows
from alignpro.running.load import load
from alignpro.running.opening import open_run, override
from alignpro.running.pieces import Pieces
from alignpro.runtime import files, threads
from alignpro.runtime.interrupt import StopRequest
from alignpro.runtime.progress import Progress
from alignpro.runtime.run_folder import RunFolder
from alignpro.types import as_prompts

JUDGING = ("judge.", "evaluate.judge=", "evaluate.tie_margin=", "evaluate.bootstrap=")
"""Settings that judging again may change."""


def judge_again(path: Path, overrides: Sequence[str]) -> Evaluation:
    """Judge a finished run's answers anew, without sampling any, and add the win rates to its evaluation.json and
    report; those by a judge of the same name are replaced.

    `overrides` may change judge.*, evaluate.judge, evaluate.tie_margin and evaluate.bootstrap. Raises UsageError where
    the folder holds no finished evaluation, and as the judge.
    """
    folder = RunFolder(path)
    settings = override(folder, overrides, JUDGING, "judge")
    _finished(folder)
    stopping = "stopping after these comparisons; a language model's verdicts are kept"
    with open_run(settings, path, _judge_alone, resume=True, changed=True, stopping=stopping) as run:
        summary, arms = _finished(folder)
        tell_rows([run.pieces.judge], list(dict.fromkeys(x for arm in arms for x in arm.prompts)), run.progress.say)
        summary = stages.judge(run, arms, summary)
        write(folder.evaluation, summary)
        write_report(path)
    return summary


def _finished(folder: RunFolder) -> tuple[Evaluation, Sequence[Answers]]:
    """The evaluation of a run and the answers it was made from. Raises UsageError where they are not whole."""
    again = f"sample its answers again by `alignpro evaluate {folder.path}`"
    summary = read(Evaluation, folder.evaluation)
    arms = read_answers(files.parsed_rows(folder.samples, Sample.model_validate, again))
    shape = (summary.prompts, summary.responses_per_prompt) if summary else None
    whole = all((len(arm.prompts), len(row)) == shape for arm in arms for row in arm.responses)
    if summary is None or not whole or {arm.name for arm in arms} != set(summary.arms):
        raise UsageError(
            f"{folder.path} holds no finished evaluation to judge; go on with it by `alignpro run --resume --out"
            f" {folder.path}`, or {again}"
        )
    return summary, arms


def _judge_alone(settings: Settings, say: Callable[[str], None], kept: Path | None) -> Pieces:
    return load(settings, {"judge"}, say, kept=kept)


def measure_agreement(settings: Settings, path: Path, out: Path, limit: int | None = None) -> JudgeAgreement:
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
    pieces = _judge_alone(settings, progress.say, out)
    tell_rows([pieces.judge], as_prompts(pair.prompt for pair in pairs), progress.say)
    with (
        StopRequest("stopping after these pairs; a language model's verdicts are kept") as stop,
        closing(pieces.endpoints),
    ):
        judge = pieces.judge
        if isinstance(judge, LlmJudge):
            judge = judge.keeping(out / "judge_answers.db")
        with progress.task(f"judging by {judge.name}", len(pairs)) as advance:

            def next_pairs(done: int, note: str) -> None:
                stop.check()
                advance(done, note)

            judged = judge_all(judge, pairs, next_pairs)
        cost = judge.cost() if isinstance(judge, LlmJudge) else None
    agreement = measured(judge.name, pairs, judged, settings.evaluate.bootstrap, derive(settings.seed, "agreement"))
    agreement.cost = cost
    write(out / "agreement.json", agreement)
    notes = [f"{agreement.unparsed} pairs have no verdict: {agreement.unparsed_reasons}"] if agreement.unparsed else []
    if not judge.symmetric:
        same = agreement.position_consistency
        notes.append(f"share of pairs with the same verdict in both orders: {told(same)}")
    agreement.notes = tuple(notes)
    return agreement
