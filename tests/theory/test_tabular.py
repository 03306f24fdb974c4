"""Identities of the finite world, on random instances with extremes, and against loops and solvers."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from scipy import optimize, special
from worlds import cases, distributions, make, near, prompters

from alignpro.errors import UsageError
from alignpro.theory.tabular import World, compose, log_probabilities


def objective_of_rlhf(world, log_pi):
    """(2), by scipy's relative entropy."""
    kl = special.rel_entr(np.exp(log_pi), np.exp(world.log_frozen_raw)).sum(1)
    return world.policy_reward(log_pi) - world.beta * world.over_prompts(kl)


@settings(max_examples=150, deadline=None)
@given(cases())
def test_reward_of_a_prompter_is_the_reward_of_its_policy(case):
    world, rng = case
    log_rho = prompters(world, rng, zeros=0.3)
    assert world.policy_reward(world.policy(log_rho)) == pytest.approx(world.prompter_reward(log_rho), abs=near(world))


@settings(max_examples=150, deadline=None)
@given(cases())
def test_a_prompter_falls_short_of_the_best_by_lam_times_its_kl_to_it(case):
    world, rng = case  # (B4)
    best = world.lam * world.over_prompts(world.log_z)
    assert world.objective(world.log_optimum) == pytest.approx(best, abs=near(world))
    for log_rho in (prompters(world, rng), prompters(world, rng, zeros=0.5), world.log_reference):
        short = best - world.objective(log_rho)
        assert short == pytest.approx(world.lam * world.distance(log_rho), rel=1e-9, abs=near(world))
        assert short >= -near(world)
        absent = (log_rho > -np.inf) & (world.log_reference == -np.inf) & (world.log_prompts > -np.inf)[:, None]
        assert (world.distance(log_rho) == np.inf) == absent.any()


@settings(max_examples=100, deadline=None)
@given(cases())
def test_rlhf_optimum_is_worth_beta_log_z_and_no_policy_is_worth_more(case):
    world, rng = case
    best = world.beta * world.over_prompts(world.log_z_rlhf)
    assert objective_of_rlhf(world, world.log_rlhf) == pytest.approx(best, abs=near(world))
    other = log_probabilities(distributions(rng, *world.reward.shape))
    assert objective_of_rlhf(world, other) <= best + near(world)


@settings(max_examples=150, deadline=None)
@given(cases())
def test_the_gap_splits_in_two_of_which_the_first_is_never_negative(case):
    world, rng = case  # (7) = (5)
    log_rho = prompters(world, rng, zeros=0.3)
    assert world.d1 + world.d2(log_rho) == pytest.approx(world.gap(log_rho), abs=near(world))
    assert world.d1 >= -near(world)
    by_policies = world.policy_reward(world.log_rlhf) - world.policy_reward(world.policy(log_rho))
    assert world.gap(log_rho) == pytest.approx(by_policies, abs=near(world))


@settings(max_examples=100, deadline=None)
@given(cases())
def test_a_sequence_of_prompters_is_its_last_one_in_the_world_after_the_others(case):
    world, rng = case
    rewrites, last = world.log_reference.shape[1], int(rng.integers(1, 7))
    first, second = prompters(world, rng, zeros=0.5), log_probabilities(distributions(rng, rewrites, last, zeros=0.3))
    reference = log_probabilities(distributions(rng, rewrites, last))
    log_frozen = log_probabilities(distributions(rng, last, world.reward.shape[1], 3.0))
    after = world.after(first, reference, log_frozen)
    arriving = np.flatnonzero((np.exp(first + world.log_prompts[:, None])).sum(0) > 0)
    assert len(after.log_prompts) == len(arriving)
    assert after.ceiling <= world.ceiling + near(world)

    joint = World(
        world.log_prompts, compose(first, reference), log_frozen, world.log_frozen_raw, world.reward, 1.0, 1.0
    )
    assert after.prompter_reward(second[arriving]) == pytest.approx(
        joint.prompter_reward(compose(first, second)), abs=near(world)
    )
    # What RLHF could still do after the first pass, by its own definition of the gap.
    lost = world.policy_reward(world.log_rlhf) - after.policy_reward(after.log_rlhf)
    total = world.policy_reward(world.log_rlhf) - joint.prompter_reward(compose(first, second))
    assert lost + after.gap(second[arriving]) == pytest.approx(total, abs=near(world))


def test_three_prompters_compose_in_any_grouping_and_divergence_does_not_grow_on_the_way():
    rng = np.random.default_rng(0)
    a, b, c, d = (log_probabilities(distributions(rng, *shape)) for shape in ((3, 5), (5, 4), (4, 6), (5, 4)))
    assert compose(a, b, c) == pytest.approx(compose(a, compose(b, c)))
    one = make(rng, (3, 5, 2))
    other = prompters(one, rng)

    def kl(p, q):
        return special.rel_entr(np.exp(p), np.exp(q)).sum(1)

    chain = kl(other, a) + np.exp(other) @ kl(b, d)
    assert (kl(compose(other, b), compose(a, d)) <= chain).all()
    with pytest.raises(UsageError, match="5 rewrites to one that reads 4"):
        compose(a, c)


def test_a_first_pass_that_tells_nothing_leaves_only_the_mean_reward():
    world = make(np.random.default_rng(3), (4, 5, 6), beta=1e-4)
    blind = np.broadcast_to(world.log_reference[:1], (4, 5))
    after = world.after(blind, np.log(np.full((5, 5), 0.2)))
    mean = np.exp(world.log_prompts) @ world.reward
    assert after.reward == pytest.approx(np.broadcast_to(mean, (5, 6)))
    assert after.ceiling == pytest.approx(mean.max())
    assert world.ceiling == pytest.approx(world.over_prompts(world.reward.max(1)))
    assert after.policy_reward(after.log_rlhf) == pytest.approx(after.ceiling, abs=1e-3)  # beta is next to nothing


def test_a_pass_that_forgets_nothing_lowers_no_ceiling():
    world = make(np.random.default_rng(3), (4, 4, 6))
    with np.errstate(divide="ignore"):
        shuffled = np.log(np.eye(4)[[2, 0, 3, 1]])
    after = world.after(shuffled, world.log_reference)
    assert after.ceiling == pytest.approx(world.ceiling)
    assert after.reward[[2, 0, 3, 1]] == pytest.approx(world.reward)
    assert after.log_frozen_raw == pytest.approx(world.log_frozen)


def test_against_loops_over_every_path():
    rng = np.random.default_rng(7)
    p, rho, sft = (distributions(rng, *s) for s in ((1, 2), (2, 3), (2, 3)))
    frozen, raw, second = (distributions(rng, *s) for s in ((3, 4), (2, 4), (3, 3)))
    reward = rng.normal(size=(2, 4))
    world = World.of(prompts=p[0], reference=sft, frozen=frozen, frozen_raw=raw, reward=reward, beta=0.7, lam=0.4)
    one_pass = two_passes = kl = 0.0
    for x, a in itertools.product(range(2), range(3)):
        kl += p[0, x] * rho[x, a] * np.log(rho[x, a] / sft[x, a])
        for y in range(4):
            one_pass += p[0, x] * rho[x, a] * frozen[a, y] * reward[x, y]
            for b in range(3):
                two_passes += p[0, x] * rho[x, a] * second[a, b] * frozen[b, y] * reward[x, y]
    log_rho, log_second = np.log(rho), np.log(second)
    assert world.prompter_reward(log_rho) == pytest.approx(one_pass)
    assert world.objective(log_rho) == pytest.approx(one_pass - 0.4 * kl)
    assert world.prompter_reward(compose(log_rho, log_second)) == pytest.approx(two_passes)
    after = world.after(log_rho, log_second)
    assert after.prompter_reward(log_second) == pytest.approx(two_passes)


def test_against_a_solver_that_knows_only_the_objective():
    world = make(np.random.default_rng(5), (2, 4, 3), lam=0.6)
    shape = world.log_reference.shape
    found = optimize.minimize(
        lambda logits: -world.objective(special.log_softmax(logits.reshape(shape), axis=1)),
        np.zeros(shape).ravel(),
        tol=1e-12,
    )
    rho = special.softmax(found.x.reshape(shape), axis=1)
    assert rho == pytest.approx(np.exp(world.log_optimum), abs=1e-4)
    assert -found.fun == pytest.approx(0.6 * world.over_prompts(world.log_z), abs=1e-8)


def test_an_impossible_prompt_counts_for_nothing_even_where_its_prompter_leaves_the_reference():
    world = make(np.random.default_rng(0), (2, 2, 2))
    with np.errstate(divide="ignore"):
        reference = np.log([[0.5, 0.5], [1.0, 0.0]])
        odd = World(np.log([1.0, 0.0]), reference, world.log_frozen, world.log_frozen_raw, world.reward, 1.0, 1.0)
    assert odd.kl_to_reference(np.log([[0.5, 0.5], [0.5, 0.5]])) == 0


GOOD = {
    "prompts": [0.5, 0.5],
    "reference": [[0.5, 0.5], [1.0, 0.0]],
    "frozen": [[0.2, 0.3, 0.5], [1.0, 0.0, 0.0]],
    "frozen_raw": [[0.2, 0.3, 0.5], [0.0, 1.0, 0.0]],
    "reward": [[0.0, 1.0, -1.0], [3.0, 2.0, 1.0]],
    "beta": 1.0,
    "lam": 1.0,
}


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"prompts": [0.5, 0.3, 0.2]}, r"log_prompts has shape \(3,\); the other arrays ask for \(2,\)"),
        ({"frozen": [[0.5, 0.5], [0.5, 0.5]]}, r"log_frozen has shape \(2, 2\)"),
        ({"frozen": 1.0}, "log_reference has shape"),
        ({"reference": [[0.5, 0.5], [0.6, 0.5]]}, "1 of 2 rows whose probabilities do not sum to 1, the first to 1.1"),
        ({"reference": [[0.5, 0.5], [0.0, 0.0]]}, "the first to 0;"),
        ({"frozen_raw": [[1.2, -0.2, 0.0], [0.0, 1.0, 0.0]]}, "frozen_raw has -0.2 among its probabilities"),
        ({"prompts": [np.nan, 1.0]}, "prompts has nan"),
        ({"reward": [[0.0, 1.0, np.inf], [0.0, np.nan, 1.0]]}, "reward holds 2 entries that are not finite"),
        ({"reward": [1.0, 2.0]}, "must be"),
        ({"beta": 0.0}, "beta is 0.0"),
        ({"lam": -1.0}, "lam is -1.0"),
        ({"lam": np.nan}, "lam is nan"),
    ],
)
def test_a_world_that_cannot_be_says_why(wrong, says):
    assert World.of(**GOOD).span == 4
    with pytest.raises(UsageError, match=says):
        World.of(**GOOD | wrong)


def test_what_is_handed_to_a_world_is_checked_copied_and_kept():
    reward = np.array(GOOD["reward"])
    world = World.of(**GOOD | {"reward": reward})
    reward[0, 0] = 99.0
    assert world.span == 4
    with pytest.raises(ValueError, match="read-only"):
        world.reward[0, 0] = 1.0
    with pytest.raises(UsageError, match=r"log_rho has shape \(2,\)"):
        world.objective(np.log([0.5, 0.5]))
    with pytest.raises(UsageError, match="log_rho has 2 of 2 rows"):
        world.prompter_reward(np.zeros((2, 2)))
    nearly = np.array(GOOD["frozen"]) * (1 + 1e-10)
    assert np.exp(World.of(**GOOD | {"frozen": nearly}).log_frozen).sum(1) == pytest.approx([1, 1], abs=1e-15)
