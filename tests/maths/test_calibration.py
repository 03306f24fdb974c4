import numpy as np
import pytest
from scipy import stats as scipy_stats

from alignpro.maths import calibration


def simulated(rng, n=2000, temperature=1.0, per_prompt=4, spread=1.5):
    """Margins of a model that is right but `temperature` times too sure, winners drawn from the true odds."""
    true = rng.normal(0, spread, n)
    won = rng.random(n) < 1 / (1 + np.exp(-true))
    return temperature * np.where(won, true, -true), np.repeat(np.arange(n // per_prompt), per_prompt)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_the_temperature_of_simulated_logits_is_found_and_covered(temperature):
    rng, covered = np.random.default_rng(0), 0
    for trial in range(20):
        margins, cluster = simulated(rng, 800, temperature)
        found, (low, high) = calibration.temperature(margins, cluster, 200, trial)
        assert found == pytest.approx(temperature, rel=0.35)
        covered += low <= temperature <= high
    assert covered >= 16  # 95% intervals; fewer than 16 of 20 has a chance of 0.0003


def test_a_calibrated_model_has_the_error_that_chance_gives_it_and_an_over_sure_one_has_more():
    rng = np.random.default_rng(1)
    errors = []
    for trial in range(20):
        margins, cluster = simulated(rng, 1000)
        error, _, by_chance = calibration.calibration_error(margins, cluster, 100, trial)
        errors.append(error - by_chance)
    assert abs(np.mean(errors)) < 3 * np.std(errors, ddof=1) / np.sqrt(20) + 0.003
    margins, cluster = simulated(rng, 4000, temperature=4.0)
    error, (low, _), by_chance = calibration.calibration_error(margins, cluster, 200, 0)
    assert low > by_chance
    bins = calibration.reliability(margins, cluster)
    assert bins[-1].confidence > bins[-1].ci95[1]
    assert sum(b.pairs for b in bins) == 4000
    assert error == pytest.approx(sum(abs(b.accuracy - b.confidence) * b.pairs for b in bins) / 4000)


def test_saying_a_pair_several_times_narrows_no_interval():
    rng = np.random.default_rng(2)
    margins, cluster = simulated(rng, 400)
    once = calibration.share(calibration.right(margins), cluster)
    often = calibration.share(calibration.right(np.tile(margins, 7)), np.tile(cluster, 7))
    assert often[0] == pytest.approx(once[0])
    assert often[1] == pytest.approx(once[1])
    alone = calibration.share(calibration.right(np.tile(margins, 7)), np.arange(2800))
    assert alone[1][1] - alone[1][0] < 0.6 * (once[1][1] - once[1][0])


def test_correlation_is_scipys():
    rng = np.random.default_rng(3)
    a, noise = rng.normal(size=(2, 300))
    value, (low, high) = calibration.correlation(a, a + noise, np.arange(300), 500, 0)
    assert value == pytest.approx(scipy_stats.pearsonr(a, a + noise).statistic)
    assert low < value < high
    assert np.isnan(calibration.correlation(a, np.ones(300), np.arange(300), 100, 0)[0])


def test_what_is_undefined_is_nan():
    none = np.zeros(0)
    assert np.isnan(calibration.share(none, none.astype(int))[0])
    assert np.isnan(calibration.temperature(np.ones(50), np.arange(50), 100, 0)[0])  # every pair won
    assert np.isnan(calibration.calibration_error(none, none.astype(int), 100, 0)[0])
    assert np.isnan(calibration.share(np.ones(3), np.zeros(3, dtype=int))[1]).all()  # one prompt
