"""Intervals of shares and of their paired differences: exact where exact ones exist, and covering the truth."""

import runpy
from pathlib import Path

import numpy as np
import pytest
from scipy import optimize
from scipy import stats as scipy_stats

from alignpro.maths import stats
from alignpro.maths.shares import is_share, share_difference, share_interval

SIMULATED = runpy.run_path(str(Path(__file__).parents[2] / "benchmarks" / "share_intervals.py"))


def column(right, prompts):
    return (np.arange(prompts) < right).astype(float)[:, None]


def pairs(up, down, prompts):
    """Two arms that differ on `up` and `down` of the prompts."""
    return column(up, prompts), np.roll(column(down, prompts), up, axis=0)


@pytest.mark.parametrize("prompts", [2, 30, 300])
@pytest.mark.parametrize("part", [0.0, 0.01, 0.3, 0.5, 1.0])
def test_of_one_answer_each_the_interval_is_that_of_clopper_and_pearson(prompts, part):
    right = round(part * prompts)
    exact = scipy_stats.binomtest(right, prompts).proportion_ci(method="exact")
    assert share_interval(column(right, prompts)) == pytest.approx((exact.low, exact.high), abs=2e-6)


@pytest.mark.parametrize(("up", "down", "prompts"), [(0, 0, 30), (4, 0, 30), (7, 2, 30), (3, 9, 12), (40, 20, 300)])
def test_the_ends_of_a_difference_are_where_its_score_test_turns(up, down, prompts):
    """Tango's test, its restricted estimate found by maximising the likelihood."""

    def statistic(difference):
        def loss(low):
            chances = np.array([low + difference, low, 1 - 2 * low - difference])
            return -float(np.array([up, down, prompts - up - down]) @ np.log(np.maximum(chances, 1e-12)))

        ends = (max(0.0, -difference), (1 - difference) / 2)
        low = optimize.minimize_scalar(loss, bounds=ends, method="bounded", options={"xatol": 1e-12}).x
        return (up - down - prompts * difference) / np.sqrt(prompts * (2 * low + difference - difference**2))

    value, (low, high) = share_difference(*pairs(up, down, prompts))
    assert value == pytest.approx((up - down) / prompts)
    turn = scipy_stats.t.ppf(0.975, prompts - 1)
    assert statistic(low) == pytest.approx(turn, rel=2e-3)
    assert statistic(high) == pytest.approx(-turn, rel=2e-3)


def test_a_difference_is_hardly_wider_than_exact_intervals_of_all_outcomes():
    """Those of an unconditional test that goes through every share of the pairs that differ."""
    for prompts, most in ((12, 1.2), (30, 1.1)):
        widest, mean = SIMULATED["widest_beside_exact"](prompts)
        assert 0.95 < mean < widest < most


@pytest.mark.parametrize("prompts", [30, 300])
@pytest.mark.parametrize("design", [(1, 0.3), (4, 0.3), (4, 0.8)])
@pytest.mark.parametrize("shares", [(0.01,), (0.5,), (0.98,), (0.01, 0.01), (0.5, 0.5), (0.98, 0.9)])
def test_intervals_hold_the_truth_as_often_as_they_say(shares, prompts, design):
    """300 worlds a cell: of intervals that cover 95%, two cells in a thousand would fall under 91%."""
    rng, truth = np.random.default_rng(5), shares[0] - sum(shares[1:])
    bounds = np.array([SIMULATED["drawn"](rng, shares, prompts, *design) for _ in range(300)])
    held = (bounds[:, 0] <= truth) & (truth <= bounds[:, 1])
    assert held.mean() >= 0.91


def test_answers_to_one_prompt_count_for_what_they_are_worth():
    rng = np.random.default_rng(1)
    once = (rng.random((60, 1)) < 0.7).astype(float)
    assert share_interval(np.repeat(once, 5, axis=1)) == share_interval(once)  # they say the same
    other = (rng.random((60, 1)) < 0.5).astype(float)
    copies = share_difference(np.repeat(once, 5, axis=1), np.repeat(other, 5, axis=1))
    assert copies == share_difference(once, other)
    free = (rng.random((400, 4)) < 0.7).astype(float)
    low, high = share_interval(free)
    exact = scipy_stats.binomtest(int(free.sum()), free.size).proportion_ci(method="exact")
    assert high - low == pytest.approx(exact.high - exact.low, rel=0.1)
    assert share_interval(np.ones((25, 8))) == share_interval(np.ones((25, 1)))  # nothing tells that they vary


def test_exchanging_right_and_wrong_or_the_arms_mirrors_the_interval():
    rng = np.random.default_rng(2)
    a, b = (rng.random((40, 3)) < 0.8).astype(float), (rng.random((40, 3)) < 0.6).astype(float)
    a[3, 1] = b[7] = np.nan
    low, high = share_interval(a)
    assert share_interval(1 - a) == pytest.approx((1 - high, 1 - low))
    value, (low, high) = share_difference(a, b)
    assert low < value < high
    for mirrored in (share_difference(b, a), share_difference(1 - a, 1 - b)):
        assert mirrored[0] == pytest.approx(-value)
        assert mirrored[1] == pytest.approx((-high, -low))
    order = rng.permutation(40)
    assert share_difference(a[order], b[order])[1] == pytest.approx((low, high))


def test_failed_answers_are_left_out_and_too_few_prompts_have_no_interval():
    answers = np.array([[1.0, 0.0], [1.0, np.nan], [np.nan, np.nan], [0.0, 0.0]])
    assert share_interval(answers) == share_interval(np.delete(answers, 2, axis=0))
    assert np.isnan(share_interval(answers[1:3])).all()
    assert np.isnan(share_interval(np.full((3, 2), np.nan))).all()
    value, interval = share_difference(answers[:1], 1 - answers[:1])
    assert value == 0 and np.isnan(interval).all()
    other = np.array([[0.0, 0.0], [1.0, 1.0], [1.0, 0.0], [np.nan, np.nan]])
    assert share_difference(answers, other) == share_difference(answers[:2], other[:2])
    assert share_difference(answers, other)[0] == stats.paired_difference(answers, other)[0]


@pytest.mark.parametrize("difference", [1, -1])
def test_arms_that_differ_everywhere_differ_by_no_more_than_one(difference):
    value, (low, high) = share_difference(*pairs(*((20, 0) if difference > 0 else (0, 20)), 20))
    assert value == difference
    assert -1 <= low < high <= 1 and difference in (low, high)


def test_only_zeros_and_ones_make_shares_and_something_must_be_there():
    zeros, nothing = np.zeros((3, 2)), np.full((3, 2), np.nan)
    assert is_share(zeros) and is_share(np.array([[1.0, np.nan]]), zeros) and is_share(zeros, nothing)
    assert not is_share() and not is_share(nothing)
    assert not is_share(zeros, np.array([[0.5]])) and not is_share(np.array([[-1.0, 1.0]]))
