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
