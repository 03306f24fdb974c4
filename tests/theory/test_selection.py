"""The frontier (B6) and selection among draws (B7), on random instances and against full enumeration of the draws."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize
from worlds import cases, make, near, prompters

from alignpro.errors import UsageError
from alignpro.theory.selection import best_of_n, best_of_n_bound, frontier, gibbs_n
from alignpro.theory.tabular import World


@settings(max_examples=100, deadline=None)
@given(cases())
def test_the_frontier_rises_with_slope_lam(case):
    world, _ = case
    lams = world.lam * np.array([1.0, 1.001, 2.0, 10.0])
    curve = frontier(world, lams)
    assert (curve.lam == lams).all()
    for i, j in itertools.pairwise(range(4)):  # concave: a chord's slope lies between those at its ends
        spent, earned = curve.kl[i] - curve.kl[j], curve.reward[i] - curve.reward[j]
        assert lams[i] * spent - near(world) <= earned <= lams[j] * spent + near(world)
        assert spent >= -1e-12


def test_the_slope_is_lam_to_many_digits():
    world = make(np.random.default_rng(0), (4, 6, 5))
    for lam in (0.05, 0.3, 2.0):
        up, down = lam * (1 + 1e-4), lam * (1 - 1e-4)
        curve = frontier(world, [down, up])
        assert np.diff(curve.reward) / np.diff(curve.kl) == pytest.approx(lam, rel=1e-6)


@settings(max_examples=100, deadline=None)
@given(cases(zeros=(0.0, 0.5)))
def test_no_prompter_lies_above_the_frontier(case):
    world, rng = case
    share = rng.random()
    mixed = np.logaddexp(np.log(share) + prompters(world, rng), np.log1p(-share) + world.log_reference)
    mixed[world.log_reference == -np.inf] = -np.inf
    mixed -= np.log(np.exp(mixed).sum(1, keepdims=True))
    kl, reward = world.kl_to_reference(mixed), world.prompter_reward(mixed)
    if frontier(world, 1e-4 * near(world)).kl[0] <= kl:  # more KL than any optimum spends: only the best reward caps it
        limit = world.rewards_of_rewrites.max(1)
        assert reward <= world.over_prompts(limit) + near(world)
        return
    log_lam = optimize.brentq(lambda v: frontier(world, np.exp(v)).kl[0] - kl, -40, 40, xtol=1e-13, rtol=1e-13)
    same = frontier(world, np.exp(log_lam))
    slack = same.lam[0] * abs(same.kl[0] - kl)  # what the root finder left over, priced at the slope
    assert reward <= same.reward[0] + slack + near(world)


@settings(max_examples=150, deadline=None)
@given(cases(), st.sampled_from([1, 2, 3, 10, 1000, 10**6]))
def test_best_of_n_is_a_distribution_within_its_bound_and_under_the_frontier(case, n):
    world, _ = case
    selected = best_of_n(world, n)
    kl = world.kl_to_reference(selected)
    assert np.exp(selected).sum(1) == pytest.approx(1, abs=1e-9)
    assert kl <= best_of_n_bound(n) + 1e-9
    assert world.objective(selected) <= world.lam * world.over_prompts(world.log_z) + near(world)
    assert world.prompter_reward(selected) >= world.prompter_reward(world.log_reference) - near(world)
    if n == 1:
        assert kl == pytest.approx(0, abs=1e-12)


def choices(world, n, weigh):
    """Selection by brute force: every sequence of n draws, one of them picked with odds `weigh` gives."""
    rewards, reference = world.rewards_of_rewrites, np.exp(world.log_reference)
    found = np.zeros_like(reference)
    for x, draws in itertools.product(range(len(reference)), itertools.product(range(reference.shape[1]), repeat=n)):
        draws = list(draws)
        odds = weigh(rewards[x, draws])
        np.add.at(found[x], draws, reference[x, draws].prod() * odds / odds.sum())
    return found


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("n", [1, 2, 3, 5])
def test_selection_agrees_with_enumerating_every_sequence_of_draws(n, ties):
    world = make(np.random.default_rng(n), (3, 5, 4), lam=0.2, zeros=0.2, ties=ties)
    best = choices(world, n, lambda r: np.isclose(r, r.max(), rtol=0, atol=1e-9).astype(float))
    assert np.exp(best_of_n(world, n)) == pytest.approx(best, abs=1e-12)
    gibbs = choices(world, n, lambda r: np.exp((r - r.max()) / world.lam))
    assert np.exp(gibbs_n(world, n)) == pytest.approx(gibbs, abs=1e-12)


def test_where_every_rewrite_ties_nothing_is_selected_and_the_bound_is_far():
    world = make(np.random.default_rng(1), (3, 5, 4))
    same = np.broadcast_to(world.log_frozen[:1], (5, 4))
    flat = World(world.log_prompts, world.log_reference, same, world.log_frozen_raw, world.reward, 1.0, 1.0)
    assert best_of_n(flat, 50) == pytest.approx(world.log_reference)
    assert gibbs_n(flat, 50) == pytest.approx(world.log_reference)


def test_with_many_equally_likely_rewrites_the_bound_is_nearly_reached():
    rng = np.random.default_rng(2)
    world = World.of(
        prompts=[1.0],
        reference=np.full((1, 20_000), 1 / 20_000),
        frozen=np.stack([p := rng.random(20_000), 1 - p], axis=1),
        frozen_raw=[[0.5, 0.5]],
        reward=[[1.0, 0.0]],
        beta=1.0,
        lam=1.0,
    )
    for n in (2, 8, 64):
        kl = world.kl_to_reference(best_of_n(world, n))
        assert kl <= best_of_n_bound(n)
        assert kl == pytest.approx(best_of_n_bound(n), rel=1e-3)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32), st.floats(0.1, 10))
def test_gibbs_n_converges_to_the_optimum(seed, lam):
    world = make(np.random.default_rng(seed), (3, 5, 4), lam=lam)
    distances = [world.distance(gibbs_n(world, n)) for n in (1, 4, 16, 64)]
    assert all(b <= a + 1e-12 for a, b in itertools.pairwise(distances))
    spread = np.exp((world.rewards_of_rewrites.max() - world.rewards_of_rewrites.min()) / lam)
    assert world.distance(gibbs_n(world, int(1e6 * spread))) < 1e-5


def test_gibbs_n_sharpens_to_best_of_n_as_lam_falls():
    soft = make(np.random.default_rng(8), (3, 5, 4))
    closest = np.diff(np.sort(soft.rewards_of_rewrites, axis=1), axis=1).min()
    world = make(np.random.default_rng(8), (3, 5, 4), lam=closest / 50)
    for n in (2, 30, 10**6):
        assert np.exp(gibbs_n(world, n)) == pytest.approx(np.exp(best_of_n(world, n)), abs=1e-9)


@pytest.mark.parametrize("select", [best_of_n, gibbs_n])
def test_selecting_needs_a_draw(select):
    with pytest.raises(UsageError, match="n is 0"):
        select(make(np.random.default_rng(0), (1, 2, 2)), 0)
