"""Intervals of a variance and its parts, and of means over all comparisons."""

import numpy as np
import pytest

from alignpro.maths import stats
from alignpro.maths.stats import Withheld
from alignpro.maths.variance_intervals import variance_intervals

NAMES = ("total", "between", "within")


def normal(rng, prompts):
    return rng.normal(size=(prompts, 1)) + rng.normal(size=(prompts, 4))


def skewed(rng, prompts):
    noise = np.sqrt(rng.exponential(size=(prompts, 1)))
    return rng.exponential(size=(prompts, 1)) + noise * rng.normal(size=(prompts, 4))


@pytest.mark.parametrize("draw", [normal, skewed])
@pytest.mark.parametrize("prompts", [5, 12, 100])
def test_intervals_cover_the_truth(draw, prompts):
    rng, hits, trials = np.random.default_rng(0), np.zeros(3), 600
    for _ in range(trials):
        found = variance_intervals(draw(rng, prompts))
        for i, (name, truth) in enumerate(zip(NAMES, (2.0, 1.0, 1.0), strict=True)):
            low, high = getattr(found, name)
            hits[i] += low <= truth <= high
    assert (hits / trials >= 0.925).all(), hits / trials  # 93.5% less one standard error
    assert (hits / trials <= 0.99).all(), hits / trials


def test_what_cannot_be_told_is_withheld_with_its_reason():
    rng = np.random.default_rng(0)

    def reasons(rewards):
        found = variance_intervals(np.asarray(rewards, dtype=float))
        told = [getattr(found, name) for name in NAMES]
        return [one.why if isinstance(one, Withheld) else "" for one in told]

    assert reasons(np.arange(40.0)[:, None]) == ["one answer a prompt"] * 3
    assert reasons(rng.normal(size=(4, 3))) == ["under 5 prompts"] * 3
    assert reasons(np.full((9, 3), np.nan)) == ["under 5 prompts"] * 3
    assert reasons(np.full((50, 3), 4.0)) == ["all prompts alike"] * 3
    assert reasons(np.repeat([[1.0], [2], [2], [2], [2], [2]], 3, axis=1))[:2] == ["all prompts but one alike"] * 2
    assert reasons(np.repeat(rng.normal(size=(9, 1)), 3, axis=1)) == ["", "", "all prompts alike"]


def test_the_interval_is_that_of_the_jackknifes_pseudo_values():
    rewards = np.random.default_rng(4).normal(size=(25, 5))
    whole = np.log(stats.variance(rewards).within)
    left_out = np.log([stats.variance(np.delete(rewards, b, axis=0)).within for b in range(25)])
    assert np.log(variance_intervals(rewards).within) == pytest.approx(stats.mean_interval(25 * whole - 24 * left_out))


@pytest.mark.parametrize("prompts", [8, 40])
def test_shifting_changes_nothing_scaling_scales_and_failed_samples_are_left_out(prompts):
    rewards = skewed(np.random.default_rng(1), prompts)
    rewards[0, 1:] = rewards[1] = rewards[2, 0] = np.nan
    found = variance_intervals(rewards)
    moved = variance_intervals(3 * rewards + 7)
    alone = variance_intervals(np.delete(rewards, 1, axis=0))
    parts = stats.variance(rewards)
    for name in NAMES:
        low, high = getattr(found, name)
        assert low - 1e-12 <= getattr(parts, name) <= high + 1e-12
        assert low < high
        assert getattr(moved, name) == pytest.approx((9 * low, 9 * high))
        assert getattr(alone, name) == (low, high)


def test_a_value_lies_in_its_interval_where_no_part_is_between_prompts():
    for seed in range(40):
        rewards = np.random.default_rng(seed).normal(size=(30, 3))
        rewards -= 0.9 * rewards.mean(1, keepdims=True)  # less than no part between: an estimate below 0
        found, parts = variance_intervals(rewards), stats.variance(rewards)
        assert parts.between == 0
        for name in NAMES:
            low, high = getattr(found, name)
            assert low - 1e-12 <= getattr(parts, name) <= high + 1e-12


def test_a_pooled_mean_counts_every_value_once_and_its_interval_holds_prompts_together():
    rng, hits, trials = np.random.default_rng(3), 0, 300
    for _trial in range(trials):
        size = rng.integers(1, 5, 60)
        prompts = np.repeat(np.arange(60), size)
        agreed = (rng.random(len(prompts)) < rng.beta(6, 2, 60)[prompts]).astype(float)
        agreed[rng.random(len(prompts)) < 0.2] = np.nan  # equal answers say nothing of order
        value, (low, high) = stats.pooled(agreed, prompts)
        assert value == np.nanmean(agreed)
        hits += low <= 0.75 <= high
    assert 0.9 <= hits / trials <= 0.985
    values, prompts = rng.normal(size=20), np.arange(20)
    alone = stats.pooled(values, prompts)
    repeated = stats.pooled(np.repeat(values, 30), np.repeat(prompts, 30))
    assert repeated[1] == pytest.approx(alone[1])
    assert np.isnan([*stats.pooled(np.array([np.nan]), np.array([0]))[1]]).all()
