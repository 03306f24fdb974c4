"""Intervals of a variance and its parts, and of means over all comparisons."""

import numpy as np
import pytest
from scipy import stats as scipy_stats

from alignpro.maths import stats
from alignpro.maths.variance_intervals import VarianceIntervals, variance_intervals

NAMES = ("total", "between", "within")


def normal(rng, prompts):
    return rng.normal(size=(prompts, 1)) + rng.normal(size=(prompts, 4))


def skewed(rng, prompts):
    noise = np.sqrt(rng.exponential(size=(prompts, 1)))
    return rng.exponential(size=(prompts, 1)) + noise * rng.normal(size=(prompts, 4))


@pytest.mark.parametrize(
    ("draw", "prompts", "least"),
    [(normal, 100, (0.9, 0.9, 0.92)), (normal, 12, (0.86, 0.8, 0.89)), (skewed, 100, (0.86, 0.83, 0.88))],
)
def test_intervals_cover_the_truth_within_a_stated_band(draw, prompts, least):
    rng, hits, trials = np.random.default_rng(0), np.zeros(3), 200
    for trial in range(trials):
        found = variance_intervals(draw(rng, prompts), 200, trial)
        for i, (name, truth) in enumerate(zip(NAMES, (2.0, 1.0, 1.0), strict=True)):
            low, high = getattr(found, name)
            hits[i] += low <= truth <= high
    assert (hits / trials >= least).all(), hits / trials
    assert (hits / trials <= 0.985).all(), hits / trials


def test_with_one_response_each_nothing_is_within_and_with_all_equal_there_is_a_point():
    assert np.isnan(variance_intervals(np.arange(40.0)[:, None], 200, 0).total).all()
    assert np.isnan(variance_intervals(np.array([[1.0, 2.0]]), 200, 0).total).all()
    assert np.isnan(variance_intervals(np.full((9, 3), np.nan), 200, 0).within).all()
    equal = variance_intervals(np.full((50, 3), 4.0), 200, 0)
    assert equal == VarianceIntervals((0.0, 0.0), (0.0, 0.0), (0.0, 0.0))


def test_standard_errors_are_those_of_leaving_each_prompt_out():
    """Below 30 prompts the interval of `within` is centred on its logarithm, and its width tells the error."""
    rng = np.random.default_rng(4)
    rewards = rng.normal(size=(25, 5))
    low, high = variance_intervals(rewards, 100, 0).within
    value = stats.variance(rewards).within
    assert np.sqrt(low * high) == pytest.approx(value)
    left_out = [stats.variance(np.delete(rewards, b, axis=0)).within for b in range(25)]
    error = np.sqrt(24 / 25 * np.sum((np.array(left_out) - np.mean(left_out)) ** 2))
    quantile = scipy_stats.t.ppf(0.975, 24)
    assert np.log(high / low) / (2 * quantile) * value == pytest.approx(error, rel=1e-3)


@pytest.mark.parametrize("prompts", [8, 40])
def test_shifting_changes_nothing_scaling_scales_and_failed_samples_are_left_out(prompts):
    rewards = skewed(np.random.default_rng(1), prompts)
    rewards[0, 1:] = rewards[1] = rewards[2, 0] = np.nan
    found = variance_intervals(rewards, 300, 5)
    moved = variance_intervals(3 * rewards + 7, 300, 5)
    alone = variance_intervals(np.delete(rewards, 1, axis=0), 300, 5)
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
        rewards -= rewards.mean(1, keepdims=True)  # less than no part between: an estimate below 0
        found, parts = variance_intervals(rewards, 200, seed), stats.variance(rewards)
        assert parts.between == 0
        for name in NAMES:
            low, high = getattr(found, name)
            assert low - 1e-12 <= getattr(parts, name) <= high + 1e-12


def test_memory_is_bounded_without_changing_the_interval(monkeypatch):
    rewards = normal(np.random.default_rng(2), 60)
    whole = variance_intervals(rewards, 200, 3)
    monkeypatch.setattr("alignpro.maths.variance_intervals.AT_ONCE", 60 * 7)
    pieces = variance_intervals(rewards, 200, 3)
    for name in NAMES:
        assert getattr(pieces, name) == pytest.approx(getattr(whole, name), rel=1e-9)


def test_a_pooled_mean_counts_every_value_once_and_its_interval_holds_prompts_together():
    rng, hits, trials = np.random.default_rng(3), 0, 300
    for trial in range(trials):
        size = rng.integers(1, 5, 60)
        prompts = np.repeat(np.arange(60), size)
        agreed = (rng.random(len(prompts)) < rng.beta(6, 2, 60)[prompts]).astype(float)
        agreed[rng.random(len(prompts)) < 0.2] = np.nan  # equal answers say nothing of order
        value, (low, high) = stats.pooled(agreed, prompts, 200, trial)
        assert value == np.nanmean(agreed)
        hits += low <= 0.75 <= high
    assert 0.9 <= hits / trials <= 0.985
    values, prompts = rng.normal(size=20), np.arange(20)
    alone = stats.pooled(values, prompts, 300, 1)
    repeated = stats.pooled(np.repeat(values, 30), np.repeat(prompts, 30), 300, 1)
    assert repeated[1] == pytest.approx(alone[1])
    assert np.isnan([*stats.pooled(np.array([np.nan]), np.array([0]), 100, 0)[1]]).all()
