import numpy as np
import pytest

from alignpro.maths.confidence_sequences import LEAST, asymptotic, bounded

WORLDS, LOOKS = 60, 2_000
"""A small share of what `benchmarks/anytime.py` tries."""


def held(draw, truth, sequence):
    count = 0
    for world in range(WORLDS):
        lower, upper = sequence(draw(np.random.default_rng(world), LOOKS))
        count += not ((lower > truth) | (upper < truth)).any()
    return count / WORLDS


@pytest.mark.parametrize(
    ("draw", "truth", "sequence"),
    [
        (lambda rng, n: rng.binomial(1, 0.3, n).astype(float), 0.3, lambda x: bounded(x, 0, 1)),
        (lambda rng, n: rng.choice([-1.0, 0, 1], n, p=[0.1, 0.7, 0.2]), 0.1, lambda x: bounded(x, -1, 1)),
        (lambda rng, n: rng.normal(3, 2, n), 3, asymptotic),
        (lambda rng, n: rng.exponential(1, n) - rng.exponential(2, n), -1, asymptotic),
    ],
)
def test_they_hold_at_every_look_together(draw, truth, sequence):
    assert held(draw, truth, sequence) >= 0.9  # 95% less three deviations of 60 worlds is 87%

    def single(values):
        t = np.arange(1, len(values) + 1)
        mean = np.cumsum(values) / t
        half = 1.96 * np.sqrt((np.cumsum(values**2) / t - mean**2) / t)
        half[: LEAST - 1] = np.nan
        return mean - half, mean + half

    assert held(draw, truth, single) < 0.8


def test_a_sequence_does_not_know_what_will_come():
    values = np.random.default_rng(0).random(200)
    for sequence in (lambda x: bounded(x, 0, 1), asymptotic):
        whole, part = sequence(values), sequence(values[:120])
        np.testing.assert_allclose(np.array(whole)[:, :120], np.array(part))


def test_bounded_ones_never_widen_and_stay_within():
    lower, upper = bounded(np.random.default_rng(1).beta(8, 2, 3000) * 4 + 1, 1, 5)
    assert (np.diff(lower) >= 0).all() and (np.diff(upper) <= 0).all()
    assert lower[0] >= 1 and upper[0] <= 5
    assert lower[-1] < 4.2 < upper[-1] and upper[-1] - lower[-1] < 0.3


@pytest.mark.parametrize("shift", [0, 1e6])
def test_moving_and_stretching_values_moves_and_stretches_the_interval(shift):
    values = np.random.default_rng(2).normal(size=400)
    plain, moved = np.array(asymptotic(values)), np.array(asymptotic(3 * values + shift))
    np.testing.assert_allclose(moved, 3 * plain + shift, rtol=1e-9)
    unit = np.array(bounded(np.tanh(values), -1, 1))
    wide = np.array(bounded(3 * np.tanh(values) + shift, shift - 3, shift + 3))
    np.testing.assert_allclose(wide, 3 * unit + shift, rtol=1e-9)


def test_what_says_nothing_has_no_interval():
    assert np.isnan(asymptotic(np.ones(200))).all()
    assert np.isnan(np.array(asymptotic(np.random.default_rng(3).normal(size=LEAST)))[:, :-1]).all()
    assert np.isfinite(np.array(asymptotic(np.random.default_rng(3).normal(size=LEAST)))[:, -1]).all()
    for sequence in (asymptotic, lambda x: bounded(x, 0, 1)):
        assert [len(end) for end in sequence(np.zeros(0))] == [0, 0]
    with pytest.raises(ValueError, match="a value of 2 lies outside"):
        bounded(np.array([0.5, 2]), 0, 1)
