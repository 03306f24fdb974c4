"""Win rates from comparisons; prompts are the clusters of every interval."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from alignpro.config import JudgeSettings
from alignpro.judges import ties
from alignpro.judges.by_reward import RewardJudge
from alignpro.judges.comparisons import Answered, Comparison, compare_arms
from alignpro.maths import stats
from alignpro.maths.length_control import length_controlled
from alignpro.maths.shares import is_share, share_difference
from alignpro.results import Estimate, Judged, LengthControlled, WinRate
from alignpro.rng import derive
from alignpro.types import FloatArray, Judge, Verdict


def win_rate(a: Answered, b: Answered, judge: Judge, draws: int, seed: int) -> WinRate:
    """Compare sample k of arm a with sample k of arm b on every prompt, and sum up as `sum_up`."""
    comparisons = [comparison for part in compare_arms(a, b, judge) for comparison in part]
    return sum_up(a.name, b.name, judge.name, comparisons, draws, seed)


def sum_up(a: str, b: str, judge: str, comparisons: Sequence[Comparison], draws: int, seed: int) -> WinRate:
    """One row of `win_rates` in evaluation.json.

    A comparison is won when both orders say so; orders that disagree, or both of which say so, make a tie; one whose
    verdict cannot be read in either order is left out and counted as unparsed. `win`, `tie` and `loss` are counts, with
    intervals of their shares beside them; `win_rate` counts a tie half and every prompt once. `order_consistency`
    leaves out equal answers. `length_controlled` is the win rate at equal length in characters;
    `mean_length_difference` is in words.
    """
    verdicts = [comparison.verdict for comparison in comparisons]
    points = np.array([np.nan if v is None else ties.POINTS[v] for v in verdicts])
    prompts = np.array([comparison.prompt for comparison in comparisons], dtype=np.int64)
    characters = np.array([float(len(c.a) - len(c.b)) for c in comparisons])
    words = np.array([float(len(c.a.split()) - len(c.b.split())) for c in comparisons])
    per_prompt = prompt_points(points, prompts)
    agreed = np.array([np.nan if c.consistent is None else float(c.consistent) for c in comparisons])
    consistency, longer = (stats.pooled(values, prompts, draws, seed) for values in (agreed, words))
    controlled = length_controlled(points, characters, prompts, draws, seed)
    unparsed = Counter(comparison.failure for comparison in comparisons if comparison.failure)
    shares = share_intervals(verdicts, prompts, draws, seed)
    return WinRate(
        a=a,
        b=b,
        judge=judge,
        win=verdicts.count("a"),
        tie=verdicts.count("tie"),
        loss=verdicts.count("b"),
        rate=Estimate(stats.mean(per_prompt[:, None]), *stats.mean_interval(per_prompt, draws, seed)),
        win_ci95=shares["a"],
        tie_ci95=shares["tie"],
        loss_ci95=shares["b"],
        length_controlled=LengthControlled(
            rate=Estimate(controlled.win_rate, *controlled.ci95), withheld=controlled.withheld
        ),
        order_consistency=Estimate(consistency[0], *consistency[1]),
        unparsed=verdicts.count(None),
        unparsed_reasons=dict(unparsed.most_common()),
        length_difference=Estimate(longer[0], *longer[1]),
    )


def judge_arms(
    pairs: Sequence[tuple[Answered, Answered]],
    judge: Judge,
    limits: JudgeSettings | None,
    draws: int,
    seed: int,
    advance: Callable[[int, str], None],
    check: Callable[[], None],
) -> tuple[list[Judged], list[WinRate]]:
    """Lines for judgements.jsonl, and `win_rates` of evaluation.json, of the pairs as given.

    `limits` bound prompts and samples; `advance` hears of progress; `check` is called where a stop loses nothing. Of a
    reward that is 0 or 1 for every answer each win rate has a difference in `accuracy` besides. Raises as the judge.
    """
    rows, win_rates, scored, done = [], [], [], 0
    for a, b in pairs:
        comparisons: list[Comparison] = []
        for part in compare_arms(a, b, judge, limits):
            check()
            comparisons += part
            done += len(part)
            advance(done, f"{a.name} against {b.name}")
        rows += [comparison.row(a.name, b.name, judge.name) for comparison in comparisons]
        luck = derive(seed, "win", a.name, b.name)
        win_rates.append(sum_up(a.name, b.name, judge.name, comparisons, draws, luck))
        scored.append(_scores(comparisons))
    if isinstance(judge, RewardJudge) and is_share(*scored):
        for win_rate, (of_a, of_b) in zip(win_rates, scored, strict=True):
            value, interval = share_difference(of_a, of_b)
            win_rate.accuracy = Estimate(value, *interval)
    return rows, win_rates


def _scores(comparisons: Sequence[Comparison]) -> FloatArray:
    """Scores [2, B, K] of both arms' answers in the first order; nan where they were not compared."""
    shape = (max((each(c) for c in comparisons), default=-1) + 1 for each in (lambda c: c.prompt, lambda c: c.sample))
    scores = np.full((2, *shape), np.nan)
    for c in comparisons:
        scores[:, c.prompt, c.sample] = c.orders[0].scores
    return scores


def prompt_points(points: np.ndarray[Any, Any], prompts: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Mean points of each prompt that has a verdict."""
    judged = np.isfinite(points)
    which = np.unique(prompts[judged], return_inverse=True)[1]
    return np.bincount(which, points[judged]) / np.bincount(which)


def share_intervals(
    verdicts: Sequence[Verdict | None], prompts: np.ndarray[Any, Any], draws: int, seed: int
) -> dict[Verdict, stats.Interval]:
    """Intervals of the shares won, tied and lost among what has a verdict; `prompts` [N] tell whose each is."""
    judged = np.array([verdict is not None for verdict in verdicts], dtype=bool)

    def interval(wanted: Verdict) -> stats.Interval:
        shares = np.where(judged, [float(verdict == wanted) for verdict in verdicts], np.nan)
        return stats.mean_interval(prompt_points(shares, prompts), draws, seed)

    return {"a": interval("a"), "tie": interval("tie"), "b": interval("b")}
