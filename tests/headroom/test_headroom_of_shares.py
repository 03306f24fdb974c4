"""The estimate where rewards are 0 or 1: what was sampled has intervals of shares, and pages say accuracy."""

from dataclasses import replace

import numpy as np
import pytest

from alignpro.config import HeadroomSettings
from alignpro.headroom.estimates import Estimator
from alignpro.headroom.samples import Samples
from alignpro.maths.shares import share_interval
from alignpro.results import Headroom

PROMPTS, REWRITES, RESPONSES = 40, 8, 4


def estimated(rng, plain=0.98, rewritten=0.9):
    """An estimate on prompts whose chances of a right answer differ, with a trained prompter equal to the reference."""
    chance = rng.beta(3 * rewritten, 3 * (1 - rewritten), (PROMPTS, REWRITES, 1)) if rewritten < 1 else 1
    own = rng.beta(plain, 1 - plain, (PROMPTS, 1)) if plain < 1 else 1
    samples = Samples(
        prompts=tuple(map(str, range(PROMPTS))),
        from_reference=REWRITES // 2,
        texts=((*map(str, range(REWRITES)),),) * PROMPTS,
        rewards=(rng.random((PROMPTS, REWRITES, RESPONSES)) < chance).astype(float),
        raw=(rng.random((PROMPTS, 16)) < own).astype(float),
        same=np.tile(np.arange(REWRITES), (PROMPTS, 1)),
        log_ratio=np.zeros((PROMPTS, REWRITES)),
        distance=np.full(PROMPTS, np.nan),
        frozen_calls=0,
    )
    settings = HeadroomSettings(rewrites=REWRITES, responses=RESPONSES, answers=16, lams=[1], gibbs=[])
    return samples, Estimator(samples, 0.5, 0.5, settings, 1, 100, 0).report("right")


def test_what_was_sampled_covers_the_truth_and_says_that_it_is_a_share():
    rng, held, trials = np.random.default_rng(0), np.zeros(4), 150
    for _ in range(trials):
        _, found = estimated(rng)
        trained = found.trained_prompter
        figures = (found.no_prompter.reward, found.reference_prompter.reward, trained.reward, trained.d2)
        held += [one.lo <= truth <= one.hi for one, truth in zip(figures, (0.98, 0.9, 0.9, 0.08), strict=True)]
    assert found["kind"] == "share" and found.mean == "accuracy"
    assert (held / trials >= 0.93).all(), held / trials


def test_the_means_of_terms_are_those_of_each_prompters_answers_and_a_verified_one_is_a_share():
    samples, _ = estimated(np.random.default_rng(2))
    parts = {"right": samples.rewards, "size": 2 + samples.rewards, "mute": 0 * samples.rewards}
    raw = {"right": samples.raw, "size": 2 + samples.raw, "mute": 0 * samples.raw}
    settings = HeadroomSettings(rewrites=REWRITES, responses=RESPONSES, answers=16, lams=[1], gibbs=[])
    known = replace(samples, parts=parts, raw_parts=raw)
    found = Headroom.model_validate(Estimator(known, 0.5, 0.5, settings, 1, 100, 0).report("right").tree())
    for one, rewards in (
        (found.no_prompter, samples.raw),
        (found.reference_prompter, samples.rewards[:, : REWRITES // 2]),
        (found.trained_prompter, samples.rewards[:, REWRITES // 2 :]),
    ):
        terms = one.reward_terms
        assert {name: term.kind for name, term in terms.items()} == {"right": "share", "size": "", "mute": ""}
        assert terms["right"].mean.value == pytest.approx(rewards.mean())
        assert terms["right"].mean.ci95 == pytest.approx(one.reward.ci95)
        assert terms["size"].mean.value == pytest.approx(2 + rewards.mean())


def test_where_all_is_right_the_interval_still_has_a_width():
    samples, found = estimated(np.random.default_rng(1), plain=1, rewritten=1)
    low, high = share_interval(np.ones((PROMPTS, 1)))
    assert found.no_prompter.reward.ci95 == pytest.approx([low, high])
    assert found.trained_prompter.d2.value == 0 and found.trained_prompter.d2.lo < 0 < found.trained_prompter.d2.hi
    assert samples.rewards.all() and "accuracy (right)" in found._repr_html_()


def test_a_file_of_other_rewards_has_no_kind():
    tree = Headroom.model_validate({"reward": "letters"}).tree()
    assert "kind" not in tree and Headroom.model_validate(tree).mean == "mean reward"
