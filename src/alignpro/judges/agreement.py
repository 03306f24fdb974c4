"""How a judge agrees with people, beside how people agree with each other."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Sequence

import numpy as np

from alignpro.data.judged_pairs import JudgedPair
from alignpro.judges.comparisons import SLICE, Comparison, judge_both_orders
from alignpro.maths import agreement as rater
from alignpro.maths import stats
from alignpro.maths.shares import pooled_share
from alignpro.results import Agreement, Estimate, JudgeAgreement
from alignpro.rng import derive
from alignpro.types import Judge, Response, Verdict

Pair = tuple[Verdict, Verdict]


def judge_all(judge: Judge, pairs: Sequence[JudgedPair], advance: Callable[[int, str], None]) -> list[Comparison]:
    """Every pair before the judge, in both orders where these can matter. Raises as the judge."""
    comparisons: list[Comparison] = []
    for start in range(0, len(pairs), SLICE):
        part = pairs[start : start + SLICE]
        orders = judge_both_orders(
            judge, [p.prompt for p in part], [Response(p.a) for p in part], [Response(p.b) for p in part]
        )
        comparisons += [
            Comparison(start + i, 0, p.a, p.b, o) for i, (p, o) in enumerate(zip(part, orders, strict=True))
        ]
        advance(len(comparisons), "")
    return comparisons


def majority(verdicts: Sequence[Verdict]) -> Verdict | None:
    """What more than half of the people say, or None."""
    verdict, times = Counter(verdicts).most_common(1)[0]
    return verdict if 2 * times > len(verdicts) else None


def measured(
    judge: str, pairs: Sequence[JudgedPair], comparisons: Sequence[Comparison], draws: int, seed: int
) -> JudgeAgreement:
    """The figures of agreement.json; every interval is of 95%, over prompts.

    The judge's verdict is that of both orders (orders that disagree: a tie). With one person: mean over the people of
    a pair, and people among themselves: over pairs of people, so that the two can be compared.
    """
    said = [comparison.verdict for comparison in comparisons]

    def against(people: Callable[[JudgedPair], Iterable[Verdict | None]]) -> list[list[Pair]]:
        return [
            [] if verdict is None else [(verdict, theirs) for theirs in people(pair) if theirs is not None]
            for pair, verdict in zip(pairs, said, strict=True)
        ]

    def clear(rows: list[list[Pair]]) -> list[list[Pair]]:
        return [[pair for pair in row if "tie" not in pair] for row in rows]

    with_majority = against(lambda pair: [majority(pair.verdicts)])
    # Each two people once in either direction, since none of them is the one that is measured.
    people = [list(itertools.permutations(pair.verdicts, 2)) for pair in pairs]
    where = np.unique([pair.prompt.key for pair in pairs], return_inverse=True)[1]

    def figures(rows: list[list[Pair]], what: str, twice: bool = False) -> Agreement:
        tables = np.zeros((where.max() + 1, 3, 3))
        for prompt, row in zip(where, rows, strict=True):
            tables[prompt] += rater.table(row)
        whole = tables.sum(0)
        interval, interval_kappa = rater.intervals(tables, draws, derive(seed, "agreement", what))
        return Agreement(
            agreement=Estimate.of(float(rater.agreement(whole)), interval),
            kappa=Estimate.of(float(rater.kappa(whole)), interval_kappa),
            compared=int(whole.sum()) // (2 if twice else 1),
        )

    consistent = np.array([np.nan if c.consistent is None else float(c.consistent) for c in comparisons])
    consistency = Estimate.of(*pooled_share(*stats.sums_over_prompts(consistent, where)))
    return JudgeAgreement(
        judge=judge,
        pairs=len(pairs),
        prompts=int(where.max()) + 1,
        annotators=max(len(pair.verdicts) for pair in pairs),
        without_majority=sum(majority(pair.verdicts) is None for pair in pairs),
        unparsed=said.count(None),
        unparsed_reasons=dict(Counter(c.failure for c in comparisons if c.failure).most_common()),
        verdicts={verdict: said.count(verdict) for verdict in rater.VERDICTS},
        position_consistency=consistency,
        with_majority=figures(with_majority, "majority"),
        with_majority_where_neither_ties=figures(clear(with_majority), "clear"),
        with_one_person=figures(against(lambda pair: pair.verdicts), "one"),
        people=figures(people, "people", twice=True),
    )
