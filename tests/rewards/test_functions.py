import numpy as np
import pytest

from alignpro.errors import SettingsError
from alignpro.rewards.functions import FunctionReward, load_function


def score(function, n=4):
    return FunctionReward("test", function).score([f"x{i}" for i in range(n)], [f"y{i}" for i in range(n)])


def test_good_scores_pass_through():
    result = score(lambda xs, ys: [i for i, _ in enumerate(ys)])
    np.testing.assert_array_equal(result.values, [0, 1, 2, 3])
    assert result.reasons == (None,) * 4


@pytest.mark.parametrize("bad", [None, float("nan"), float("inf"), "high", [1.0]])
def test_one_bad_score_is_masked_with_a_reason_and_the_others_kept(bad):
    result = score(lambda xs, ys: [1.0, bad, 2.0, 3.0])
    assert np.isnan(result.values[1])
    assert result.reasons[1]
    np.testing.assert_array_equal(result.values[[0, 2, 3]], [1, 2, 3])


def test_a_pair_that_makes_it_raise_costs_only_itself():
    def picky(xs, ys):
        if "x2" in xs:
            raise KeyError("x2")
        return [1.0] * len(xs)

    result = score(picky)
    np.testing.assert_array_equal(np.isnan(result.values), [False, False, True, False])
    assert "KeyError" in result.reasons[2]


@pytest.mark.parametrize("wrong", [[], [1.0], [1.0] * 9])
def test_a_wrong_count_is_never_guessed_at(wrong):
    result = score(lambda xs, ys: wrong)
    fits_one = len(wrong) == 1
    assert np.isnan(result.values).all() != fits_one  # [1.0] is right for one pair at a time
    if not fits_one:
        assert f"gave {len(wrong)} scores for 1 pair" in result.reasons[0]


def test_naming_faults_are_told(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my_reward.py").write_text("def length(prompts, responses):\n    return [len(r) for r in responses]\n")
    assert load_function("python:my_reward:length", "reward.model").score(["a"], ["bcd"]).values.tolist() == [3.0]
    with pytest.raises(SettingsError, match="it has length"):
        load_function("python:my_reward:lenght", "reward.model")
    with pytest.raises(SettingsError, match="importing no_such_module"):
        load_function("python:no_such_module:f", "reward.model")
    with pytest.raises(SettingsError, match="not of the form"):
        load_function("python:my_reward", "reward.model")
