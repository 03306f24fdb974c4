import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alignpro.maths import gibbs

rewards = st.lists(st.floats(-50, 50), min_size=2, max_size=20)
lams = st.floats(1e-2, 1e2)


@given(rewards, lams)
def test_the_closed_form_attains_lambda_log_z_and_nothing_else_does_better(values, lam):
    reward = np.array(values)
    base = np.random.default_rng(0).dirichlet(np.ones(len(reward)))
    shifted = np.log(base * len(reward))  # log(reference / uniform proposal)
    log_z = gibbs.log_partition(reward, lam, shifted)
    log_rho = gibbs.log_weights(reward, lam, shifted)

    def objective(p):
        kept = p > 0
        return (p * reward).sum() - lam * (p[kept] * np.log(p[kept] / base[kept])).sum()

    scale = 1e-9 * (1 + np.abs(reward).max())
    assert objective(np.exp(log_rho)) == pytest.approx(lam * log_z, abs=scale)  # (B4) at the optimum
    other = np.random.default_rng(1).dirichlet(np.ones(len(reward)))
    kl = (other * (np.log(other) - log_rho)).sum()
    assert lam * log_z - objective(other) == pytest.approx(lam * kl, rel=1e-7, abs=scale)  # (B4) elsewhere


@given(rewards, lams)
def test_weights_are_a_distribution_and_ess_lies_between_one_and_n(values, lam):
    log_weight = gibbs.log_weights(np.array(values), lam)
    assert np.exp(log_weight).sum() == pytest.approx(1)
    assert 1 - 1e-9 <= gibbs.effective_sample_size(log_weight) <= len(values) + 1e-9


def test_failed_rewards_get_no_weight_and_a_row_of_failures_is_undefined():
    table = np.array([[1.0, np.nan, 2.0], [np.nan, np.nan, np.nan]])
    weights = np.exp(gibbs.log_weights(table, 1.0))
    assert weights[0, 1] == 0
    assert weights[0].sum() == pytest.approx(1)
    assert np.isnan(weights[1]).all()
    assert np.isnan(gibbs.log_partition(table, 1.0)[1])
    assert gibbs.log_partition(table, 1.0)[0] == pytest.approx(np.log((np.e + np.e**2) / 2))


def test_noise_correction_undoes_the_inflation_of_a_noisy_mean():
    rng = np.random.default_rng(0)
    variance, responses, lam = 0.5, 4, 0.6
    noisy = rng.normal(1.0, np.sqrt(variance / responses), 400_000)
    plain = np.exp(noisy / lam).mean()
    mended = np.exp(noisy / lam + gibbs.noise_correction(np.array(variance), responses, lam)).mean()
    assert plain > 1.1 * np.exp(1 / lam)
    assert mended == pytest.approx(np.exp(1 / lam), rel=0.005)


def test_lambda_must_be_positive():
    with pytest.raises(ValueError, match="lam > 0"):
        gibbs.log_weights(np.array([1.0]), 0.0)
