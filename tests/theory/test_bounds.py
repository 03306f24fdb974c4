"""Identities and bounds of the gap, (B1) to (B3), (11) and (B5), and the range of lam in which the bounds say much."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from worlds import cases, distributions, make, near

from alignpro.theory import bounds
from alignpro.theory.tabular import World


def at(world, lam):
    parts = (world.log_prompts, world.log_reference, world.log_frozen, world.log_frozen_raw, world.reward, world.beta)
    return World(*parts, lam)


def steerable(rng, rare=None):
    """Worlds where prompting gains more than (11) lets RLHF have: rewrites that change little, and a rare good one."""
    prompts, rewrites, responses = rng.integers(1, 4), rng.integers(2, 6), rng.integers(2, 5)
    rare = 10 ** rng.uniform(-6, -0.5) if rare is None else rare
    reward = rng.normal(size=(prompts, responses))
    raw = distributions(rng, 1, responses)
    frozen = 0.999 * raw + 0.001 * distributions(rng, rewrites, responses)
    good = np.eye(responses)[[reward[0].argmax()]]
    reference = (1 - rare) * distributions(rng, prompts, rewrites)
    return World.of(
        prompts=distributions(rng, 1, prompts)[0],
        reference=np.concatenate([reference, np.full((prompts, 1), rare)], axis=1),
        frozen=np.concatenate([frozen, good]),
        frozen_raw=np.repeat(raw, prompts, axis=0),
        reward=reward,
        beta=1e3,
        lam=1.0,
    )


@settings(max_examples=200, deadline=None)
@given(cases())
def test_both_bounds_hold_and_the_identity_is_the_gap(case):
    world, _ = case
    gap = world.gap(world.log_optimum)
    exact, sharper, theorem = bounds.exact(world), bounds.sharper(world), bounds.theorem(world)
    assert exact.total == pytest.approx(gap, abs=near(world))  # (B3)
    assert gap - near(world) <= sharper.total <= theorem.total + near(world)  # (B5), (11)
    assert exact.fine_tuning == pytest.approx(world.d1, abs=near(world))  # (B1)
    gain = world.prompter_reward(world.log_optimum) - world.prompter_reward(world.log_reference)
    assert exact.optimising == pytest.approx(gain, abs=near(world))  # (B2)
    assert exact.fine_tuning <= sharper.fine_tuning + near(world)
    assert exact.paraphrasing <= sharper.paraphrasing + near(world)
    assert exact.optimising == sharper.optimising


@settings(max_examples=100, deadline=None)
@given(cases(zeros=(0.0, 0.5)))
def test_between_its_ends_the_range_of_lam_keeps_its_promise(case):
    world, rng = case
    largest, smallest = bounds.largest_lam(world), bounds.smallest_lam(world)
    for lam in 10 ** rng.uniform(-4, 4, 5):
        here = at(world, lam)
        if lam <= largest:
            assert bounds.theorem(here).total >= -near(world)
        if lam >= smallest:
            assert bounds.sharper(here).total >= -near(world)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32))
def test_a_finite_largest_lam_is_the_first_root(seed):
    world = steerable(np.random.default_rng(seed))
    lam = bounds.largest_lam(world)
    grid = np.geomspace(1e-6, 1e4, 150)
    right = np.array([bounds.theorem(at(world, g)).total for g in grid])
    assert (right[grid <= lam] >= -near(world)).all()
    assert np.isfinite(lam) or (right >= -near(world)).all()
    if np.isfinite(lam):
        assert bounds.theorem(at(world, lam)).total == pytest.approx(0, abs=1e-9)
        assert bounds.theorem(at(world, lam * 1.001)).total < 0
        assert bounds.kl_budget(at(world, lam)) == pytest.approx(
            at(world, lam).kl_to_reference(at(world, lam).log_optimum)
        )


def test_the_right_side_of_the_theorem_is_negative_in_a_window_only_and_the_sharper_one_below_a_threshold():
    world = steerable(np.random.default_rng(0), rare=1e-4)
    first, threshold = bounds.largest_lam(world), bounds.smallest_lam(world)
    assert 0 < first < threshold < np.inf
    assert bounds.theorem(at(world, first / 2)).total > 0
    assert bounds.theorem(at(world, threshold * 1.01)).total > 0
    for factor, sign in ((0.01, -1), (0.999, -1), (1.001, 1), (100, 1)):
        assert np.sign(bounds.sharper(at(world, threshold * factor)).total) == sign


def test_a_prompter_that_cannot_move_leaves_the_whole_price_of_not_fine_tuning():
    world = make(np.random.default_rng(4), (3, 3, 4))
    with np.errstate(divide="ignore"):
        stay = np.log(np.eye(3))
    still = World(world.log_prompts, stay, world.log_frozen_raw, world.log_frozen_raw, world.reward, 0.5, 0.3)
    assert bounds.exact(still).total == pytest.approx(still.d1)
    for terms in (bounds.theorem(still), bounds.sharper(still)):
        assert terms.paraphrasing == pytest.approx(0, abs=1e-12)
        assert terms.optimising == 0
    assert bounds.largest_lam(still) == np.inf
    assert bounds.smallest_lam(still) == 0


def test_nothing_to_spend():
    world = make(np.random.default_rng(4), (1, 3, 2))
    flat = np.zeros((1, 2))
    reward = np.array([[0.0, 1.0]])
    with np.errstate(divide="ignore"):
        frozen = np.log([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
        raw, reference = np.log([[1.0, 0.0]]), np.log([[0.5, 0.5 - 1e-15, 1e-15]])
    # A is no more than rounding while prompting could gain: no lam keeps (11)'s right side from going below 0.
    spent = World(np.zeros(1), reference, frozen, raw, reward, 1.0, 1.0)
    assert bounds.largest_lam(spent) == 0
    assert bounds.smallest_lam(spent) == np.inf
    same = World(np.zeros(1), world.log_reference, world.log_frozen, world.log_frozen_raw, flat, 1.0, 1.0)
    assert bounds.largest_lam(same) == np.inf
    assert bounds.smallest_lam(same) == 0
    assert bounds.theorem(same).total == 0
    # Rewrites that all earn the same leave nothing to win, though their chances sum to 1 only up to rounding.
    for seed in range(20):
        spread = make(np.random.default_rng(seed), (6, 3, 2))
        alike = np.repeat(spread.log_frozen[:1], 3, axis=0)
        level = World(spread.log_prompts, spread.log_reference, alike, spread.log_frozen_raw, spread.reward, 1.0, 1.0)
        assert bounds.largest_lam(level) == np.inf
        assert bounds.smallest_lam(level) == 0
    # What the reference all but never does is nothing to win, to float64.
    certain = World(np.zeros(1), np.array([[-1e-30, -60.0, -60.0]]), frozen[::-1], raw, reward, 1.0, 1.0)
    assert bounds.largest_lam(certain) == np.inf
    assert bounds.smallest_lam(certain) == 0


def test_total_variation_in_the_theorem_is_the_largest_difference_over_events():
    world = make(np.random.default_rng(6), (2, 3, 5))
    events = np.array(list(itertools.product([0, 1], repeat=5)))
    raw, frozen, tuned = (np.exp(a) for a in (world.log_frozen_raw, world.log_frozen, world.log_rlhf))
    first = sum(np.exp(world.log_prompts[x]) * max(events @ (tuned[x] - raw[x])) for x in range(2))
    second = sum(
        np.exp(world.log_prompts[x] + world.log_reference[x, a]) * max(events @ (raw[x] - frozen[a]))
        for x, a in itertools.product(range(2), range(3))
    )
    terms = bounds.theorem(world)
    assert terms.fine_tuning == pytest.approx(world.span * first)
    assert terms.paraphrasing == pytest.approx(world.span * second)
