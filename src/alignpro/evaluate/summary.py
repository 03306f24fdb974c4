"""From arms to `evaluation.json`: means, intervals, variances, paired differences."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from alignpro.config import GUARDS
from alignpro.evaluate.arms.pairing import pairs
from alignpro.evaluate.sampling import ArmResult
from alignpro.maths import lengths, stats
from alignpro.maths.shares import is_earned_share, is_share, share_difference, share_interval
from alignpro.maths.variance_intervals import variance_intervals
from alignpro.results import SHARE, Arm, Cost, Difference, Estimate, Evaluation, Group, Mean, SecondReward
from alignpro.rewards.guards import Guards
from alignpro.types import FloatArray, Generation, Prompt

REWARD, SECOND = " reward", " second reward"
"""Names beside those of terms, which do not begin with a space."""


def summarise(
    arms: Sequence[ArmResult],
    reward: str,
    second_reward: str | None,
    training_prompts: float = math.nan,
    guards: Guards | None = None,
    by: str | None = None,
) -> Evaluation:
    """What evaluation.json holds but for its win rates, with `differences` (paired, over prompts) and each arm's
    `second_reward` besides; where the reward has terms, and where there are terms on x', each arm's means of them; and
    what `guards` reject of its rewrites.

    Every interval is of 95%, over prompts: Student's t, widened for skew, for means, differences and KL. Rewards that
    are 0 or 1 in all arms are shares, their `kind` says so, and their intervals and those of their differences are
    those of shares. `by` names a column of the prompts' rows: `groups` hold the arms by its values besides.
    """
    kinds = _kinds(arms)
    differences = []
    for a, b in pairs(arms):
        differences.append(_difference(a.name, b.name, reward, a.rewards, b.rewards, kinds[REWARD]))
        first, second = a.second_rewards, b.second_rewards
        if second_reward is not None and first is not None and second is not None:
            differences.append(_difference(a.name, b.name, second_reward, first, second, kinds[SECOND]))
    return Evaluation(
        reward=reward,
        second_reward=second_reward,
        prompts=len(arms[0].prompts) if arms else 0,
        responses_per_prompt=len(arms[0].responses[0]) if arms and arms[0].responses else 0,
        training_prompts=training_prompts,
        arms={arm.name: _arm(arm, second_reward, kinds, guards) for arm in arms},
        differences=tuple(differences),
        win_rates=(),
        groups=tuple(_groups(arms, by, kinds[REWARD])) if by and arms else (),
        cost=Cost(frozen_calls=sum(arm.frozen_calls for arm in arms)),
    )


def _kinds(arms: Sequence[ArmResult]) -> dict[str, str]:
    """The kind of the reward, of the second, and of each of the reward's terms by its name, over all arms.

    A term that is 0 everywhere may be a penalty that nothing incurred: some 1 is wanted of it.
    """
    second = [arm.second_rewards for arm in arms if arm.second_rewards is not None]
    kinds = {REWARD: is_share(*(arm.rewards for arm in arms)), SECOND: is_share(*second)}
    for name in {name for arm in arms for name in arm.parts}:
        parts = [arm.parts[name] for arm in arms if name in arm.parts]
        kinds[name] = is_earned_share(*parts)
    return {name: SHARE if share else "" for name, share in kinds.items()}


def _arm(arm: ArmResult, second_reward: str | None, kinds: Mapping[str, str], guards: Guards | None) -> Arm:
    parts, around = stats.variance(arm.rewards), variance_intervals(arm.rewards)
    bonus = arm.bonus if arm.prompt_terms else None
    rejected, by_guard = _rejected(arm, guards)
    second = None
    if second_reward is not None and arm.second_rewards is not None:
        theirs = variance_intervals(arm.second_rewards)
        second = SecondReward(
            mean=_mean(arm.second_rewards, kinds[SECOND]),
            kind=kinds[SECOND],
            variance=Estimate.of(stats.variance(arm.second_rewards).total, theirs.total),
        )
    return Arm(
        name=arm.name,
        kind=kinds[REWARD],
        reward=_mean(arm.rewards, kinds[REWARD]),
        variance=Estimate.of(parts.total, around.total),
        variance_between=Estimate.of(parts.between, around.between),
        variance_within=Estimate.of(parts.within, around.within),
        kl=None if arm.kl is None else _kl(arm.kl),
        frozen_calls=arm.frozen_calls,
        failed=sum(arm.failures.values()),
        failures=dict(arm.failures),
        reward_terms=_terms(arm.parts, kinds),
        prompt_terms={} if bonus is None else _terms(arm.prompt_terms, {}),
        prompt_bonus=None if bonus is None else _mean(bonus),
        second_reward=second,
        response_words=_mean(words(arm.responses)),
        template=arm.template,
        rejected=rejected,
        rejected_by=by_guard,
        rewrite_words=_mean(words(arm.rewrites)) if _rewrites(arm) else None,
    )


def words(rows: Sequence[Sequence[Generation]]) -> FloatArray:
    """Length of each text in words [B, K], counted as between two arms by their judge; nan where it failed."""
    return np.array([[np.nan if g.failure else float(lengths.words(g.text)) for g in row] for row in rows])


def _rewrites(arm: ArmResult) -> bool:
    """Whether the arm has rewrites of its own: prompts that go on as they are were given, not written."""
    return any(g.finish != "given" for row in arm.rewrites for g in row)


def _rejected(arm: ArmResult, guards: Guards | None) -> tuple[Estimate | None, dict[str, float]]:
    """Share of the arm's rewrites that guards reject, and how many each of them does; None where none is written."""
    if guards is None or all(g.text == x.text for x, row in zip(arm.prompts, arm.rewrites, strict=True) for g in row):
        return None, {}
    known = {(x, g.text): () if g.failure else tuple(guards.rejecting(x, g.text)) for x, g in _pairs(arm)}
    rejected = [
        [math.nan if g.failure else float(bool(known[x, g.text])) for g in row]
        for x, row in zip(arm.prompts, arm.rewrites, strict=True)
    ]
    counts = Counter(name for x, g in _pairs(arm) if not g.failure for name in known[x, g.text])
    return _mean(np.array(rejected), SHARE), {name: float(counts[name]) for name in GUARDS if counts[name]}


def _pairs(arm: ArmResult) -> Iterator[tuple[Prompt, Generation]]:
    return ((x, g) for x, row in zip(arm.prompts, arm.rewrites, strict=True) for g in row)


def _mean(values: FloatArray, kind: str = "") -> Estimate:
    """Mean over prompts of [B, K]."""
    interval = share_interval(values) if kind == SHARE else stats.mean_interval(stats.prompt_means(values))
    return Estimate.of(stats.mean(values), interval)


def _kl(values: FloatArray) -> Estimate:
    if (values == 0).all():  # the reference itself
        return Estimate(0.0, 0.0, 0.0)
    return Estimate.of(stats.mean(values), stats.mean_interval(stats.prompt_means(values)))


def _terms(parts: Mapping[str, FloatArray], kinds: Mapping[str, str]) -> dict[str, Mean]:
    """Mean raw score of each term, with its interval."""
    return {
        name: Mean(mean=_mean(values, kinds.get(name, "")), kind=kinds.get(name, "")) for name, values in parts.items()
    }


def _groups(arms: Sequence[ArmResult], by: str, kind: str) -> Iterator[Group]:
    """Each arm on the prompts of each value of the column, in the values' order, the arms in theirs."""
    values = [str(prompt.row.get(by, "")) for prompt in arms[0].prompts]
    for value in sorted(set(values)):
        places = [place for place, one in enumerate(values) if one == value]
        first = arms[0].rewards[places]
        for arm in arms:
            rewards = arm.rewards[places]
            gain = None if arm is arms[0] else _paired(rewards, first, kind)
            mean = _mean(rewards, kind)
            yield Group(by=by, group=value, prompts=len(places), arm=arm.name, kind=kind, reward=mean, gain=gain)


def _difference(a: str, b: str, reward: str, first: FloatArray, second: FloatArray, kind: str) -> Difference:
    return Difference(a=a, b=b, reward=reward, kind=kind, mean=_paired(first, second, kind))


def _paired(first: FloatArray, second: FloatArray, kind: str) -> Estimate:
    """Mean of `first` minus mean of `second`, paired by prompt."""
    value, interval = share_difference(first, second) if kind == SHARE else stats.paired_difference(first, second)
    return Estimate.of(value, interval)
