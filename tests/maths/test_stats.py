import numpy as np
import pytest
from scipy import stats as scipy_stats

from alignpro.maths import stats


def clustered(prompts, responses, between, within, seed):
    rng = np.random.default_rng(seed)
    return rng.normal(0, between, (prompts, 1)) + rng.normal(0, within, (prompts, responses))


def test_variance_splits_into_what_was_put_in():
    parts = stats.variance(clustered(20_000, 4, between=2.0, within=1.0, seed=0))
    assert parts.between == pytest.approx(4.0, rel=0.05)
    assert parts.within == pytest.approx(1.0, rel=0.05)
    assert parts.total == parts.between + parts.within


def test_between_variance_is_zero_not_negative_when_prompts_do_not_differ():
    parts = [stats.variance(clustered(30, 3, 0.0, 1.0, seed)).between for seed in range(50)]
    assert min(parts) == 0.0
    assert np.mean(parts) < 0.1


def test_undefined_figures_are_nan():
    one_response = stats.variance(np.array([[1.0], [2.0]]))
    assert np.isnan([one_response.total, one_response.between, one_response.within]).all()
    one_prompt = stats.variance(np.array([[1.0, 2.0]]))
    assert np.isnan(one_prompt.between)
    assert one_prompt.within == 0.5
    assert np.isnan(stats.mean_interval(np.array([1.0]), 200, 0)).all()
    assert np.isnan(stats.mean(np.full((3, 2), np.nan)))


def test_failed_samples_are_left_out_not_scored():
    assert stats.mean(np.array([[1.0, np.nan], [3.0, 3.0]])) == 2.0
    assert stats.prompt_means(np.array([[1.0, np.nan], [np.nan, np.nan]]))[0] == 1.0


def test_prompts_are_the_clusters_so_repeating_responses_does_not_narrow_the_interval():
    base = clustered(40, 1, 1.0, 0.0, seed=3)
    few = stats.mean_interval(stats.prompt_means(base), 4000, 0)
    many = stats.mean_interval(stats.prompt_means(np.repeat(base, 50, axis=1)), 4000, 0)
    assert few == pytest.approx(many)


def test_interval_covers_the_truth_about_as_often_as_it_says():
    hits = 0
    for seed in range(400):
        low, high = stats.mean_interval(stats.prompt_means(clustered(60, 3, 1.0, 1.0, seed)), 500, seed)
        hits += low <= 0 <= high
    assert scipy_stats.binomtest(hits, 400, 0.94).pvalue > 0.001  # percentile intervals fall a little short at 60


def test_swapping_a_paired_difference_mirrors_it_and_pairing_narrows_it():
    a = clustered(100, 4, 3.0, 0.3, 0)
    b = a + clustered(100, 4, 0.0, 0.3, 1) + 0.5
    there, (low, high) = stats.paired_difference(b, a, 2000, 7)
    back, mirrored = stats.paired_difference(a, b, 2000, 7)
    assert there == pytest.approx(-back)
    assert (low, high) == pytest.approx((-mirrored[1], -mirrored[0]), abs=0.01)
    wide = stats.mean_interval(stats.prompt_means(b), 2000, 7)
    assert high - low < 0.3 * (wide[1] - wide[0])


def share_covered(interval, draw, truth, trials=400):
    return (
        sum(low <= truth <= high for low, high in (interval(draw(seed), 400, seed) for seed in range(trials))) / trials
    )


@pytest.mark.parametrize("prompts", [16, 48])
def test_the_studentised_interval_covers_skewed_figures_where_percentiles_fall_short(prompts):
    def skewed(seed):
        return np.random.default_rng(seed).lognormal(0, 1, prompts)

    truth = np.exp(0.5)
    percentile = share_covered(stats.mean_interval, skewed, truth)
    studentised = share_covered(stats.studentised_interval, skewed, truth)
    assert studentised > percentile + 0.02
    assert studentised > 0.89


def test_the_studentised_interval_of_a_few_is_students_and_of_many_that_of_any_method():
    few, many = clustered(8, 1, 1.0, 0.0, 0)[:, 0], clustered(4000, 1, 1.0, 0.0, 0)[:, 0]
    assert stats.studentised_interval(few, 500, 0) == stats.t_interval(few.tolist())
    assert stats.studentised_interval(many, 1000, 0) == pytest.approx(stats.mean_interval(many, 1000, 0), abs=0.005)
    gaps = np.insert(many[:50], [3, 17], np.nan)
    assert stats.studentised_interval(gaps, 500, 0) == stats.studentised_interval(many[:50], 500, 0)


@pytest.mark.parametrize("value", [0.0, 0.1, -3.7, 1e9 / 3])
def test_figures_that_are_all_but_equal_do_not_blow_the_interval_up(value):
    equal = np.full(12, value)
    assert stats.studentised_interval(equal, 500, 0) == pytest.approx((value, value))
    one_off = np.append(equal[1:], value + 1)  # a resample without it is all equal, but for rounding
    low, high = stats.studentised_interval(one_off, 500, 0)
    rounding = 1e-12 * max(1.0, abs(value))
    assert value - 2 < low <= one_off.mean() <= high + rounding < value + 2
    assert np.isnan(stats.studentised_interval(np.array([np.nan, value]), 500, 0)).all()
    assert np.isnan(stats.studentised_interval(np.full(20, np.nan), 500, 0)).all()


@pytest.mark.parametrize("runs", [2, 3, 5, 16, 17, 18, 40, 300])
def test_the_interval_of_a_few_runs_is_students(runs):
    values = np.random.default_rng(runs).normal(3, 2, runs)
    theirs = scipy_stats.t.interval(0.95, runs - 1, values.mean(), scipy_stats.sem(values))
    low, high = stats.t_interval(values.tolist())
    assert high - low == pytest.approx(theirs[1] - theirs[0], rel=1e-3)
    assert (low + high) / 2 == pytest.approx(values.mean())
    assert stats.t_interval([1.5] * runs) == (1.5, 1.5)
    assert np.isnan(stats.t_interval([1.5])).all()
