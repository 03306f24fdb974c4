"""Win rates at equal length."""

import numpy as np
import pytest
from scipy.optimize import minimize

from alignpro.maths.length_control import length_controlled


def world(seed, prompts=60, each=3, intercept=0.4, slope=1.0, lean=1.0):
    """Verdicts of a judge who likes length, on answers that are longer by `lean` deviations."""
    rng = np.random.default_rng(seed)
    which = np.repeat(np.arange(prompts), each)
    z = rng.normal(lean, 1, prompts * each)
    won = rng.random(len(z)) < 1 / (1 + np.exp(-(intercept + slope * z)))
    return won.astype(float), 30 * z, which


def truth(intercept=0.4):
    return 1 / (1 + np.exp(-intercept))


def test_the_fit_is_that_of_a_general_minimiser():
    points, d, which = world(0)
    points[::7] = 0.5
    z = d / d.std()

    def loss(b):
        u = b[0] + b[1] * z
        return (np.logaddexp(0, u) - points * u).sum() / 3 + b[1] ** 2 / 50

    fitted = minimize(loss, np.zeros(2), tol=1e-12).x
    found = length_controlled(points, d, which)
    assert found.win_rate == pytest.approx(1 / (1 + np.exp(-fitted[0])), abs=1e-5)


def test_intervals_cover_the_truth_as_often_as_they_say():
    inside, worlds = 0, 200
    for seed in range(worlds):
        low, high = length_controlled(*world(seed)).ci95
        inside += low <= truth() <= high
    assert 0.90 <= inside / worlds <= 0.99


def test_a_judge_of_length_alone_is_seen_through():
    rng = np.random.default_rng(0)
    d = rng.normal(40, 30, 400)
    won = (d > 0).astype(float)
    found = length_controlled(won, d, np.arange(400))
    assert won.mean() > 0.85
    assert found.ci95[0] < 0.5 < found.ci95[1]


def test_length_that_does_not_matter_changes_nothing():
    rng = np.random.default_rng(0)
    won, d, which = (rng.random(900) < 0.7).astype(float), rng.normal(0, 5, 900), np.repeat(np.arange(300), 3)
    assert length_controlled(won, d, which).win_rate == pytest.approx(won.mean(), abs=0.01)


def test_units_and_order_do_not_matter_and_unread_verdicts_are_left_out():
    points, d, which = world(3)
    base = length_controlled(points, d, which)
    scaled = length_controlled(points, 1000 * d, which)
    assert (scaled.win_rate, *scaled.ci95) == pytest.approx((base.win_rate, *base.ci95))
    order = np.random.default_rng(0).permutation(len(d))
    shuffled = length_controlled(points[order], d[order], which[order])
    assert (shuffled.win_rate, *shuffled.ci95) == pytest.approx((base.win_rate, *base.ci95))
    more = [np.append(x, y) for x, y in ((points, [np.nan] * 2), (d, [9e9, -9e9]), (which, [0, 99]))]
    assert length_controlled(more[0], more[1], more[2].astype(int)) == base


def test_every_prompt_has_the_same_weight():
    points, d, which = world(4)
    again = [np.concatenate([x, x[which == 0]]) for x in (points, d, which)]
    scale = d.std() / again[1].std()  # the deviation alone moves, and with it the prior by a hair
    found, base = (length_controlled(*x).win_rate for x in (again, (points, d, which)))
    assert scale == pytest.approx(1, abs=0.05)
    assert found == pytest.approx(base, abs=2e-3)


@pytest.mark.parametrize("outcome", [1.0, 0.0, 0.5])
def test_verdicts_that_are_all_the_same_are_the_rate_and_no_certainty(outcome):
    d = np.random.default_rng(0).normal(0, 5, 90)
    found = length_controlled(np.full(90, outcome), d, np.repeat(np.arange(30), 3))
    assert found.win_rate == pytest.approx(outcome, abs=1e-4)
    assert found.ci95[0] - 1e-4 <= outcome <= found.ci95[1] + 1e-4
    assert 0.05 < np.ptp(found.ci95) < 0.15


def test_lengths_that_tell_wins_from_losses_give_a_finite_rate():
    d = np.array([5.0, 6, 7, -3, -4, -9, 8, -2])
    found = length_controlled((d > 0).astype(float), d, np.arange(8))
    assert 0.2 < found.win_rate < 0.8
    assert np.isfinite(found.ci95).all()


def test_what_cannot_be_told_is_withheld_with_the_reason():
    for points, d, which, why in (
        ([1.0, 0], [3.0, 3], [0, 1], "difference in length is the same"),
        ([1.0, 0], [0.0, 0], [0, 1], "difference in length is the same"),
        ([1.0, 0], [3.0, 4], [0, 0], "fewer than two prompts"),
        ([np.nan], [3.0], [0], "fewer than two prompts"),
        ([], [], [], "fewer than two prompts"),
    ):
        found = length_controlled(np.array(points), np.array(d), np.array(which, dtype=int))
        assert np.isnan([found.win_rate, *found.ci95]).all()
        assert why in found.withheld
