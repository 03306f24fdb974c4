import numpy as np
import pytest

from alignpro.config import RewardSettings, Scale
from alignpro.errors import RewardFailure, SettingsError
from alignpro.rewards import load_reward
from alignpro.rewards.composite import AS_IT_IS, TOO_LARGE, CompositeReward, Term
from alignpro.rewards.functions import FunctionReward


def length(xs, ys):
    return [float(len(y)) for y in ys]


def asks(xs, ys):
    return [None if "mute" in y else float(y.count("?")) for y in ys]


def term(function, weight=1.0, clip=None, scale=None, name=None):
    name = name or function.__name__
    return Term(name, FunctionReward(name, function), weight, clip, scale or Scale(std=1))


YS = ["what?", "a mute one", "????", "longer than that is"]
XS = ["x"] * 4


def test_the_sum_is_that_of_its_terms_and_their_raw_scores_are_kept():
    reward = CompositeReward((term(length, 0.5), term(asks, -2.0)))
    result = reward.score(XS, YS)
    np.testing.assert_array_equal(result.parts["length"], [5, 10, 4, 19])
    np.testing.assert_array_equal(result.parts["asks"], [1, np.nan, 4, 0])
    np.testing.assert_array_equal(result.values, [0.5, np.nan, -6, 9.5])
    assert result.reasons == (None, "asks: reward gave None", None, None)
    assert reward.name == "0.5 length - 2 asks"


def test_one_term_of_weight_one_is_that_reward_and_weight_zero_only_measures():
    plain = FunctionReward("length", length).score(XS, YS).values
    np.testing.assert_array_equal(CompositeReward((term(length),)).score(XS, YS).values, plain)
    watched = CompositeReward((term(length), term(lambda xs, ys: [7.0] * 4, 0.0, name="seven"))).score(XS, YS)
    np.testing.assert_array_equal(watched.values, plain)
    assert watched.parts["seven"].mean() == 7


def test_a_term_is_normalised_then_clipped_then_weighted():
    reward = CompositeReward((term(length, 10.0, clip=(-1, 2), scale=Scale(mean=5, std=2)),))
    np.testing.assert_array_equal(reward.score(XS, YS).values, [0, 20, -5, 20])


def test_measured_scales_make_mean_0_and_deviation_1_on_what_they_were_measured_on():
    reward = CompositeReward((term(length), Term("more", FunctionReward("more", length), 1.0, None, None)))
    assert reward.unscaled == ("more",)
    with pytest.raises(SettingsError, match=r"more is normalised .*mean: M"):
        reward.score(XS, YS)
    scaled = reward.scaled(reward.measure(XS, YS))
    again = CompositeReward(scaled.terms[1:]).score(XS, YS).values
    assert again.mean() == pytest.approx(0)
    assert again.std(ddof=1) == pytest.approx(1)
    flat = CompositeReward((Term("flat", FunctionReward("flat", lambda x, y: [3.0] * len(y)), 1.0, None, None),))
    with pytest.raises(RewardFailure, match=r"flat gave 4 scores .* all are equal"):
        flat.measure(XS, YS)
    with pytest.raises(RewardFailure, match="that is too few"):
        flat.measure(XS[:1], YS[:1])


@pytest.mark.parametrize("size", [1e-12, 1e12])
def test_scores_of_any_size_have_a_scale(size):
    small = FunctionReward("small", lambda x, y: [size * score for score in length(x, y)])
    scale = CompositeReward((Term("small", small, 1.0, None, None),)).measure(XS, YS)["small"]
    assert scale.std == pytest.approx(size * np.std(length(XS, YS), ddof=1))


def test_a_sum_that_float64_cannot_hold_is_a_failed_sample():
    huge = FunctionReward("huge", lambda x, y: [1e308 if i else 1.0 for i in range(len(y))])
    scored = CompositeReward((Term("huge", huge, 10.0, None, AS_IT_IS),)).score(XS, YS)
    assert scored.values[0] == 10
    assert np.isnan(scored.values[1:]).all()
    assert scored.reasons == (None, *[TOO_LARGE] * (len(YS) - 1))


def test_terms_from_settings(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "term_rewards.py").write_text(
        "def power(xs, ys, to=1):\n    return [len(y) ** to for y in ys]\n"
        "class Words:\n"
        "    def __init__(self, cost):\n        self.cost = cost\n"
        "    def __call__(self, xs, ys):\n        return [-self.cost * len(y.split()) for y in ys]\n"
        "ready = Words(2)\n"
    )
    square = {"model": "python:term_rewards:power", "arguments": {"to": 2}, "name": "square"}
    words = {"model": "python:term_rewards:Words", "arguments": {"cost": 3}, "weight": 2}
    ready = {"model": "python:term_rewards:ready", "weight": 0}
    reward = load_reward(RewardSettings(terms=[square, words, ready]))
    result = reward.score(["x"], ["ab cd"])
    assert {name: values.tolist() for name, values in result.parts.items()} == {
        "square": [25],
        "term_rewards:Words": [-6],
        "term_rewards:ready": [-4],
    }
    assert result.values.tolist() == [13]
    with pytest.raises(SettingsError, match=r"reward\.terms\.1\.model python:term_rewards:Words: making it .* failed"):
        load_reward(RewardSettings(terms=[square, words | {"arguments": {"prise": 3}}]))
    with pytest.raises(SettingsError, match=r"cannot be called so .*too"):
        load_reward(RewardSettings(terms=[square | {"arguments": {"too": 2}}]))
    with pytest.raises(SettingsError, match="two terms are called term_rewards:power"):
        load_reward(RewardSettings(terms=[{k: v for k, v in square.items() if k != "name"}] * 2))
