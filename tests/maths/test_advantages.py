import math
from functools import partial

import pytest
import torch

from alignpro.maths.advantages import explained_variance, gae, group_relative, leave_one_out, token_rewards, whiten


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


def grouped(seed=0, rows=24, groups=5):
    """Rewards and KLs of rows whose groups differ in size and stand in no order; the last group is a lone row."""
    generator = torch.Generator().manual_seed(seed)
    of = torch.cat([torch.randint(0, groups - 1, (rows - 1,), generator=generator), torch.tensor([groups - 1])])
    rewards, kl = torch.randn(2, rows, generator=generator, dtype=torch.float64)
    return rewards, kl.abs(), of[torch.randperm(rows, generator=generator)]


METHODS = {
    "leave_one_out": leave_one_out,
    "group_relative": group_relative,
    "divided": partial(group_relative, divide=True),
}


@pytest.mark.parametrize("name", METHODS)
def test_a_group_sums_to_zero_a_lone_row_gets_nothing_and_order_does_not_matter(name):
    rewards, kl, groups = grouped()
    got = METHODS[name](rewards, kl, groups, 0.3)
    sums = torch.zeros(5, dtype=torch.float64).index_add(0, groups, got)
    assert torch.allclose(sums, torch.zeros_like(sums), atol=1e-12)
    assert got[groups == 4] == 0
    assert got.abs().max() > 0.1
    shuffled = torch.randperm(len(got), generator=torch.Generator().manual_seed(1))
    assert torch.allclose(METHODS[name](rewards[shuffled], kl[shuffled], groups[shuffled], 0.3), got[shuffled])
    level = torch.tensor([5.0, -2.0, 0.0, 100.0, 7.0], dtype=torch.float64)[groups]
    assert torch.allclose(METHODS[name](rewards + level, kl, groups, 0.3), got, atol=1e-9)  # of a prompt's own level
    assert torch.allclose(METHODS[name](rewards, kl + level, groups, 0.3), got, atol=1e-9)


def test_the_baseline_left_out_of_a_row_does_not_move_with_its_own_reward():
    rewards, kl, groups = grouped()
    before = leave_one_out(rewards, kl, groups, 0.3)
    for row in range(len(rewards)):
        lone = int((groups == groups[row]).sum()) == 1
        moved = rewards.clone()
        moved[row] += 10
        change = leave_one_out(moved, kl, groups, 0.3) - before
        assert change[row].item() == pytest.approx(0 if lone else 10)
        others = group_relative(moved, kl, groups, 0.3) - group_relative(rewards, kl, groups, 0.3)
        assert lone or 0 < others[row] < 10  # whose baseline holds the row itself


def test_leaving_one_out_is_the_mean_difference_to_each_of_the_others():
    rewards, kl, groups = grouped()
    worth = rewards - 0.3 * kl
    for row, value in enumerate(leave_one_out(rewards, kl, groups, 0.3)):
        others = [worth[row] - worth[o] for o in range(len(worth)) if groups[o] == groups[row] and o != row]
        assert value == pytest.approx(float(sum(others)) / max(1, len(others)))


def test_divided_by_the_deviation_the_scale_of_a_groups_rewards_is_lost_but_not_the_price_of_kl():
    rewards, kl, groups = grouped()
    scale = torch.tensor([0.5, 3.0, 100.0, 7.0, 1.0], dtype=torch.float64)[groups]
    free = group_relative(rewards, kl, groups, 0.0, divide=True)
    assert torch.allclose(group_relative(scale * rewards, kl, groups, 0.0, divide=True), free, atol=1e-4)
    variances = [free[groups == g].var() for g in range(4)]
    assert torch.allclose(torch.stack(variances), torch.ones(4, dtype=torch.float64), atol=1e-4)
    priced = group_relative(rewards, kl, groups, 0.3, divide=True)
    plain = group_relative(rewards, kl, groups, 0.3) - group_relative(rewards, kl, groups, 0.0)
    assert torch.allclose(priced - free, plain)
    equal = group_relative(torch.ones_like(rewards), kl, groups, 0.0, divide=True)
    assert (equal == 0).all()


EQUAL = {
    "0.1": torch.full((5,), 0.1),
    "100.1": torch.full((7,), 100.1),
    "a million": torch.full((7,), 1e6 + 0.3),
    "equal up to rounding": torch.tensor([0.3, 0.1 + 0.2, 0.3], dtype=torch.float64),
    "a last digit apart": torch.tensor([100.1, 100.1 + 2**-17, 100.1]),
}


@pytest.mark.parametrize("name", EQUAL)
def test_equal_rewards_have_no_advantage_however_large(name):
    equal = EQUAL[name]
    groups, none = torch.zeros(len(equal), dtype=torch.long), torch.zeros_like(equal)
    assert (whiten(equal, torch.ones_like(equal, dtype=torch.bool)) == 0).all()
    for method in METHODS.values():
        assert (method(equal, none, groups, 0.1) == 0).all()
        kl = torch.arange(len(equal)).to(equal)
        assert torch.equal(method(equal, kl, groups, 0.1), method(none, kl, groups, 0.1))  # the KL keeps its price
    assert math.isnan(explained_variance(none, equal, torch.ones_like(equal, dtype=torch.bool)))


@pytest.mark.parametrize("level", [0.0, 1e3, -1e6])
def test_a_difference_counts_however_large_the_rewards(level):
    rewards = torch.tensor([0.0, 1.0, 4.0, -2.0]) + level
    groups, none, mask = torch.tensor([0, 0, 1, 1]), torch.zeros(4), torch.ones(4, dtype=torch.bool)
    assert leave_one_out(rewards, none, groups, 0.1).tolist() == [-1, 1, 6, -6]
    assert group_relative(rewards, none, groups, 0.1).tolist() == [-0.5, 0.5, 3, -3]
    root = math.sqrt(0.5)
    assert group_relative(rewards, none, groups, 0.1, divide=True).tolist() == pytest.approx(
        [-root, root, root, -root], rel=1e-5
    )
    assert whiten(rewards, mask).tolist() == pytest.approx([(r - 0.75) / math.sqrt(4.6875) for r in (0, 1, 4, -2)])
    values = torch.tensor([0.0, 1.0, 4.0, 0.0]) + level
    assert explained_variance(values, rewards, mask) == pytest.approx(1 - 0.75 / 4.6875)
