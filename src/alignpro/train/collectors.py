"""Collectors: what one step's sampling gives to the update, from the prompter's policy or from the oracle's."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from alignpro.config import TrainSettings
from alignpro.flow.prompters import IdentityPrompter
from alignpro.flow.rollout import rollout
from alignpro.maths import stats
from alignpro.models.local import LocalFrozenModel
from alignpro.types import FloatArray, FrozenModel, Generation, Prompt, Prompter, Reward, RewriteTerms


@dataclass(frozen=True, slots=True)
class Collected:
    """N actions, the prompt each belongs to [N], its reward [N] (nan where it failed), and what sampling took.

    `bonus` [N] is what terms on x' add to the reward in the objective. `columns` are figures of the step for its
    metrics, by name.

    `counts` [N] says how often each was drawn, once where it is None. `from_reference` holds where the reference drew
    them, so that their log-probabilities are the reference's.
    """

    actions: list[Generation]
    groups: npt.NDArray[np.int64]
    rewards: FloatArray
    failures: Counter[str]
    frozen_calls: int
    counts: npt.NDArray[np.int64] | None = None
    from_reference: bool = False
    bonus: FloatArray | float = 0.0
    columns: Mapping[str, float] = field(default_factory=dict)

    @property
    def worth(self) -> FloatArray:
        """What the objective has of each action before KL [N]; nan where the reward or a term on x' failed."""
        return np.asarray(self.rewards + self.bonus)


Collect = Callable[[Sequence[Prompt], int], Collected]
"""(prompts, seed) -> Collected; samples the policy as it stands."""


def prompter_collector(
    prompter: Prompter,
    frozen: FrozenModel,
    reward: Reward,
    settings: TrainSettings,
    prompt_terms: RewriteTerms | None = None,
    guards: Callable[[Prompt, str], str | None] | None = None,
) -> Collect:
    """Experience for the prompter: its action is x', and the frozen model and the reward are its environment. (9)

    B prompts, G rewrites each, K responses each; a rewrite's reward is R(x, x'), the mean over its responses. What
    guards reject is counted, and nothing else becomes of it.
    """

    def collect(prompts: Sequence[Prompt], seed: int) -> Collected:
        sampled = rollout(
            prompts,
            prompter,
            frozen,
            reward,
            rewrites=settings.rewrites,
            responses=settings.responses,
            seed=seed,
            prompt_terms=prompt_terms,
        )
        return Collected(
            actions=[rewrite for row in sampled.rewrites for rewrite in row],
            groups=np.repeat(np.arange(len(prompts)), settings.rewrites),
            rewards=stats.mean_over_responses(sampled.rewards).ravel(),
            failures=sampled.failures,
            frozen_calls=sampled.frozen_calls,
            bonus=np.ravel(sampled.bonus) if prompt_terms else 0.0,
            columns=_columns(sampled.parts, sampled.prompt_terms) | _rejected(prompts, sampled.rewrites, guards),
        )

    return collect


def oracle_collector(policy: LocalFrozenModel, reward: Reward, settings: TrainSettings) -> Collect:
    """Experience for RLHF, the oracle: the frozen model's own copy is the policy and its action is y. (2)

    B prompts as they are, `rewrites` times `responses` answers each.
    """
    count = settings.rewrites * settings.responses

    def collect(prompts: Sequence[Prompt], seed: int) -> Collected:
        sampled = rollout(prompts, IdentityPrompter(), policy, reward, responses=count, seed=seed)
        return Collected(
            actions=[response for row in sampled.responses for response in row[0]],
            groups=np.repeat(np.arange(len(prompts)), count),
            rewards=sampled.rewards.ravel(),
            failures=sampled.failures,
            frozen_calls=sampled.frozen_calls,
            columns=_columns(sampled.parts, {}),
        )

    return collect


def _rejected(
    prompts: Sequence[Prompt],
    rewrites: Sequence[Sequence[Generation]],
    guards: Callable[[Prompt, str], str | None] | None,
) -> dict[str, float]:
    """Share of the rewrites that guards reject."""
    if guards is None:
        return {}
    written = Counter((x, g.text) for x, row in zip(prompts, rewrites, strict=True) for g in row if not g.failure)
    rejected = sum(count for (x, text), count in written.items() if guards(x, text))
    return {"rejected": rejected / written.total() if written else math.nan}


def _columns(parts: Mapping[str, FloatArray], prompt_terms: Mapping[str, FloatArray]) -> dict[str, float]:
    """Raw mean of every term of the reward, and of every term on x'; nan where all failed."""
    named = {f"reward.{name}": values for name, values in parts.items()}
    named |= {f"prompt_term.{name}": values for name, values in prompt_terms.items()}
    return {name: float(stats.mean(values.reshape(1, -1))) for name, values in named.items()}
