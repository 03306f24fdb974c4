"""`verify:exact`: the answer is the gold text, in one normal form."""

from __future__ import annotations

from alignpro.rewards.verify.normal import normal
from alignpro.rewards.verify.verifier import Verifier, texts


def exact(column: str = "answer", case: bool = False) -> Verifier[list[str]]:
    """1 where the whole answer is the gold text, or one of a list, both as `normal` makes them; `case`: case counts."""
    return Verifier(
        name="verify:exact",
        columns=(column,),
        gold=lambda row: [normal(text, case) for text in texts(row, column)],
        worth=lambda golds, answer: normal(answer, case) in golds,
    )
