"""Each verifier on hand-made answers, right, wrong and sly; as a command it prints the table of docs/verifying.md."""

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import answers_choice
import answers_constraints
import answers_contains
import answers_exact
import answers_json_schema
import answers_math
import answers_number_right
import answers_number_wrong
import answers_regex

from alignpro.rewards.verify import load_verifier
from alignpro.types import Prompt, Response

Case = tuple[dict[str, Any], dict[str, Any], str]
"""Arguments of the verifier, the row, the answer."""


def _golds(cases) -> list[Case]:
    return [({}, {"answer": gold}, answer) for gold, answer in cases]


TABLES = {
    "exact": (_golds(answers_exact.RIGHT), _golds(answers_exact.WRONG)),
    "contains": (_golds(answers_contains.RIGHT), _golds(answers_contains.WRONG)),
    "number": (_golds(answers_number_right.RIGHT), _golds(answers_number_wrong.WRONG)),
    "math": (_golds(answers_math.RIGHT), _golds(answers_math.WRONG)),
    "choice": (answers_choice.RIGHT, answers_choice.WRONG),
    "regex": (answers_regex.RIGHT, answers_regex.WRONG),
    "json_schema": tuple(
        [({}, {"schema": schema}, answer) for schema, answer in cases]
        for cases in (answers_json_schema.RIGHT, answers_json_schema.WRONG)
    ),
    "constraints": tuple(
        [(arguments, {"constraints": [{"id": one, **given}]}, answer) for arguments, one, given, answer in cases]
        for cases in (answers_constraints.RIGHT, answers_constraints.WRONG)
    ),
}


@dataclass(frozen=True)
class Measured:
    """Right and wrong answers of one verifier, those that it took otherwise, and those that it gave no reward."""

    right: int
    wrong: int
    refused: list[Case]
    accepted: list[Case]
    unscored: list[Case]

    @property
    def share(self) -> float:
        """Share of right answers that are accepted."""
        return 1 - len(self.refused) / self.right


@cache
def measure(name: str) -> Measured:
    right, wrong = TABLES[name]
    scores = [score(name, case) for case in (*right, *wrong)]
    return Measured(
        len(right),
        len(wrong),
        [case for case, (value, _) in zip(right, scores, strict=False) if value != 1],
        [case for case, (value, _) in zip(wrong, scores[len(right) :], strict=True) if value == 1],
        [case for case, (_, reason) in zip((*right, *wrong), scores, strict=True) if reason],
    )


def score(name: str, case: Case) -> tuple[float, str | None]:
    arguments, row, answer = case
    scored = load_verifier(f"verify:{name}", arguments=arguments).score([Prompt("x", row=row)], [Response(answer)])
    return float(scored.values[0]), scored.reasons[0]


def table() -> Iterator[str]:
    yield "| verifier | right answers accepted | wrong answers accepted |"
    yield "| --- | --- | --- |"
    for name in TABLES:
        seen = measure(name)
        accepted = seen.right - len(seen.refused)
        yield f"| `{name}` | {accepted} of {seen.right} | {len(seen.accepted)} of {seen.wrong} |"


if __name__ == "__main__":
    sys.stdout.write("\n".join(table()) + "\n")
