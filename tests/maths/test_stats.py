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
    assert np.isnan(stats.mean_interval(np.array([1.0]))).all()
    assert np.isnan(stats.mean(np.full((3, 2), np.nan)))


def test_failed_samples_are_left_out_not_scored():
    assert stats.mean(np.array([[1.0, np.nan], [3.0, 3.0]])) == 2.0
    assert stats.prompt_means(np.array([[1.0, np.nan], [np.nan, np.nan]]))[0] == 1.0


def test_prompts_are_the_clusters_so_repeating_responses_does_not_narrow_the_interval():
    base = clustered(40, 1, 1.0, 0.0, seed=3)
    few = stats.mean_interval(stats.prompt_means(base))
    many = stats.mean_interval(stats.prompt_means(np.repeat(base, 50, axis=1)))
    assert few == pytest.approx(many)


def test_interval_covers_the_truth_about_as_often_as_it_says():
    hits = 0
    for seed in range(400):
        low, high = stats.mean_interval(stats.prompt_means(clustered(60, 3, 1.0, 1.0, seed)))
        hits += low <= 0 <= high
    assert scipy_stats.binomtest(hits, 400, 0.955).pvalue > 0.001


def test_swapping_a_paired_difference_mirrors_it_and_pairing_narrows_it():
    a = clustered(100, 4, 3.0, 0.3, 0)
    b = a + clustered(100, 4, 0.0, 0.3, 1) + 0.5
    there, (low, high) = stats.paired_difference(b, a)
    back, mirrored = stats.paired_difference(a, b)
    assert there == pytest.approx(-back)
    assert (low, high) == pytest.approx((-mirrored[1], -mirrored[0]), abs=0.01)
    wide = stats.mean_interval(stats.prompt_means(b))
    assert high - low < 0.3 * (wide[1] - wide[0])


SHAPES = {
    "skewed": (lambda rng, shape: rng.exponential(size=shape), 1.0),
    "grades": (lambda rng, shape: rng.choice(5, shape, p=[0.05, 0.1, 0.15, 0.3, 0.4]).astype(float), 2.9),
}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("prompts", [5, 10, 20])
def test_intervals_cover_means_of_few_skewed_or_discrete_figures_where_t_alone_falls_short(shape, prompts):
    draw, truth = SHAPES[shape]
    figures = draw(np.random.default_rng(prompts), (2000, prompts))
    found = np.array([stats.mean_interval(row) for row in figures])
    told = ~np.isnan(found[:, 0])
    covered = ((found[:, 0] <= truth) & (truth <= found[:, 1]))[told].mean()
    plain = np.array([stats.t_interval(row) for row in figures])[told]
    assert covered > 0.925  # 93.5% less two standard errors of 2,000 worlds
    assert covered > ((plain[:, 0] <= truth) & (truth <= plain[:, 1])).mean()
    assert told.mean() > 0.98


def test_many_normal_figures_pay_next_to_nothing_for_the_cover_of_skewed_ones():
    for prompts, most in ((20, 1.1), (50, 1.05), (200, 1.02)):
        figures = np.random.default_rng(0).normal(size=(200, prompts))
        widths = [np.ptp(stats.mean_interval(row)) / np.ptp(stats.t_interval(row)) for row in figures]
        assert 1 <= np.median(widths) < most


def test_an_interval_reaches_further_where_the_tail_is_and_scales_with_its_figures():
    figures = np.random.default_rng(1).exponential(size=30)
    low, high = stats.mean_interval(figures)
    assert high - figures.mean() > 1.2 * (figures.mean() - low)
    assert stats.mean_interval(-figures) == pytest.approx((-high, -low))
    for size in (1e-300, 1e-6, 1e16, 1e200):
        assert stats.mean_interval(size * figures) == pytest.approx((size * low, size * high))
    assert stats.mean_interval(figures + 1e6) == pytest.approx((low + 1e6, high + 1e6), rel=1e-9)
    gaps = np.insert(figures, [3, 17], np.nan)
    assert stats.mean_interval(gaps) == stats.mean_interval(figures)


@pytest.mark.parametrize("value", [0.0, 0.1, -3.7, 1e9 / 3])
def test_what_no_interval_can_tell_is_withheld_with_its_reason(value):
    equal = np.full(12, value)
    equal[:6] += 1e-16 * value
    assert stats.mean_interval(equal).why == "all prompts alike"
    assert stats.mean_interval(equal[:4]).why == "under 5 prompts"
    assert stats.mean_interval(np.full(20, np.nan)).why == "under 5 prompts"
    assert np.isnan(stats.mean_interval(equal)).all()
    one_off = np.append(equal[1:], value + 1)
    low, high = stats.mean_interval(one_off)
    assert value - 2 < low <= one_off.mean() <= high < value + 2


def test_the_bootstrap_reaches_as_far_as_students_t():
    """Percentiles of means of five resampled normal figures are 0.6 times as wide as t's interval."""
    figures = np.random.default_rng(0).normal(size=(40, 8))
    ratios = [
        np.ptp(stats.bootstrap(lambda index, row=row: row[index].mean(1), 8, 4000, 0)) / np.ptp(stats.t_interval(row))
        for row in figures
    ]
    assert np.median(ratios) == pytest.approx(1, abs=0.08)
    assert stats.bootstrap(lambda index: figures[0][index].mean(1), 4, 100, 0).why == "under 5 prompts"
    assert stats.bootstrap(lambda index: np.ones(len(index)), 9, 100, 0).why == "all prompts alike"


@pytest.mark.parametrize("runs", [2, 3, 5, 16, 17, 18, 40, 300])
def test_the_interval_of_a_few_runs_is_students(runs):
    values = np.random.default_rng(runs).normal(3, 2, runs)
    theirs = scipy_stats.t.interval(0.95, runs - 1, values.mean(), scipy_stats.sem(values))
    low, high = stats.t_interval(values.tolist())
    assert high - low == pytest.approx(theirs[1] - theirs[0], rel=1e-3)
    assert (low + high) / 2 == pytest.approx(values.mean())
    assert stats.t_interval([1.5] * runs) == (1.5, 1.5)
    assert np.isnan(stats.t_interval([1.5])).all()
