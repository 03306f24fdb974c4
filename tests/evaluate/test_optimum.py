"""The estimate of the optimum against exact enumeration."""

import numpy as np
import pytest

from alignpro.evaluate.optimum import Draws, report
from alignpro.maths import gibbs

LAM, REWRITES = 0.4, 12


def world(seed):
    rng = np.random.default_rng(seed)
    reward = rng.normal(0, 0.6, REWRITES)
    reference = rng.dirichlet(np.ones(REWRITES))
    star = np.exp(gibbs.log_weights(reward, LAM, np.log(reference)))
    trained = 0.7 * star + 0.3 * reference  # close to the optimum, and short of it
    return reward, reference, trained


def exact(prompts):
    rows = []
    for reward, reference, trained in prompts:
        log_z = np.log((reference * np.exp(reward / LAM)).sum())
        rows.append(
            ((reference * reward).sum(), (trained * (reward - LAM * np.log(trained / reference))).sum(), LAM * log_z)
        )
    return np.mean(rows, axis=0)


def drawn(prompts, half, responses, noise, seed):
    rng = np.random.default_rng(seed)
    table = []
    for reward, reference, trained in prompts:
        index = np.r_[rng.choice(REWRITES, half, p=reference), rng.choice(REWRITES, half, p=trained)]
        value = reward[index] + rng.normal(0, noise / np.sqrt(responses), 2 * half)
        table.append(
            (
                value,
                np.full(2 * half, noise**2),
                np.full(2 * half, float(responses)),
                np.log(trained / reference)[index],
            )
        )
    value, variance, count, ratio = (np.array(column) for column in zip(*table, strict=True))
    return Draws(value, variance, count, ratio, 0)


def test_the_estimate_meets_enumeration_and_the_correction_removes_the_bias_of_noise():
    prompts = [world(seed) for seed in range(60)]
    reference, trained, optimum = exact(prompts)
    got = report(drawn(prompts, 64, 6, 0.5, 0), LAM, 300, 0)
    assert got["objective_reference"] == pytest.approx(reference, abs=0.03)
    assert got["objective_trained"] == pytest.approx(trained, abs=0.03)
    assert got["objective_optimum"] == pytest.approx(optimum, abs=0.03)
    assert got["objective_optimum_uncorrected"] > got["objective_optimum"] + 0.02
    assert got["share_of_gain"] == pytest.approx((trained - reference) / (optimum - reference), abs=0.05)


def test_intervals_cover_the_share_over_new_prompts():
    whole = exact([world(seed) for seed in range(1000, 4000)])
    truth = (whole[1] - whole[0]) / (whole[2] - whole[0])
    hits = 0
    for trial in range(100):
        prompts = [world(10_000 + 50 * trial + i) for i in range(50)]
        low, high = report(drawn(prompts, 48, 6, 0.5, trial), LAM, 200, trial)["share_ci95"]
        hits += low <= truth <= high
    assert hits >= 85


def test_the_frontier_rises_with_its_price_falling_and_drops_points_that_rest_on_few_draws():
    points = report(drawn([world(s) for s in range(40)], 64, 8, 0.3, 1), LAM, 200, 0)["frontier"]
    kls, rewards = [p["kl"] for p in points], [p["reward"] for p in points]
    assert kls == sorted(kls)
    assert rewards == sorted(rewards)
    assert all(p["ess"] >= 5 for p in points)
    few = report(drawn([world(s) for s in range(40)], 3, 8, 0.3, 1), LAM, 200, 0)["frontier"]
    assert len(few) < len(points)
