"""How near an answer is to the prompt, or to a text of its row: the cosine of a sentence encoder's vectors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from alignpro.errors import SettingsError, UnusableRow
from alignpro.models.loading import display_name
from alignpro.rewards.composite import CompositeReward
from alignpro.rewards.measures.encoder import SentenceEncoder, load_encoder
from alignpro.rewards.verify.verifier import Verifier, said, texts
from alignpro.types import Prompt, Response, Reward, RewardResult, as_prompts, as_responses

EMPTY = "no text to compare"


@dataclass(frozen=True)
class Similarity:
    """r(x, y) = cos(e(x), e(y)), -1 to 1, e being the encoder; the greatest of several golds of `column` for e(x).

    It reads what the encoder does: the languages it was trained on, the first `encoder.limit` tokens. Near is on the
    subject, not right: an answer that repeats the question is nearest of all. Equal texts are read once.
    """

    name: str
    encoder: SentenceEncoder
    column: str | None = None
    bounds: ClassVar[tuple[float, float]] = (-1.0, 1.0)

    def score(self, prompts: Sequence[str | Prompt], responses: Sequence[str | Response]) -> RewardResult:
        """One cosine a pair; none, with the reason, for an empty answer and for a row without the column."""
        index: dict[str, int] = {}
        pairs = [
            self._texts(x, said(y.text)) for x, y in zip(as_prompts(prompts), as_responses(responses), strict=True)
        ]
        where = [
            pair if isinstance(pair, str) else [index.setdefault(text, len(index)) for text in pair] for pair in pairs
        ]
        vectors = self.encoder.embed(list(index))
        values = [
            np.nan if isinstance(at, str) else float(max(vectors[at[1:]] @ vectors[at[0]]).clip(-1, 1)) for at in where
        ]
        return RewardResult(np.array(values, dtype=np.float64), tuple(w if isinstance(w, str) else None for w in where))

    def check(self, prompts: Sequence[Prompt]) -> list[str]:
        """What the rows lack of the column, or whose earlier turns are not read. Raises DataError as verifiers do."""
        if self.column is not None:
            column = self.column
            return Verifier(self.name, (column,), lambda row: texts(row, column), lambda _, answer: 0.0).check(prompts)
        count = sum(not prompt.alone for prompt in prompts)
        return [f"{self.name} reads the last turn alone of {count} prompts"] if count else []

    def _texts(self, prompt: Prompt, answer: str) -> list[str] | str:
        """The answer and what it is compared with, or why there is nothing to compare."""
        try:
            golds = [prompt.text] if self.column is None else texts(prompt.row, self.column)
        except UnusableRow as error:
            return str(error)
        return [answer, *golds] if answer.strip() and all(map(str.strip, golds)) else EMPTY


def encoder_of(reward: Reward) -> SentenceEncoder | None:
    """The sentence encoder that a reward, or the first of its terms and gates that has one, reads answers by."""
    rewards = [reward]
    if isinstance(reward, CompositeReward):
        rewards = [*(term.reward for term in reward.terms), *(gate.reward for gate in reward.gates)]
    return next((one.encoder for one in rewards if isinstance(one, Similarity)), None)


def load_similarity(encoder: str, device: str, batch_size: int | None, column: str | None = None) -> Similarity:
    """By the encoder that a folder, `package:NAME` or hub id holds.

    Raises SettingsError where none is named, and as `load_encoder`.
    """
    if not encoder:
        raise SettingsError(
            "name its encoder, a folder, package:NAME or hub id, behind a colon:"
            " measure:similarity:sentence-transformers/all-MiniLM-L6-v2"
        )
    return Similarity(
        f"similarity:{display_name(encoder, 'reward')}", load_encoder(encoder, device, batch_size), column
    )
