"""The crossed design against small worlds in which everything can be counted."""

import itertools

import numpy as np
import pytest

from alignpro.maths import crossed

MEANS = np.array([[[0.0, 1.0, 0.4]], [[1.0, 0.5, 1.4]]])[:, 0]  # [kinds of prompt, templates]
NOISE = np.array([[0.5, 0.3, 0.2], [0.1, 0.4, 0.6]])
"""An answer scores its cell's mean, plus or minus this, evenly."""


def designs(templates, answers, prompts=2):
    """Every outcome of a design of two equally likely kinds of prompt: kinds [P], scores [P, J, R]."""
    for kinds in itertools.product(range(2), repeat=prompts):
        which = list(kinds)
        for signs in itertools.product((-1, 1), repeat=prompts * templates * answers):
            flips = np.reshape(signs, (prompts, templates, answers))
            yield which, MEANS[which, :templates, None] + NOISE[which, :templates, None] * flips


def population(means):
    """Variances of template and of prompt x template of prompts that are equally likely, from means [P, J]."""
    centred = means - means.mean(1, keepdims=True)
    return (centred.mean(0) ** 2).mean(), centred.var(0).mean()


def truth(means):
    """What choosing for each of these prompts adds."""
    return means.max(1).mean() - means.mean(0).max()


def drawn(rng, prompts=24, templates=4, answers=3, apart=0.5, interaction=0.5):
    own = interaction * rng.normal(size=(prompts, templates))
    means = apart * np.arange(templates) + rng.normal(size=(prompts, 1)) + own
    return means[..., None] + rng.normal(size=(prompts, templates, answers))


def test_variances_are_right_on_average_over_every_outcome():
    told = [crossed.variances(scores) for _, scores in designs(2, 2)]
    found = np.mean([[v.template[0], v.interaction[0], v.noise[0]] for v in told], axis=0)
    noise = (NOISE[:, :2] ** 2).mean()
    assert found == pytest.approx([*population(MEANS[:, :2]), noise], abs=1e-12)
    assert min(v.template[0] for v in told) < 0 and min(v.interaction[0] for v in told) < 0


def test_the_gain_of_the_best_is_right_on_average_for_the_templates_that_were_chosen():
    gain, told, true = (MEANS[:, 1] - MEANS[:, 0]).mean(), [], []
    for _, scores in designs(2, 2):
        best, means = crossed.best_template(scores), scores.mean(-1)
        assert best.chosen.tolist() == [int(means[other, 1] > means[other, 0]) for other in (1, 0)]
        told.append(best.gain[0])
        true.append(gain * best.chosen.mean())
    assert np.mean(told) == pytest.approx(np.mean(true), abs=1e-12)


def test_choosing_on_one_answer_reaches_on_average_what_that_rule_does():
    found = np.mean([crossed.chosen_on(scores, 1) for _, scores in designs(3, 2, prompts=1)])
    reached = []
    for kind, signs in itertools.product(range(2), itertools.product((-1, 1), repeat=3)):
        seen = MEANS[kind] + NOISE[kind] * signs
        reached.append(MEANS[kind][np.isclose(seen, seen.max())].mean())
    assert found == pytest.approx(np.mean(reached), abs=1e-12)
    assert found < MEANS.max(1).mean()


def test_nothing_is_chosen_on_answers_that_leave_none_to_judge_by():
    scores = np.array([[[0.0, 0.0, 5.0], [1.0, 1.0, np.nan]]])
    assert crossed.chosen_on(scores, 1) == pytest.approx((0.0 + 1.0 + 1.0) / 3)  # 5 chooses in one of three
    assert crossed.chosen_on(scores, 2) == pytest.approx(5 / 3)  # the second template's two answers are too few
    assert np.isnan(crossed.chosen_on(scores, 3)).all()


def test_the_ceiling_holds_for_any_world_and_is_reached():
    rng = np.random.default_rng(0)
    for templates in (2, 5, 12):
        for _ in range(50):
            means = rng.standard_t(2, (7, templates))
            assert truth(means) <= crossed.ceiling(population(means)[1], templates) + 1e-12
    one_each = np.eye(6)
    assert truth(one_each) == pytest.approx(crossed.ceiling(population(one_each)[1], 6))


def test_the_most_that_choosing_adds_is_told_on_average_as_no_less_than_it_is():
    told, true = [], []
    for which, scores in designs(2, 2):
        best = crossed.best_template(scores)
        own = MEANS[which, :2]
        told.append(crossed.at_most(scores, best).mean())
        true.append((own.max(1) - own[range(len(own)), best.chosen]).mean())
    assert np.mean(told) >= np.mean(true)


def test_where_one_template_leads_for_all_its_lead_brings_the_most_far_below_the_ceiling():
    rng = np.random.default_rng(5)
    scores = drawn(rng, 96, 6, 6, 1.0, 0.0)
    best = crossed.best_template(scores)
    interaction = crossed.variances(scores).interaction[1]
    assert 0 < crossed.bracket(scores, best, interaction).above < crossed.ceiling(interaction[1], 6) / 2
    scores[0, 1] = np.nan
    assert np.isnan(crossed.at_most(scores, best)[0]) and np.isfinite(crossed.at_most(scores, best)[1:]).all()


def test_cells_that_failed_and_unequal_numbers_leave_the_variances_unbiased():
    here = np.array([[[1, 1, 0], [0, 0, 0]], [[1, 1, 0], [1, 1, 0]], [[1, 1, 0], [1, 1, 1]]], bool)
    found = []
    for kinds in itertools.product(range(2), repeat=2):
        which = [0, *kinds]
        for signs in itertools.product((-1, 1), repeat=9):
            flips = np.ones((3, 2, 3))
            flips[1:][here[1:]] = signs
            scores = np.where(here, MEANS[which, :2, None] + NOISE[which, :2, None] * flips, np.nan)
            parts = crossed.variances(scores)
            found.append([parts.template[0], parts.interaction[0]])
    assert np.mean(found, axis=0) == pytest.approx(population(MEANS[:, :2]), abs=1e-12)


def test_intervals_hold_the_truth_with_and_without_interaction():
    rng = np.random.default_rng(1)
    for apart, interaction in ((0.0, 0.0), (0.2, 0.0), (0.2, 0.6)):
        level = apart**2 * np.var(np.arange(4)), interaction**2 * 3 / 4
        held, gains = [], []
        for _ in range(120):
            scores = drawn(rng, apart=apart, interaction=interaction)
            parts, best = crossed.variances(scores), crossed.best_template(scores)
            told = [parts.template[1], parts.interaction[1], parts.noise[1]]
            held.append([low <= true <= high for (low, high), true in zip(told, (*level, 1.0), strict=True)])
            gains.append(best.gain[1][0] <= apart * best.chosen.mean() <= best.gain[1][1])
        assert np.mean(held, axis=0).min() > 0.88 and np.mean(gains) > 0.88  # 95% of 120 is under it once in 2,000


def test_one_template_for_all_leaves_nothing_below_and_one_for_each_shows_between():
    rng = np.random.default_rng(2)
    alike, apart = drawn(rng, 40, 6, 5, 0.4, 0.0), drawn(rng, 40, 6, 5, 0.0, 2.0)
    for scores, least in ((alike, 0.0), (apart, 1.0)):
        best = crossed.best_template(scores)
        between = crossed.bracket(scores, best, crossed.variances(scores).interaction[1])
        assert list(between.below) == [1, 2, 4]
        assert (between.low >= least) if least else (between.low == 0)
        assert between.above > between.low
    assert crossed.best_template(alike).template == 5
    assert crossed.best_template(alike).rivals < 6 == crossed.best_template(drawn(rng, 12, 6, 2, 0.0, 0.0)).rivals


def test_moving_all_scores_moves_nothing_and_the_order_of_answers_does_not_count():
    scores = drawn(np.random.default_rng(3))
    plain, moved = crossed.variances(scores), crossed.variances(7 + scores[..., ::-1])
    for one, other in ((plain.template, moved.template), (plain.interaction, moved.interaction)):
        assert [one[0], *one[1]] == pytest.approx([other[0], *other[1]], abs=1e-9)
    assert crossed.best_template(scores).gain[0] == pytest.approx(crossed.best_template(7 + scores).gain[0])
    gains = crossed.gains(scores)
    assert gains[0][0] == 0 and np.isnan(gains[0][1]).all()
    assert gains[3][0] == pytest.approx((scores[:, 3].mean(1) - scores[:, 0].mean(1)).mean())


def test_what_is_undefined_is_nan():
    scores = drawn(np.random.default_rng(4), prompts=3)
    parts, best = crossed.variances(scores), crossed.best_template(scores)
    assert np.isfinite(parts.template[0]) and np.isnan(parts.template[1]).all()
    assert np.isnan(crossed.bracket(scores, best, parts.interaction[1]).above)
    assert crossed.bracket(scores, best, parts.interaction[1]).low == 0  # less than nothing cannot be added
    single = crossed.variances(scores[..., :1])
    assert np.isnan([single.template[0], single.interaction[0], single.noise[0]]).all()
    never = np.concatenate([scores, np.full((3, 1, 3), np.nan)], axis=1)
    assert np.isnan(crossed.variances(never).template[0])
    assert crossed.best_template(never).template == crossed.best_template(scores).template
    alone = crossed.best_template(scores[:1])
    assert alone.chosen.tolist() == [-1] and np.isnan(alone.gain[0])
