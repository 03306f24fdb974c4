import pytest
import torch

from alignpro.maths.kl import KlCoefficient, k1, k3


@pytest.mark.parametrize("estimator", [k1, k3])
def test_expectation_over_all_actions_is_the_divergence(estimator):
    p, q = torch.tensor([0.7, 0.2, 0.1]).double(), torch.tensor([0.2, 0.3, 0.5]).double()
    exact = torch.distributions.kl_divergence(torch.distributions.Categorical(p), torch.distributions.Categorical(q))
    assert torch.isclose((p * estimator(p.log(), q.log())).sum(), exact)


def test_k3_is_never_negative_where_k1_is():
    logp, logq = torch.randn(1000), torch.randn(1000)
    assert (k1(logp, logq) < 0).any()
    assert (k3(logp, logq) >= 0).all()


def test_adaptive_coefficient_pulls_the_kl_to_its_target():
    coef = KlCoefficient(0.2, adaptive=True, target=6.0, horizon=1000)
    assert coef.after(kl=12.0, samples=100).value > 0.2
    assert coef.after(kl=1.0, samples=100).value < 0.2
    assert coef.after(kl=6.0, samples=100).value == 0.2
    assert coef.after(kl=1e9, samples=100).value == pytest.approx(0.2 * 1.02)  # one step is bounded
    assert KlCoefficient(0.2).after(kl=50.0, samples=100).value == 0.2
