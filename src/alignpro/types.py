"""What flows through the package, and the protocols at its seams. No torch here.

Dimension letters, used everywhere: B prompts, G rewrites a prompt, K responses a rewrite, T tokens, V vocabulary.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Literal, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from alignpro.prompt import Finish as Finish
from alignpro.prompt import Prompt as Prompt
from alignpro.prompt import Response as Response
from alignpro.prompt import Turn as Turn
from alignpro.prompt import as_prompts as as_prompts
from alignpro.prompt import as_responses as as_responses
from alignpro.prompt import columns_of as columns_of

Verdict = Literal["a", "b", "tie"]
FloatArray = npt.NDArray[np.float64]
Seed = int | Sequence[int]
"""That of a whole call, or of each of its prompts, which then draws what it would draw alone."""


_NO_TOKENS, _NO_LOGPROBS = np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.float32)


def _no_tokens() -> npt.NDArray[np.int64]:
    return _NO_TOKENS


def _no_logprobs() -> npt.NDArray[np.float32]:
    return _NO_LOGPROBS


@dataclass(frozen=True, slots=True)
class Generation:
    """One text a model produced: a rewrite x' or a response y.

    `tokens` [T] and `logprobs` [T] are those of sampling (natural log, under the distribution that was sampled from)
    and are empty where the source does not tell them; `query` [Q] are the framed ids they followed. `finish` is "stop"
    when the model ended by itself, "length" when it was cut off, "given" when nothing was generated. `failure` names
    why the text cannot be used, or is None. `thought` is what the model wrote before, which is no part of the text.
    """

    text: str
    finish: Finish = "stop"
    tokens: npt.NDArray[np.int64] = field(default_factory=_no_tokens, repr=False, compare=False)
    logprobs: npt.NDArray[np.float32] = field(default_factory=_no_logprobs, repr=False, compare=False)
    query: Sequence[int] = field(default=(), repr=False, compare=False)
    failure: str | None = None
    thought: str = field(default="", repr=False, compare=False)

    @property
    def response(self) -> Response:
        """What rewards and judges see of an answer."""
        return Response(self.text, self.finish)


@dataclass(frozen=True, slots=True)
class Rollout:
    """x -> x' -> y -> r for B prompts, G rewrites each, K responses each; made by `flow.rollout.rollout` alone.

    `rewards` [B, G, K] holds nan where the rewrite, the response or the reward failed; `failures` counts the reasons.
    `frozen_calls` is the number of responses asked of the frozen model. `parts` [B, G, K] by name are the raw scores of
    a composite reward's terms; `prompt_terms` [B, G] by name those of terms on the rewrite, and `bonus` [B, G] their
    weighted sum, 0 without any and nan where one failed.
    """

    prompts: tuple[Prompt, ...]
    rewrites: tuple[tuple[Generation, ...], ...]
    responses: tuple[tuple[tuple[Generation, ...], ...], ...]
    rewards: FloatArray
    failures: Counter[str]
    frozen_calls: int
    parts: Mapping[str, FloatArray] = field(default_factory=dict)
    prompt_terms: Mapping[str, FloatArray] = field(default_factory=dict)
    bonus: FloatArray | float = 0.0

    @property
    def failed(self) -> int:
        """Samples without a reward."""
        return int(np.isnan(self.rewards).sum())


@runtime_checkable
class Prompter(Protocol):
    """Turns a user prompt x into rewrites x'."""

    @property
    def name(self) -> str:
        """What reports call it."""
        ...

    def rewrite(self, prompts: Sequence[Prompt], n: int, seed: Seed) -> list[list[Generation]]:
        """`n` independent rewrites for each prompt; a rewrite that cannot be used carries its `failure`.

        With a seed for each prompt its rewrites do not depend on the other prompts.
        """
        ...


@runtime_checkable
class FrozenModel(Protocol):
    """Answers prompts; its weights are never touched."""

    @property
    def name(self) -> str:
        """What reports call it."""
        ...

    def respond(self, prompts: Sequence[Prompt], counts: Sequence[int], seed: int) -> list[list[Generation]]:
        """`counts[i]` independent responses to `prompts[i]`, whose text is x' and which has no row."""
        ...


OnDrawn = Callable[[int, int, Generation], None]
"""Called with a prompt's number, a rewrite's number and the rewrite, as soon as it is drawn."""


@runtime_checkable
class EagerPrompter(Prompter, Protocol):
    """A prompter that tells each rewrite when it is drawn, before all are."""

    def rewrite_each(self, prompts: Sequence[Prompt], n: int, seed: Seed, on_drawn: OnDrawn) -> list[list[Generation]]:
        """What `rewrite` gives; every usable rewrite may be told before, in any order, and need not be."""
        ...


@runtime_checkable
class AskingPrompter(Prompter, Protocol):
    """A prompter that asks the frozen model itself."""

    @property
    def frozen_calls(self) -> int:
        """Answers asked for so far."""
        ...


class Asking(Protocol):
    """Questions to a remote model that are not waited for."""

    def ask(self, prompts: Sequence[Prompt], counts: Sequence[int], seed: int) -> Future[list[list[Generation]]]:
        """What `respond` would give, later. Raises at once where an earlier question has failed."""
        ...


@runtime_checkable
class RemoteModel(FrozenModel, Protocol):
    """A frozen model that others compute: it can be asked ahead, and from several threads."""

    def asking(self) -> AbstractContextManager[Asking]:
        """Left by an error, it asks nothing more and waits until all that was asked is answered and saved."""
        ...


@runtime_checkable
class Reward(Protocol):
    """Scores responses against the original prompt x, never against the rewrite."""

    @property
    def name(self) -> str:
        """What reports call it."""
        ...

    def score(self, prompts: Sequence[Prompt], responses: Sequence[Response]) -> RewardResult:
        """One reward for each pair (x, y)."""
        ...


@runtime_checkable
class ReadsRows(Protocol):
    """A reward, a term or a judge that reads more of a prompt than its text: its row, or what stands before it."""

    def check(self, prompts: Sequence[Prompt]) -> Sequence[str]:
        """Lines for the user on what it will lack in these prompts, before any is asked.

        Raises SettingsError, DataError where it cannot work with them at all.
        """
        ...


@runtime_checkable
class ThreadedReward(Reward, Protocol):
    """A reward that others compute."""

    @property
    def threads(self) -> int:
        """Calls of `score` that may be under way together."""
        ...


@dataclass(frozen=True, slots=True)
class RewardResult:
    """`values` [N] with nan where scoring failed; `reasons` [N] says why there and is None elsewhere.

    `parts` [N] by name are the raw scores of which a composite reward is made.
    """

    values: FloatArray
    reasons: tuple[str | None, ...]
    parts: Mapping[str, FloatArray] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.values.shape != (len(self.reasons),):
            raise ValueError(f"{self.values.shape} values for {len(self.reasons)} reasons")


@dataclass(frozen=True, slots=True)
class Judgement:
    """What a judge said of two responses: `scores` of a and b, nan where it gave none, and its `reason` in words.

    `verdict` is None where none could be read, and `failure` then says why.
    """

    verdict: Verdict | None
    scores: tuple[float, float] = (float("nan"), float("nan"))
    reason: str = ""
    failure: str | None = None

    def mirrored(self) -> Judgement:
        """The same with a and b exchanged."""
        verdict: Verdict | None = {"a": "b", "b": "a"}.get(self.verdict or "", self.verdict)  # type: ignore[assignment]
        return Judgement(verdict, (self.scores[1], self.scores[0]), self.reason, self.failure)


@runtime_checkable
class RewriteTerms(Protocol):
    """Terms on the rewrite: of x and x', never of an answer."""

    def score(self, prompts: Sequence[Prompt], rewrites: Sequence[str]) -> PromptResult:
        """Every term of each pair (x, x')."""
        ...


@dataclass(frozen=True, slots=True)
class PromptResult:
    """`parts` [N] by name, nan where a term failed; `total` [N], their weighted sum; `reasons` as in RewardResult."""

    parts: Mapping[str, FloatArray]
    total: FloatArray
    reasons: tuple[str | None, ...]


@runtime_checkable
class Judge(Protocol):
    """Compares two responses to the same prompt."""

    @property
    def name(self) -> str:
        """What reports call it."""
        ...

    @property
    def symmetric(self) -> bool:
        """Whether the order of presenting cannot matter, so that asking in one order is enough."""
        ...

    def compare(self, prompts: Sequence[Prompt], a: Sequence[Response], b: Sequence[Response]) -> list[Judgement]:
        """One judgement for each triple as presented."""
        ...
