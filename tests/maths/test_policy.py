"""What can be learned of which template a prompt wants, in worlds where it is known."""

import numpy as np
import pytest

from alignpro.maths import crossed, policy

KINDS, TEMPLATES = 3, 4
TEXTS = [f"{kind} of number {n}" for n in range(16) for kind in ("tales", "facts", "steps")]
SEEN = policy.features(TEXTS)
KIND = np.arange(len(TEXTS)) % KINDS


def world(rng, interaction):
    """The mean of each kind of prompt in each template [KINDS, TEMPLATES]."""
    return 0.3 * np.arange(TEMPLATES) + interaction * rng.normal(size=(KINDS, TEMPLATES))


def asked(rng, means, answers=4):
    return means[KIND][..., None] + rng.normal(size=(len(KIND), TEMPLATES, answers))


def reached(means, scores):
    """What the policies of the folds gain over their single templates, by the true means."""
    best, folds = crossed.best_template(scores), crossed.folds(len(scores))
    more = np.zeros(len(scores))
    for fold in range(crossed.FOLDS):
        here = folds == fold
        taken = policy.fit(scores[~here], SEEN[~here]).choose(SEEN[here])
        more[here] = means[KIND[here], taken] - means[KIND[here], best.chosen[here]]
    return more.mean()


def told(interaction, designs=80):
    """Estimates and truths [designs], and the share of intervals that hold the truth."""
    rng, values, truths, held = np.random.default_rng(0), [], [], []
    for _ in range(designs):
        means = world(rng, interaction)
        scores = asked(rng, means)
        value, (low, high) = policy.learned(scores, SEEN, crossed.best_template(scores))
        values.append(value)
        truths.append(reached(means, scores))
        if not np.isnan(low):
            held.append(low <= truths[-1] <= high)
    return np.array(values), np.array(truths), held


def test_nothing_is_gained_where_no_prompt_wants_its_own():
    values, truths, _ = told(0.0)
    assert np.mean(truths) == pytest.approx(0, abs=0.01) and np.mean(values) == pytest.approx(0, abs=0.02)
    assert (values == 0).mean() > 0.5  # most often the single template is all that is learned


def test_what_depends_on_a_word_is_learned_and_told_without_bias():
    values, truths, held = told(1.0)
    errors = values - truths
    assert np.mean(truths) > 0.3
    assert abs(errors.mean()) < 3 * errors.std() / len(errors) ** 0.5
    assert np.mean(held) > 0.88  # 95% of 80 is under it once in a hundred


def test_features_are_lengths_and_the_words_that_some_prompts_share():
    seen = policy.features(["Tell me of owls", "tell me of the sea", "of RUST", "of rust and owls"])
    assert seen.shape == (4, 2 + len(["tell", "me", "owls", "rust"]))
    assert np.allclose(seen.mean(0), 0)
    assert [(seen[:, :2] ** 2).sum() / 4, (seen[:, 2:] ** 2).sum() / 4] == pytest.approx([1, 1])
    of_rust = np.flatnonzero([np.ptp(seen[[2, 3], column]) < 1e-12 < np.ptp(seen[:, column]) for column in range(6)])
    assert len(of_rust) >= 1
    assert not policy.features(["one", "two", "six"]).any()  # nothing in common, and of one length
    assert policy.features(["猫的故事", "狗的故事", "狗吃什么"]).shape[1] == 2 + len("的故事狗")


def test_a_template_without_answers_is_never_chosen_and_empty_cells_say_nothing():
    rng = np.random.default_rng(1)
    scores = asked(rng, world(rng, 1.0))
    scores[:, 2] = np.nan
    scores[5, 1] = np.nan
    assert 2 not in policy.fit(scores, SEEN).choose(SEEN)
    value, (low, high) = policy.learned(scores, SEEN, crossed.best_template(scores))
    assert low < value < high
    level = policy.fit(scores, 0 * SEEN)
    assert not level.slopes.any() and len(set(level.choose(SEEN))) == 1


def test_of_one_prompt_nothing_is_learned():
    scores = asked(np.random.default_rng(2), np.zeros((KINDS, TEMPLATES)))
    for few, defined in ((1, False), (2, True)):
        value, interval = policy.learned(scores[:few], SEEN[:few], crossed.best_template(scores[:few]))
        assert np.isfinite(value) == defined and np.isnan(interval).all()


def test_what_a_vector_tells_is_learned_where_no_word_does():
    rng = np.random.default_rng(0)
    vectors = np.eye(KINDS)[KIND] + 0.1 * rng.normal(size=(len(KIND), KINDS))
    mute = ["a prompt"] * len(TEXTS)
    means = np.eye(KINDS, TEMPLATES)
    scores = asked(rng, means, 8)
    best = crossed.best_template(scores)
    blind, _ = policy.learned(scores, policy.features(mute), best)
    seeing, (low, _) = policy.learned(scores, policy.features(mute, vectors), best)
    assert blind == pytest.approx(0, abs=0.05)
    assert low > 0.2 and seeing > 0.4  # of the 2/3 that choosing by kind gains over one template
