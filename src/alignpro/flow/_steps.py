"""The steps that both engines of the flow take: what to ask, whose answer is whose, scores, and the whole."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np

from alignpro.types import FloatArray, Generation, Prompt, Reward, RewriteTerms, Rollout

Answers = Sequence[tuple[tuple[Generation, ...], ...]]
"""[B][G][K]."""


@dataclass(frozen=True, slots=True)
class Scored:
    """Rewards [B, G, K], the parts of a composite reward in that shape by name, and reasons of failure."""

    rewards: FloatArray
    parts: Mapping[str, FloatArray]
    failures: Counter[str]


def needed_answers(
    prompts: Sequence[Prompt], rewrites: Sequence[Sequence[Generation]], responses: int
) -> Counter[Prompt]:
    """How many responses each different rewrite needs, where what stands before it is the same."""
    needed: Counter[Prompt] = Counter()
    for prompt, row in zip(prompts, rewrites, strict=True):
        for rewrite in row:
            if rewrite.failure is None:
                needed[prompt.asking(rewrite.text)] += responses
    return needed


def deal(
    prompts: Sequence[Prompt],
    rewrites: Sequence[Sequence[Generation]],
    needed: Counter[Prompt],
    pools: Sequence[Sequence[Generation]],
    responses: int,
) -> tuple[tuple[tuple[Generation, ...], ...], ...]:
    """Responses of each rewrite [B][G][K]: its own from the pool of what was asked; its failure where it has one.

    `pools` are responses to what `needed` holds, in its order.
    """
    left = {asked: iter(row) for asked, row in zip(needed, pools, strict=True)}
    return tuple(
        tuple(
            tuple(islice(left[prompt.asking(rewrite.text)], responses))
            if rewrite.failure is None
            else (Generation("", failure=rewrite.failure),) * responses
            for rewrite in row
        )
        for prompt, row in zip(prompts, rewrites, strict=True)
    )


def score_answers(prompts: Sequence[Prompt], answers: Answers, reward: Reward) -> Scored:
    """Rewards and a composite reward's parts, nan where anything failed, and the reasons."""
    width = len(answers[0]) if answers else 0
    rewards = np.full((len(prompts), width, len(answers[0][0]) if width else 0), np.nan)
    parts: dict[str, FloatArray] = {}
    failures: Counter[str] = Counter()
    where: list[tuple[int, int, int]] = []
    for b, g, k in np.ndindex(rewards.shape):
        failure = answers[b][g][k].failure
        if failure is None:
            where.append((b, g, k))
        else:
            failures[failure] += 1
    if where:
        scored = reward.score([prompts[b] for b, _, _ in where], [answers[b][g][k].response for b, g, k in where])
        for index, value, reason in zip(where, scored.values, scored.reasons, strict=True):
            rewards[index] = value
            if reason is not None:
                failures[reason] += 1
        for name, values in scored.parts.items():
            parts[name] = np.full(rewards.shape, np.nan)
            parts[name][tuple(np.transpose(where))] = values
    return Scored(rewards, parts, failures)


def joined(scores: Sequence[Scored], shape: tuple[int, ...]) -> Scored:
    """The scores of all prompts [B, G, K] from those of some at a time."""
    if not scores:
        return Scored(np.full(shape, np.nan), {}, Counter())
    names = dict.fromkeys(name for score in scores for name in score.parts)
    return Scored(
        np.concatenate([score.rewards for score in scores]),
        {name: np.concatenate([s.parts.get(name, np.full(s.rewards.shape, np.nan)) for s in scores]) for name in names},
        sum((score.failures for score in scores), Counter[str]()),
    )


def assembled(
    prompts: Sequence[Prompt],
    rewrites: Sequence[Sequence[Generation]],
    answers: Answers,
    scored: Scored,
    frozen_calls: int,
    prompt_terms: RewriteTerms | None,
) -> Rollout:
    """The rollout, with terms on x' measured and their failures counted."""
    terms, bonus, unmeasured = _rewrite_terms(prompts, rewrites, prompt_terms)
    failures = scored.failures
    for (b, g), reason in unmeasured.items():
        failures[reason] += int(np.isfinite(scored.rewards[b, g]).sum())
    return Rollout(
        prompts=tuple(prompts),
        rewrites=tuple(tuple(row) for row in rewrites),
        responses=tuple(answers),
        rewards=scored.rewards,
        failures=failures,
        frozen_calls=frozen_calls,
        parts=scored.parts,
        prompt_terms=terms,
        bonus=bonus,
    )


def _rewrite_terms(
    prompts: Sequence[Prompt], rewrites: Sequence[Sequence[Generation]], terms: RewriteTerms | None
) -> tuple[dict[str, FloatArray], FloatArray | float, dict[tuple[int, int], str]]:
    """Terms on every rewrite that did not fail [B, G] by name, their weighted sum, and where and why one is missing."""
    if terms is None:
        return {}, 0.0, {}
    shape = (len(prompts), len(rewrites[0]) if rewrites else 0)
    where = [(b, g) for b, g in np.ndindex(shape) if rewrites[b][g].failure is None]
    measured = terms.score([prompts[b] for b, _ in where], [rewrites[b][g].text for b, g in where])
    at = tuple(np.array(where, dtype=np.int64).reshape(-1, 2).T)

    def placed(values: FloatArray) -> FloatArray:
        table = np.full(shape, np.nan)
        table[at] = values
        return table

    missing = {index: reason for index, reason in zip(where, measured.reasons, strict=True) if reason is not None}
    return {name: placed(values) for name, values in measured.parts.items()}, placed(measured.total), missing
