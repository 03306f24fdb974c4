"""Offline losses by what must hold of them: where they are least, and what changes nothing."""

import pytest
import torch

from alignpro.train.offline_losses import LOSSES

LAM = 0.3


def case(seed=0, prompts=3, width=5):
    generator = torch.Generator().manual_seed(seed)
    reference = torch.randn(prompts, width, generator=generator, dtype=torch.float64) - 8
    rewards = torch.randn(prompts, width, generator=generator, dtype=torch.float64)
    counts = torch.randint(1, 5, (prompts, width), generator=generator)
    return reference, rewards, counts


def gradient(name, h, reference, rewards, counts):
    """Of the loss in h = log rho - log rho_sft, and the loss itself."""
    logprobs = (reference + h).requires_grad_(True)
    loss = LOSSES[name](logprobs, reference, rewards, counts, LAM)
    assert loss.shape == (len(reference),)
    (found,) = torch.autograd.grad(loss.sum(), logprobs)
    return found, loss.detach()


@pytest.mark.parametrize("name", ["dpo", "exo"])
def test_the_optimum_is_the_closed_form_and_a_constant_moves_nothing(name):
    reference, rewards, counts = case()
    best = rewards / LAM + torch.tensor([[-3.0], [0.0], [7.0]], dtype=torch.float64)
    at_best, least = gradient(name, best, reference, rewards, counts)
    torch.testing.assert_close(at_best, torch.zeros_like(at_best), atol=1e-12, rtol=0)
    for seed in range(5):
        away = best + torch.randn(best.shape, generator=torch.Generator().manual_seed(seed), dtype=best.dtype)
        slope, loss = gradient(name, away, reference, rewards, counts)
        assert (loss > least).all()
        assert (slope.abs().max(1).values > 1e-4).all()
        shifted, same = gradient(name, away + 4, reference, rewards, counts)
        torch.testing.assert_close(same, loss)
        torch.testing.assert_close(shifted, slope)


def test_exo_is_a_divergence_that_is_zero_at_the_closed_form():
    reference, rewards, counts = case()
    _, loss = gradient("exo", rewards / LAM + 2, reference, rewards, counts)
    torch.testing.assert_close(loss, torch.zeros(3, dtype=torch.float64), atol=1e-12, rtol=0)


def test_weighted_likelihood_pulls_towards_every_rewrite_by_its_weight_under_the_closed_form():
    reference, rewards, counts = case()
    slope, loss = gradient("weighted_likelihood", torch.zeros_like(reference), reference, rewards, counts)
    assert (slope < 0).all()
    torch.testing.assert_close(slope.sum(1), -torch.ones(3, dtype=torch.float64))
    torch.testing.assert_close(loss, torch.zeros_like(loss))  # the level is the reference's own
    odds = (-slope / counts).log()
    differences = odds.unsqueeze(2) - odds.unsqueeze(1)
    torch.testing.assert_close(differences * LAM, rewards.unsqueeze(2) - rewards.unsqueeze(1))


@pytest.mark.parametrize("name", LOSSES)
def test_a_count_is_that_many_rows_and_a_count_of_none_is_no_row(name):
    reference, rewards, counts = case()
    h = torch.randn(reference.shape, generator=torch.Generator().manual_seed(9), dtype=torch.float64)
    slope, loss = gradient(name, h, reference, rewards, counts)
    blank = torch.full((3, 2), 0.0, dtype=torch.float64)
    empty, same = gradient(
        name,
        torch.cat([h, blank], 1),
        torch.cat([reference, blank], 1),
        torch.cat([rewards, blank + 50], 1),  # whatever stands there
        torch.cat([counts, blank.long()], 1),
    )
    torch.testing.assert_close(same, loss)
    torch.testing.assert_close(empty[:, :-2], slope)
    assert (empty[:, -2:] == 0).all()
    if name == "dpo":
        return  # its pairs are of different rewrites: the next test
    for b in range(3):
        apart = [values[b].repeat_interleave(counts[b]).unsqueeze(0) for values in (h, reference, rewards)]
        split, again = gradient(name, *apart, torch.ones_like(apart[0]).long())
        torch.testing.assert_close(again, loss[b : b + 1])
        merged = torch.zeros(5, dtype=torch.float64).index_add(
            0, torch.arange(5).repeat_interleave(counts[b]), split[0]
        )
        torch.testing.assert_close(merged, slope[b])


def test_dpo_counts_every_pair_of_different_draws():
    reference, rewards, counts = case()
    h = torch.randn(reference.shape, generator=torch.Generator().manual_seed(9), dtype=torch.float64)
    slope, _ = gradient("dpo", h, reference, rewards, counts)
    for b in range(3):
        apart = [values[b].repeat_interleave(counts[b]).unsqueeze(0) for values in (h, reference, rewards)]
        split, _ = gradient("dpo", *apart, torch.ones_like(apart[0]).long())
        place = torch.arange(5).repeat_interleave(counts[b])
        merged = torch.zeros(5, dtype=torch.float64).index_add(0, place, split[0])
        every = len(place) * (len(place) - 1) / 2
        different = every - sum(int(c) * (int(c) - 1) / 2 for c in counts[b])
        torch.testing.assert_close(merged * every, slope[b] * different)


@pytest.mark.parametrize("name", LOSSES)
def test_a_prompt_with_one_rewrite_teaches_nothing_about_choosing(name):
    one = torch.full((1, 1), -3.0, dtype=torch.float64)
    slope, loss = gradient(name, one * 0 + 1, one, one * 2, torch.ones(1, 1).long())
    assert torch.isfinite(loss).all()
    assert (slope == (-1 if name == "weighted_likelihood" else 0)).all()


@pytest.mark.parametrize("name", LOSSES)
def test_steep_rewards_stay_finite(name):
    reference, rewards, counts = case()
    slope, loss = gradient(name, torch.zeros_like(reference), reference, 1e4 * rewards, counts)
    assert torch.isfinite(loss).all()
    assert torch.isfinite(slope).all()
