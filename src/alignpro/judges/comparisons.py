"""Which answers are compared, and what the judge said of them in each order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from alignpro.config import JudgeSettings
from alignpro.judges import ties
from alignpro.results import Judged, Order, Sample
from alignpro.types import Generation, Judge, Judgement, Prompt, Response, Verdict

SLICE = 128
"""Comparisons between two moments at which a run can stop."""


class Answered(Protocol):
    """An arm's answers [B][K] to the prompts, whatever else it holds."""

    @property
    def name(self) -> str: ...
    @property
    def prompts(self) -> tuple[Prompt, ...]: ...
    @property
    def responses(self) -> tuple[tuple[Generation, ...], ...]: ...


@dataclass(frozen=True, slots=True)
class Answers:
    """Answers of one arm, without the rest of it."""

    name: str
    prompts: tuple[Prompt, ...]
    responses: tuple[tuple[Generation, ...], ...]


@dataclass(frozen=True, slots=True)
class Comparison:
    """Sample `sample` of arm a beside that of arm b on one prompt.

    `orders` are judgements of (a, b): with a presented first, then with b; of a judge for whom the order cannot matter
    there is one.
    """

    prompt: int
    sample: int
    a: str
    b: str
    orders: tuple[Judgement, ...]

    @property
    def verdict(self) -> Verdict | None:
        """What both orders say; a tie where they disagree; None where either has no verdict."""
        return ties.by_orders(self.orders)

    @property
    def consistent(self) -> bool | None:
        """Whether both orders agree; None where one has no verdict, or where equal answers left nothing to say."""
        if self.a == self.b or self.verdict is None:
            return None
        return len({judgement.verdict for judgement in self.orders}) == 1

    @property
    def failure(self) -> str | None:
        """Why there is no verdict."""
        return next((j.failure or "no verdict" for j in self.orders if j.verdict is None), None)

    def row(self, a: str, b: str, judge: str) -> Judged:
        """A line for judgements.jsonl; scores are those of arm a and arm b."""
        orders = tuple(
            Order(
                verdict=j.verdict,
                scores=j.scores,
                reason=j.reason or "",
                failure=j.failure or "",
            )
            for j in self.orders
        )
        return Judged(
            a=a, b=b, judge=judge, prompt_id=self.prompt, sample=self.sample, verdict=self.verdict, orders=orders
        )


def compare_arms(
    a: Answered, b: Answered, judge: Judge, limits: JudgeSettings | None = None
) -> Iterator[list[Comparison]]:
    """Sample k of arm a beside sample k of arm b on every prompt, slice by slice; a response that failed has none.

    `limits` bound prompts and samples, None takes all. Raises as the judge.
    """
    rows = _rows(a, b, limits)
    for start in range(0, len(rows), SLICE):
        part = rows[start : start + SLICE]
        judgements = judge_both_orders(
            judge, [a.prompts[row] for row, *_ in part], [r[2] for r in part], [r[3] for r in part]
        )
        yield [
            Comparison(row, k, ya.text, yb.text, orders)
            for (row, k, ya, yb), orders in zip(part, judgements, strict=True)
        ]


def judge_both_orders(
    judge: Judge, prompts: Sequence[Prompt], a: Sequence[Response], b: Sequence[Response]
) -> list[tuple[Judgement, ...]]:
    """Judgements of (a, b), for each triple one for each order of presenting, or one in all."""
    if judge.symmetric:
        return [(judgement,) for judgement in judge.compare(prompts, a, b)]
    both = judge.compare([*prompts, *prompts], [*a, *b], [*b, *a])
    n = len(prompts)
    return [(a_first, b_first.mirrored()) for a_first, b_first in zip(both[:n], both[n:], strict=True)]


def count_comparisons(pairs: Sequence[tuple[Answered, Answered]], limits: JudgeSettings | None = None) -> int:
    """Comparisons that `compare_arms` makes of all pairs; a judge for whom the order matters is asked twice for
    each."""
    return sum(len(_rows(a, b, limits)) for a, b in pairs)


def read_answers(rows: Sequence[Sample]) -> list[Answers]:
    """The arms of the last evaluation, from lines of samples.jsonl."""
    arms: dict[str, dict[int | str, tuple[Prompt, list[Generation]]]] = {}
    for row in rows:
        if row.stage == "evaluation":
            _, answers = arms.setdefault(row.arm, {}).setdefault(row.prompt_id, (row.asked, []))
            answers.append(
                Generation(row.response, "length" if row.finish == "length" else "stop", failure=row.failure)
            )
    return [
        Answers(name, tuple(x for x, _ in prompts.values()), tuple(tuple(answers) for _, answers in prompts.values()))
        for name, prompts in arms.items()
    ]


def _rows(a: Answered, b: Answered, limits: JudgeSettings | None) -> list[tuple[int, int, Response, Response]]:
    prompts, samples = (limits.prompts, limits.samples) if limits else (None, None)
    return [
        (row, k, ya.response, yb.response)
        for row in range(len(a.prompts))[:prompts]
        for k, (ya, yb) in enumerate(zip(a.responses[row][:samples], b.responses[row][:samples], strict=True))
        if ya.failure is None and yb.failure is None
    ]
