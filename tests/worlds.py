"""Finite worlds for tests: hypothesis picks shapes and extremes, a seed fills in the numbers."""

import numpy as np
from hypothesis import strategies as st

from alignpro.theory.tabular import World, log_probabilities


def distributions(rng, rows, columns, sharpness=1.0, zeros=0.0):
    """Random rows that sum to 1: uniform at sharpness 0, near point masses from 10 on, with a share of exact zeros."""
    masses = np.exp(sharpness * rng.normal(size=(rows, columns))) * (rng.random((rows, columns)) >= zeros)
    masses[np.arange(rows), rng.integers(columns, size=rows)] += 1e-3
    return masses / masses.sum(1, keepdims=True)


def make(rng, shape, beta=0.5, lam=0.3, sharpness=1.0, zeros=0.0, scale=1.0, level=0.0, ties=False):
    prompts, rewrites, responses = shape
    reward = rng.normal(size=(prompts, responses))
    frozen = distributions(rng, rewrites, responses, sharpness, zeros)
    if ties:
        reward = np.round(reward)
        frozen = frozen[rng.integers(rewrites, size=rewrites)]  # rewrites that are answered alike
    return World.of(
        prompts=distributions(rng, 1, prompts, sharpness, zeros)[0],
        reference=distributions(rng, prompts, rewrites, sharpness, zeros),
        frozen=frozen,
        frozen_raw=distributions(rng, prompts, responses, sharpness, zeros),
        reward=scale * reward + level,
        beta=beta,
        lam=lam,
    )


def prompters(world, rng, zeros=0.0):
    """One random prompter [X, R] in log-probabilities."""
    return log_probabilities(distributions(rng, *world.log_reference.shape, rng.choice([0.0, 1.0, 10.0]), zeros))


@st.composite
def cases(draw, zeros=(0.0, 0.5, 1.0)):
    """(world, rng): any shape to 6 x 6 x 6, beta and lam from 1e-4 to 1e4, point masses, ties, rewards of any sign."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    world = make(
        rng,
        shape=draw(st.tuples(*[st.integers(1, 6)] * 3)),
        beta=10 ** draw(st.floats(-4, 4)),
        lam=10 ** draw(st.floats(-4, 4)),
        sharpness=draw(st.sampled_from([0.0, 1.0, 5.0, 50.0])),
        zeros=draw(st.sampled_from(zeros)),
        scale=draw(st.sampled_from([1e-3, 1.0, 10.0])),
        level=draw(st.sampled_from([-30.0, 0.0, 1.0])),
        ties=draw(st.booleans()),
    )
    return world, rng


def near(world):
    """How far apart two computations of one reward may end: 1e-9 of the span, or of 1 where that is more."""
    return 1e-9 * max(1.0, world.span)
