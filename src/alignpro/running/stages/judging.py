"""Win rates of answers that are there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from alignpro.evaluate.arms.pairing import judged_pairs
from alignpro.judges.by_language_model import LlmJudge
from alignpro.judges.comparisons import Answered, count_comparisons
from alignpro.judges.win_rate import judge_arms
from alignpro.results import Evaluation, Judged, WinRate, append_rows
from alignpro.running.opening import Run
from alignpro.runtime import files, processes


def judge(run: Run, arms: Sequence[Answered], summary: Evaluation) -> Evaluation:
    """Judge the arms' answers: `summary` with win rates by this judge, those by other judges kept.

    A language model's replies are kept in judge_answers.db and asked for once; every comparison goes to
    judgements.jsonl. Raises as the judge, and Interrupted.
    """
    folder, settings, by = run.folder, run.settings, run.pieces.judge
    used: dict[str, Any] = {"judge": settings.evaluate.judge, "tie_margin": settings.evaluate.tie_margin}
    limits, cost = None, summary.cost.model_copy()
    if isinstance(by, LlmJudge):
        by, limits = by.keeping(folder.judge_answers), settings.judge
        used |= limits.model_dump(mode="json")
    pairs = judged_pairs(arms, limits)
    with run.progress.task(f"judging by {by.name}", count_comparisons(pairs, limits)) as advance:

        def judged() -> tuple[list[Judged], list[WinRate]]:
            return judge_arms(pairs, by, limits, advance, run.stop.check)

        rows, win_rates = processes.by_first(judged) if limits else judged()  # one file of verdicts, one asker
    if unparsed := sum(row.unparsed for row in win_rates):
        reasons = Counter(failure for row in rows for failure in {order.failure for order in row.orders})
        del reasons[""]
        why = "; ".join(f"{reason} ({count})" for reason, count in reasons.most_common(3))
        run.progress.say(f"judge {by.name}: {unparsed} comparisons have no verdict and were left out: {why}")
    if isinstance(by, LlmJudge):
        cost.judge = by.cost()
    others = [row for row in summary.win_rates if row.judge != by.name]
    kept = {row.judge for row in others}
    files.keep_rows(folder.judgements, lambda row: row["judge"] in kept)
    append_rows(folder.judgements, rows)
    judged_now = summary.model_copy()
    judged_now.win_rates = (*others, *win_rates)
    judged_now.judges = {**{name: own for name, own in summary.judges.items() if name in kept}, by.name: used}
    judged_now.cost = cost
    return judged_now
