"""The estimators against enumeration: on a world of real language models, repeated draws, do the intervals cover?"""

from functools import cache

import numpy as np
import pytest

from alignpro import results
from alignpro.config import HeadroomSettings
from alignpro.headroom.estimates import Estimator
from alignpro.headroom.samples import Samples
from alignpro.lab.few_words import few_words
from alignpro.maths import discrete
from alignpro.results import Headroom
from alignpro.rng import derive
from alignpro.theory import estimate, selection
from alignpro.theory.enumerate import enumerate_world
from alignpro.theory.estimate import MIN_ESS, Draws, gibbs_n

LAM, BETA, REPEATS, PROMPTS = 0.3, 1.0, 200, 100
SETTINGS = HeadroomSettings(rewrites=96, responses=32, answers=64, lams=[3, 1.6, 1, 0.7, 0.5, 0.3, 0.15], gibbs=[4])


@cache
def world():
    words = few_words(3, words=4)
    return enumerate_world(words.prompter, words.frozen, words.reward, words.prompts, lam=LAM, beta=BETA).world


def drawn(log_probabilities, rows, count, rng):
    """`count` outcomes of each of `rows` of a table of log-probabilities. [len(rows), count]"""
    cumulative = np.exp(log_probabilities)[rows].cumsum(1)
    luck = rng.random((len(rows), count)) * cumulative[:, -1:]
    return (cumulative[:, None, :] < luck[..., None]).sum(-1)


def sample(seed, log_trained=None):
    """What sampling the world would have given, prompts drawn anew each time."""
    w, rng = world(), np.random.default_rng(seed)
    x = rng.integers(0, len(w.reward), PROMPTS)
    own = SETTINGS.rewrites // 2 if log_trained is not None else 0
    same = drawn(w.log_reference, x, SETTINGS.rewrites - own, rng)
    ratio = np.zeros_like(w.log_reference)
    if log_trained is not None:
        same = np.concatenate([same, drawn(log_trained, x, own, rng)], axis=1)
        ratio = log_trained - w.log_reference
    rewards = np.empty((*same.shape, SETTINGS.responses))
    for b, row in enumerate(same):
        kinds, where = np.unique(row, return_inverse=True)
        rewards[b] = w.reward[x[b]][drawn(w.log_frozen, kinds, SETTINGS.responses, rng)][where]
    raw = drawn(w.log_frozen_raw, x, SETTINGS.answers, rng)
    return Samples(
        prompts=tuple(map(str, range(PROMPTS))),
        from_reference=SETTINGS.rewrites - own,
        texts=tuple(tuple(map(str, row)) for row in same),
        rewards=rewards,
        raw=np.take_along_axis(w.reward[x], raw, 1),
        same=same,
        log_ratio=np.take_along_axis(ratio[x], same, 1),
        distance=w.distances_under_reference[x],
        frozen_calls=0,
    )


def report(seed, log_trained=None):
    return Estimator(sample(seed, log_trained), LAM, BETA, SETTINGS, 2, 500, derive(seed, "bootstrap")).report("r")


def exact(log_trained=None):
    """The truth of every figure in `figures`."""
    w = world()
    best = w.log_optimum
    truth = {
        "no prompter": w.over_prompts(w.rewards_of_prompts),
        "reference": w.prompter_reward(w.log_reference),
        "rlhf": w.policy_reward(w.log_rlhf),
        "d1": w.d1,
        "d2": w.d2(best),
        "gap": w.gap(best),
    }
    for factor in SETTINGS.lams:
        lam = LAM * factor
        log_rho = w.log_optimum_at(lam)
        truth[f"reward {lam:g}"], truth[f"kl {lam:g}"] = w.prompter_reward(log_rho), w.kl_to_reference(log_rho)
        truth[f"objective {lam:g}"] = w.prompter_reward(log_rho) - lam * w.kl_to_reference(log_rho)
    if log_trained is not None:
        truth["trained reward"] = w.prompter_reward(log_trained)
        truth["trained kl"] = w.kl_to_reference(log_trained)
        truth["trained objective"] = w.objective(log_trained)
        truth["distance"] = LAM * w.distance(log_trained)
        truth["trained gap"] = w.gap(log_trained)
        truth["share"] = (w.objective(log_trained) - truth["reference"]) / (w.objective(best) - truth["reference"])
    return truth


def figures(found):
    """(name, interval) of every figure that is not withheld."""
    for name, key in (("no prompter", "no_prompter"), ("reference", "reference_prompter"), ("rlhf", "rlhf_optimum")):
        if found[key]:
            yield name, found[key]["ci95"]
    for name in ("d1", "d2", "gap"):
        if found[name]:
            yield name, found[name]["ci95"]
    for point in found["frontier"]:
        yield f"reward {point['kl_coef']:g}", point["ci95"]
        yield f"kl {point['kl_coef']:g}", point["kl_ci95"]
        yield f"objective {point['kl_coef']:g}", point["objective_ci95"]
    if trained := found["trained_prompter"]:
        yield "trained reward", trained["ci95"]
        yield "trained kl", trained["kl_ci95"]
        yield "trained objective", trained["objective_ci95"]
        for name, key in (("distance", "distance"), ("share", "share_of_gain"), ("trained gap", "gap")):
            if trained[key]:
                yield name, trained[key]["ci95"]


@pytest.mark.parametrize("with_trained", [False, True], ids=["before training", "with a trained prompter"])
def test_intervals_cover_the_truth_wherever_they_are_shown(with_trained):
    log_trained = world().log_optimum_at(1.5 * LAM) if with_trained else None
    truth = exact(log_trained)
    inside, shown = dict.fromkeys(truth, 0), dict.fromkeys(truth, 0)
    for seed in range(REPEATS):
        for name, (low, high) in figures(report(seed, log_trained)):
            shown[name] += 1
            inside[name] += low <= truth[name] <= high
    often = {name: inside[name] / shown[name] for name in truth if shown[name] == REPEATS}
    assert len(often) >= 15
    assert {name: share for name, share in often.items() if not 0.92 <= share <= 0.98} == {}


def test_where_the_own_price_is_withheld_the_lowest_that_can_be_told_stands_beside_it_over_a_floor():
    few = SETTINGS.model_copy(update={"lams": [0.5, 0.3]})
    lam = 0.3 * LAM
    truth = world().prompter_reward(world().log_optimum_at(lam)) - world().over_prompts(world().rewards_of_prompts)
    floors, misses = [], 0
    for seed in range(20):
        samples = sample(seed)
        found = Estimator(samples, lam, BETA, few, 2, 100, 0).report("r")
        assert found.optimum is None
        (point,) = found.frontier
        assert lam < point.kl_coef < 4 * lam and point.ess >= MIN_ESS
        assert estimate.tilt(Draws.of_rewards(samples.rewards, samples.same), 0.8 * point.kl_coef).why_withheld
        (drawn,) = found.gibbs
        floors.append(drawn.gain.value - lam * drawn.kl)
        misses += drawn.gain.lo - lam * drawn.kl > truth
    assert max(floors) < truth
    assert misses == 0


def test_what_rests_on_few_draws_is_withheld_and_says_what_it_needs():
    found = report(0)
    lams = [point["kl_coef"] for point in found["frontier"]]
    assert all(point["ess"] >= MIN_ESS for point in found["frontier"])
    rows = {row["figure"]: row for row in found["withheld"]}
    lowest = LAM * min(SETTINGS.lams)
    assert lowest not in lams
    assert rows[f"frontier at kl_coef {lowest:g}"]["needs"]["rewrites"] > SETTINGS.rewrites
    assert len(lams) + len(rows) == len(SETTINGS.lams)


@pytest.mark.parametrize("with_trained", [False, True], ids=["before training", "with a trained prompter"])
def test_what_is_written_is_read_again_figure_for_figure(tmp_path, with_trained):
    found = report(0, world().log_optimum_at(1.5 * LAM) if with_trained else None)
    results.write(tmp_path / "headroom.json", found)
    again = results.read(Headroom, tmp_path / "headroom.json")
    assert again is not None and again == found and not again.empty
    assert again["d2"]["ci95"] == [found.d2.lo, found.d2.hi]
    assert ("rewrites" in again.withheld[0].needs) and ("answers" not in again.withheld[0].needs)


def test_noise_inflates_what_is_not_corrected_for_it():
    few = sample(1)
    few = Samples(**{name: getattr(few, name) for name in few.__slots__} | {"rewards": few.rewards[..., :8]})
    point = Estimator(few, LAM, BETA, SETTINGS, 2, 200, 0).report("r")
    at = next(p for p in point["frontier"] if p["kl_coef"] == pytest.approx(3 * LAM))
    truth = exact()[f"reward {3 * LAM:g}"]
    assert at["reward_uncorrected"] > at["reward"]
    assert abs(at["reward"] - truth) < abs(at["reward_uncorrected"] - truth)


def test_gibbs_n_estimated_from_a_pool_is_gibbs_n_exactly():
    w = world()
    x = np.arange(len(w.reward))
    same = drawn(w.log_reference, x, 20_000, np.random.default_rng(0))
    rewards = np.take_along_axis(w.rewards_of_rewrites, same, 1)
    reward, bound = gibbs_n(rewards, rewards, same, 4, LAM)
    log_rho = selection.gibbs_n(w, 4)
    assert reward.mean() == pytest.approx(w.prompter_reward(log_rho), abs=0.01)
    assert bound.mean() >= w.kl_to_reference(log_rho)


def test_bounds_from_samples_lie_above_the_gap_from_the_same_samples():
    w = world()
    for seed in range(5):
        found = report(seed)
        assert found["bounds"]["theorem"]["value"] >= found["bounds"]["sharper"]["value"] >= found["gap"]["value"]
        assert found["bounds"]["span"] <= w.span
    moved = w.over_prompts(discrete.total_variation(w.log_rlhf, w.log_frozen_raw))
    term = found["bounds"]["terms"]["fine_tuning"]["value"] / found["bounds"]["span"]
    assert term == pytest.approx(moved, abs=0.05)
