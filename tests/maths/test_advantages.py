import torch

from alignpro.maths.advantages import gae, token_rewards, whiten


def ragged(seed=0, rows=6, length=7):
    generator = torch.Generator().manual_seed(seed)
    lengths = torch.randint(1, length + 1, (rows,), generator=generator)
    mask = torch.arange(length) < lengths[:, None]
    return [torch.randn(rows, length, generator=generator) for _ in range(3)], mask


def test_token_rewards_sum_to_the_objective_of_each_row():
    (kl, *_), mask = ragged()
    rewards = torch.arange(6.0)
    got = token_rewards(rewards, kl, mask, kl_coef=0.3)
    assert torch.allclose(got.sum(1), rewards - 0.3 * (kl * mask).sum(1), atol=1e-6)
    assert (got[~mask] == 0).all()


def test_with_lambda_one_advantages_are_rewards_to_go_less_value():
    (rewards, values, _), mask = ragged()
    rewards = rewards * mask
    advantages, returns = gae(rewards, values, mask, gamma=1.0, gae_lambda=1.0)
    to_go = rewards.flip(1).cumsum(1).flip(1)
    assert torch.allclose(advantages[mask], (to_go - values)[mask], atol=1e-5)
    assert torch.allclose(returns[mask], to_go[mask], atol=1e-5)


def test_with_lambda_zero_advantages_are_one_step_errors():
    (rewards, values, _), mask = ragged()
    advantages, _ = gae(rewards * mask, values, mask, gamma=0.9, gae_lambda=0.0)
    following = torch.cat([(values * mask)[:, 1:], torch.zeros(6, 1)], 1)
    assert torch.allclose(advantages[mask], (rewards + 0.9 * following - values)[mask], atol=1e-5)


def test_what_stands_on_padding_changes_nothing():
    (rewards, values, junk), mask = ragged()
    rewards = rewards * mask
    clean = gae(rewards, values, mask, 0.99, 0.9)
    dirty = gae(rewards, torch.where(mask, values, 100 * junk), mask, 0.99, 0.9)
    assert torch.equal(clean[0], dirty[0])
    assert torch.equal(whiten(clean[0], mask), whiten(torch.where(mask, clean[0], 1e6), mask))


def test_whitened_values_have_mean_zero_and_variance_one():
    (values, *_), mask = ragged()
    white = whiten(values * 5 + 3, mask)[mask]
    assert abs(white.mean()) < 1e-6
    assert abs(white.var(correction=0) - 1) < 1e-5
    assert (whiten(torch.ones_like(values), mask) == 0).all()
