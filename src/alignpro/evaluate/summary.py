"""From arms to `evaluation.json`: means, intervals, variances, paired differences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from alignpro.evaluate.arms.pairing import pairs
from alignpro.evaluate.sampling import ArmResult
from alignpro.maths import stats
from alignpro.maths.variance_intervals import variance_intervals
from alignpro.rng import derive
from alignpro.types import FloatArray

SCHEMA = 1


def summarise(
    arms: Sequence[ArmResult], reward: str, second_reward: str | None, draws: int, seed: int
) -> dict[str, Any]:
    """The contract of design.md but for its win rates, with `differences` (paired, over prompts) and each arm's
    `second_reward` besides; where the reward has terms, and where there are terms on x', each arm's means of them.

    Every interval is a 95% bootstrap over prompts: of percentiles for means, studentised for variances and KL, which
    are skewed.
    """
    differences = []
    for a, b in pairs(arms):
        differences.append(_difference(a.name, b.name, reward, a.rewards, b.rewards, draws, seed))
        first, second = a.second_rewards, b.second_rewards
        if second_reward is not None and first is not None and second is not None:
            differences.append(_difference(a.name, b.name, second_reward, first, second, draws, seed))
    return {
        "schema": SCHEMA,
        "reward": reward,
        "second_reward": second_reward,
        "prompts": len(arms[0].prompts) if arms else 0,
        "responses_per_prompt": len(arms[0].responses[0]) if arms and arms[0].responses else 0,
        "arms": {arm.name: _arm(arm, second_reward, draws, seed) for arm in arms},
        "differences": differences,
        "win_rates": [],
        "cost": {"frozen_calls": sum(arm.frozen_calls for arm in arms)},
    }


def _arm(arm: ArmResult, second_reward: str | None, draws: int, seed: int) -> dict[str, Any]:
    parts, around = stats.variance(arm.rewards), variance_intervals(arm.rewards, draws, derive(seed, "variance"))
    figures: dict[str, Any] = {
        "mean_reward": stats.mean(arm.rewards),
        "ci95": list(stats.mean_interval(stats.prompt_means(arm.rewards), draws, derive(seed, "mean"))),
        "reward_variance": parts.total,
        "reward_variance_ci95": list(around.total),
        "variance_between_prompts": parts.between,
        "variance_between_prompts_ci95": list(around.between),
        "variance_within_prompts": parts.within,
        "variance_within_prompts_ci95": list(around.within),
        "kl_to_reference": None if arm.kl is None else stats.mean(arm.kl),
        "kl_to_reference_ci95": None
        if arm.kl is None
        else list(stats.studentised_interval(stats.prompt_means(arm.kl), draws, derive(seed, "kl"))),
        "frozen_calls": arm.frozen_calls,
        "failed": sum(arm.failures.values()),
    }
    if arm.failures:
        figures["failures"] = dict(arm.failures)
    if arm.parts:
        figures["reward_terms"] = _terms(arm.parts, draws, seed)
    if arm.prompt_terms and arm.bonus is not None:
        figures["prompt_terms"] = _terms(arm.prompt_terms, draws, seed)
        figures["prompt_bonus"] = stats.mean(arm.bonus)
        bonus = stats.prompt_means(arm.bonus)
        figures["prompt_bonus_ci95"] = list(stats.mean_interval(bonus, draws, derive(seed, "mean")))
    figures["second_reward"] = None
    if second_reward is not None and arm.second_rewards is not None:
        figures["second_reward"] = {
            "mean": stats.mean(arm.second_rewards),
            "ci95": list(stats.mean_interval(stats.prompt_means(arm.second_rewards), draws, derive(seed, "mean"))),
            "variance": stats.variance(arm.second_rewards).total,
            "variance_ci95": list(variance_intervals(arm.second_rewards, draws, derive(seed, "variance")).total),
        }
    return figures


def _terms(parts: Mapping[str, FloatArray], draws: int, seed: int) -> dict[str, Any]:
    """Mean raw score of each term, with its interval."""
    return {
        name: {
            "mean": stats.mean(values),
            "ci95": list(stats.mean_interval(stats.prompt_means(values), draws, derive(seed, "mean"))),
        }
        for name, values in parts.items()
    }


def _difference(
    a: str, b: str, reward: str, first: FloatArray, second: FloatArray, draws: int, seed: int
) -> dict[str, Any]:
    value, interval = stats.paired_difference(first, second, draws, derive(seed, "difference"))
    return {"a": a, "b": b, "reward": reward, "mean_difference": value, "ci95": list(interval)}
