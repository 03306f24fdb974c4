"""Every pair of arms before the judge."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from alignpro.config import JudgeSettings
from alignpro.judges.comparisons import Answered, Answers, compared, count
from alignpro.judges.win_rate import figures
from alignpro.results import Sample, WinRate
from alignpro.rng import derive
from alignpro.types import Generation, Judge


def comparisons(pairs: Sequence[tuple[Answered, Answered]], limits: JudgeSettings | None) -> int:
    """Comparisons that `judge_arms` makes; a judge for whom the order matters is asked twice for each."""
    return sum(count(a, b, limits) for a, b in pairs)


def judge_arms(
    pairs: Sequence[tuple[Answered, Answered]],
    judge: Judge,
    limits: JudgeSettings | None,
    draws: int,
    seed: int,
    advance: Callable[[int, str], None],
    check: Callable[[], None],
) -> tuple[list[dict[str, Any]], list[WinRate]]:
    """Lines for judgements.jsonl, and `win_rates` of evaluation.json, of the pairs as given.

    `limits` bound prompts and samples; `advance` hears of progress; `check` is called where a stop loses nothing.
    Raises as the judge.
    """
    rows, win_rates, done = [], [], 0
    for a, b in pairs:
        found = []
        for part in compared(a, b, judge, limits):
            check()
            found += part
            done += len(part)
            advance(done, f"{a.name} against {b.name}")
        rows += [comparison.row(a.name, b.name, judge.name) for comparison in found]
        win_rates.append(figures(a.name, b.name, judge.name, found, draws, derive(seed, "win", a.name, b.name)))
    return rows, win_rates


def read_answers(rows: Sequence[Sample]) -> list[Answers]:
    """The arms of the last evaluation, from lines of samples.jsonl."""
    arms: dict[str, dict[int | str, tuple[str, list[Generation]]]] = {}
    for row in rows:
        if row.stage == "evaluation":
            _, answers = arms.setdefault(row.arm, {}).setdefault(row.prompt_id, (row.prompt, []))
            answers.append(Generation(row.response, failure=row.failure))
    return [
        Answers(
            name, tuple(prompt for prompt, _ in found.values()), tuple(tuple(answers) for _, answers in found.values())
        )
        for name, found in arms.items()
    ]
