"""The pieces of the flow that a job asked for, loaded."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Generic, Literal, TypeVar, cast, get_args

from alignpro.config import Settings
from alignpro.data.prompts import Prompts
from alignpro.errors import SettingsError
from alignpro.evaluate.models import Models, Reference
from alignpro.flow.prompters import Chain
from alignpro.judges.by_reward import RewardJudge
from alignpro.models.fingerprint import fingerprint
from alignpro.models.local import LocalFrozenModel, LocalPrompter
from alignpro.remote.function import FunctionModel
from alignpro.remote.opened import Endpoints
from alignpro.remote.prompter import EndpointPrompter
from alignpro.rewards.guards import Guards
from alignpro.types import FrozenModel, Judge, Prompter, Reward, RewriteTerms

PieceName = Literal[
    "prompts", "frozen", "reward", "second_reward", "judge", "passes", "prompter", "prompt_terms", "others"
]
Needs = frozenset[PieceName]
EVERYTHING: Needs = frozenset(get_args(PieceName))
T = TypeVar("T")


class _Piece(Generic[T]):
    """A piece under its attribute's name; to read one that was not asked for is a mistake, and raises LookupError."""

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = cast(PieceName, name)

    def __get__(self, pieces: Pieces, owner: type) -> T:
        if self.name not in pieces.loaded:
            held = ", ".join(pieces.loaded) or "nothing"
            raise LookupError(f"{self.name} was not loaded, only {held}; name it in what `load` is told is needed")
        return cast(T, pieces.loaded[self.name])


@dataclass(frozen=True)
class Pieces:
    """What was loaded for a job, and its models computed elsewhere, which whoever holds the pieces closes.

    `prompter` is that of the settings, from which training starts and by which it is measured, and `passes` are the
    fixed ones before it; `others` are those of arms behind URLs, by the arms' names. `second_reward` and `prompt_terms`
    are None where the settings name none.
    """

    settings: Settings = field(repr=False)
    endpoints: Endpoints = field(repr=False)
    loaded: Mapping[PieceName, Any]

    prompts = _Piece[Prompts]()
    frozen = _Piece[FrozenModel]()
    reward = _Piece[Reward]()
    second_reward = _Piece[Reward | None]()
    judge = _Piece[Judge]()
    passes = _Piece[tuple[tuple[LocalPrompter, ...], ...]]()
    prompter = _Piece[LocalPrompter]()
    prompt_terms = _Piece[RewriteTerms | None]()
    others = _Piece[Mapping[str, EndpointPrompter]]()

    def __repr__(self) -> str:
        return f"Pieces({', '.join(self.loaded)})"

    def __contains__(self, name: PieceName) -> bool:
        """Whether the piece was loaded."""
        return name in self.loaded

    @property
    def local_frozen(self) -> LocalFrozenModel:
        """The frozen model, whose weights are here. Raises SettingsError where they are not."""
        if not isinstance(self.frozen, LocalFrozenModel):
            raise SettingsError(f"frozen.model {self.frozen.name} is computed elsewhere; its weights are not here")
        return self.frozen

    @property
    def frozen_weights(self) -> str | None:
        """A digest of the frozen model's weights, or of the source of the function that it is; None behind a URL."""
        if isinstance(self.frozen, FunctionModel):
            return self.frozen.function.source
        return fingerprint(self.frozen.lm.model) if isinstance(self.frozen, LocalFrozenModel) else None

    @property
    def prompters(self) -> tuple[LocalPrompter, ...]:
        """Every pass that is loaded, the prompter last: the first reads x as the user wrote it."""
        passes = self.passes if "passes" in self else ()
        return (*itertools.chain.from_iterable(passes), *((self.prompter,) if "prompter" in self else ()))

    @property
    def guards(self) -> Guards:
        """Those of the settings, which know the prompter's template."""
        return Guards(self.settings.guards, self.settings.prompter.template or "")

    def pipeline(self, last: LocalPrompter | None = None) -> Prompter:
        """The fixed passes and, after them, `last` or else the prompter."""
        return in_sequence(self.passes, last or self.prompter)

    def scored_by(self, reward: Reward) -> Pieces:
        """The same pieces with another reward, by which a judge that compares by reward judges then too."""
        judge = self.judge
        if isinstance(judge, RewardJudge) and judge.reward is self.reward:
            judge = replace(judge, reward=reward)
        return replace(self, loaded={**self.loaded, "reward": reward, "judge": judge})

    def models(
        self, trained: LocalPrompter | None, rlhf: LocalFrozenModel | None, reference: LocalPrompter | None = None
    ) -> Models:
        """What the arms are put together from; the reference is the prompter, if any, where no other is given."""
        reference = reference or (self.prompter if "prompter" in self else None)
        passes = self.passes if "passes" in self else ()
        return Models(
            reference=Reference(self.pipeline(reference), reference.lm) if reference else None,
            trained=self.pipeline(trained) if trained else None,
            passes=tuple(in_sequence(passes[:n], *own) for n, own in enumerate(passes)),
            frozen=self.frozen,
            rlhf=rlhf,
            reward=self.reward,
            second_reward=self.second_reward,
            prompt_terms=self.prompt_terms if "prompt_terms" in self else None,
            others=self.others if "others" in self else {},
        )


def in_sequence(before: tuple[tuple[LocalPrompter, ...], ...], *last: LocalPrompter) -> Prompter:
    """Passes in sequence, or the only one."""
    passes = (*itertools.chain.from_iterable(before), *last)
    return Chain(passes) if len(passes) > 1 else passes[0]
