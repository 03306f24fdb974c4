"""Win rates from comparisons; prompts are the clusters of every interval."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from alignpro.config import JudgeSettings
from alignpro.judges import ties
from alignpro.judges.by_reward import RewardJudge
from alignpro.judges.comparisons import Answered, Comparison, compare_arms
from alignpro.maths import lengths, stats
from alignpro.maths.length_control import length_controlled
from alignpro.maths.shares import is_share, pooled_share, share_difference, share_interval
from alignpro.results import Estimate, Judged, LengthControlled, WinRate
from alignpro.types import FloatArray, Judge, Verdict


def win_rate(a: Answered, b: Answered, judge: Judge) -> WinRate:
    """Compare sample k of arm a with sample k of arm b on every prompt, and sum up as `sum_up`."""
    comparisons = [comparison for part in compare_arms(a, b, judge) for comparison in part]
    return sum_up(a.name, b.name, judge.name, comparisons)


def sum_up(a: str, b: str, judge: str, comparisons: Sequence[Comparison]) -> WinRate:
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
    characters = np.array([float(lengths.characters(c.a) - lengths.characters(c.b)) for c in comparisons])
    words = np.array([float(lengths.words(c.a) - lengths.words(c.b)) for c in comparisons])
    by_prompt = by_prompts(points, prompts)
    agreed = np.array([np.nan if c.consistent is None else float(c.consistent) for c in comparisons])
    consistency = pooled_share(*stats.sums_over_prompts(agreed, prompts))
    longer = stats.pooled(words, prompts)
    controlled = length_controlled(points, characters, prompts)
    unparsed = Counter(comparison.failure for comparison in comparisons if comparison.failure)
    shares = share_intervals(verdicts, prompts)
    return WinRate(
        a=a,
        b=b,
        judge=judge,
        win=verdicts.count("a"),
        tie=verdicts.count("tie"),
        loss=verdicts.count("b"),
        rate=Estimate.of(stats.mean(by_prompt), share_interval(by_prompt)),
        win_ci95=shares["a"],
        tie_ci95=shares["tie"],
        loss_ci95=shares["b"],
        length_controlled=LengthControlled(
            rate=Estimate.of(controlled.win_rate, controlled.ci95), withheld=controlled.withheld
        ),
        order_consistency=Estimate.of(*consistency),
        unparsed=verdicts.count(None),
        unparsed_reasons=dict(unparsed.most_common()),
        length_difference=Estimate.of(*longer),
    )


def judge_arms(
    pairs: Sequence[tuple[Answered, Answered]],
    judge: Judge,
    limits: JudgeSettings | None,
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
        win_rates.append(sum_up(a.name, b.name, judge.name, comparisons))
        scored.append(_scores(comparisons))
    if isinstance(judge, RewardJudge) and is_share(*scored):
        for win_rate, (of_a, of_b) in zip(win_rates, scored, strict=True):
            win_rate.accuracy = Estimate.of(*share_difference(of_a, of_b))
    return rows, win_rates


def _scores(comparisons: Sequence[Comparison]) -> FloatArray:
    """Scores [2, B, K] of both arms' answers in the first order; nan where they were not compared."""
    shape = (max((each(c) for c in comparisons), default=-1) + 1 for each in (lambda c: c.prompt, lambda c: c.sample))
    scores = np.full((2, *shape), np.nan)
    for c in comparisons:
        scores[:, c.prompt, c.sample] = c.orders[0].scores
    return scores


def by_prompts(values: FloatArray, prompts: npt.NDArray[np.int64]) -> FloatArray:
    """Values [N] in a row for each of the `prompts` [N] that they are of, filled up with nan [B, K]."""
    which, counts = np.unique(prompts, return_inverse=True, return_counts=True)[1:]
    order = np.argsort(which, kind="stable")
    place = np.empty(len(values), dtype=np.int64)
    place[order] = np.arange(len(values)) - np.repeat(counts.cumsum() - counts, counts)
    rows = np.full((len(counts), counts.max(initial=0)), np.nan)
    rows[which, place] = values
    return rows


def share_intervals(
    verdicts: Sequence[Verdict | None], prompts: npt.NDArray[np.int64]
) -> dict[Verdict, stats.Interval]:
    """Intervals of the shares won, tied and lost among what has a verdict; `prompts` [N] tell whose each is."""
    judged = np.array([verdict is not None for verdict in verdicts], dtype=bool)

    def interval(wanted: Verdict) -> stats.Interval:
        shares = np.where(judged, [float(verdict == wanted) for verdict in verdicts], np.nan)
        return share_interval(by_prompts(shares, prompts))

    return {"a": interval("a"), "tie": interval("tie"), "b": interval("b")}
