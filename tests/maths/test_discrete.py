import numpy as np
import pytest
from scipy import special
from scipy.spatial.distance import cdist

from alignpro.maths import discrete


def rows(seed, count, columns, sharpness=3.0):
    return special.log_softmax(sharpness * np.random.default_rng(seed).normal(size=(count, columns)), axis=1)


def test_divergences_agree_with_scipy():
    log_p, log_q = rows(0, 20, 7), rows(1, 20, 7)
    p, q = np.exp(log_p), np.exp(log_q)
    assert discrete.kl(log_p, log_q) == pytest.approx(special.rel_entr(p, q).sum(1), rel=1e-12)
    assert discrete.jeffreys(log_p, log_q) == pytest.approx((special.rel_entr(p, q) + special.rel_entr(q, p)).sum(1))
    assert discrete.logsumexp(5 * log_p) == pytest.approx(special.logsumexp(5 * log_p, axis=1))


def test_kl_keeps_its_digits_where_the_two_nearly_agree():
    p = np.array([0.3, 0.7])
    for shift in (1e-3, 1e-6, 1e-9):
        q = p + np.array([shift, -shift])
        second_order = shift**2 * (1 / p).sum() / 2
        assert discrete.kl(np.log(p), np.log(q)) == pytest.approx(second_order, rel=10 * shift + 1e-5)


def test_point_masses():
    with np.errstate(divide="ignore"):
        here, there, even = np.log([1.0, 0.0]), np.log([0.0, 1.0]), np.log([0.5, 0.5])
    assert discrete.kl(here, here) == 0
    assert discrete.kl(here, even) == pytest.approx(np.log(2))
    assert discrete.kl(even, here) == np.inf
    assert discrete.jeffreys(here, even) == np.inf
    assert discrete.jeffreys(here, here) == 0
    assert discrete.total_variation(here, there) == 1
    assert discrete.logsumexp(np.full(3, -np.inf)) == -np.inf


def test_what_is_too_small_for_float64_is_still_not_impossible():
    faint = np.array([0.0, -1e4])
    impossible = np.array([0.0, -np.inf])
    assert np.isfinite(discrete.kl(impossible, faint))
    assert np.isfinite(discrete.jeffreys(faint, np.log([0.5, 0.5])))
    assert discrete.jeffreys(impossible, faint) == np.inf
    assert discrete.kl(faint, impossible) == np.inf


def test_log_matmul_is_the_product_of_matrices_and_does_not_underflow():
    log_a, log_b = rows(0, 4, 6), rows(1, 6, 5)
    assert np.exp(discrete.log_matmul(log_a, log_b)) == pytest.approx(np.exp(log_a) @ np.exp(log_b))
    log_a, log_b = rows(2, 4, 6, 4000.0), rows(3, 6, 5, 4000.0)
    log_b[:, 0] = -np.inf
    log_b[0, 1] = -np.inf
    direct = special.logsumexp(log_a[:, :, None] + log_b[None], axis=1)
    assert (direct < -800).any()
    assert discrete.log_matmul(log_a, log_b) == pytest.approx(direct)


@pytest.mark.parametrize("columns", [3, 3000, 200_000])  # many rows to a block, several blocks, one row to a block
def test_mean_total_variation_is_half_the_mean_city_block_distance(columns):
    log_p, log_q = rows(0, 3, columns), rows(1, 50, columns)
    weights = np.random.default_rng(2).dirichlet(np.ones(50), 3)
    expected = 0.5 * (weights * cdist(np.exp(log_p), np.exp(log_q), "cityblock")).sum(1)
    assert discrete.mean_total_variation(log_p, log_q, weights) == pytest.approx(expected, abs=1e-12)
    assert discrete.mean_total_variation(log_q[:2], log_q, np.eye(50)[:2]) == pytest.approx(0, abs=1e-12)
