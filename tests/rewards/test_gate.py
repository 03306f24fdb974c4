"""A gate scales what the terms make: 0 to 1, by a score or by whether a score passes."""

import numpy as np
import pytest

from alignpro.config import RewardSettings, Scale
from alignpro.errors import SettingsError
from alignpro.rewards import load_reward
from alignpro.rewards.composite import AS_IT_IS, CompositeReward, Gate, Term
from alignpro.rewards.functions import FunctionReward
from alignpro.types import Prompt

YS = ["aaaa 1", "bb 0.5", "cccccc 0", "mute 1", "mute 0", "d 2", "e ?"]
"""An answer's length counts; the number behind it is what the gate gives."""


def size(xs, ys):
    return [None if "mute" in y else float(len(y.split()[0])) for y in ys]


def told(xs, ys):
    return [None if "?" in y else float(y.split()[1]) for y in ys]


def term(weight=1.0, clip=None, scale=AS_IT_IS, name="size"):
    return Term(name, FunctionReward(name, size), weight, clip, scale)


def gate(at_least=None, at_most=None, function=told, name="told"):
    return Gate(name, FunctionReward(name, function), at_least, at_most)


def scored(terms, gates):
    return CompositeReward(tuple(terms), tuple(gates)).score(["x"] * len(YS), YS)


def test_the_reward_is_the_product_and_both_parts_are_kept():
    made = scored([term()], [gate()])
    np.testing.assert_array_equal(made.values, [4, 1, 0, np.nan, 0, np.nan, np.nan])
    assert made.reasons == (
        *[None] * 3,
        "size: reward gave None",
        None,  # a gate of 0 makes it 0, scored or not
        "told: no factor from 0 to 1",
        "told: reward gave None",
    )
    assert set(made.parts) == {"size", "told"}
    np.testing.assert_array_equal(made.parts["size"], [4, 2, 6, np.nan, np.nan, 1, 1])
    np.testing.assert_array_equal(made.parts["told"], [1, 0.5, 0, 1, 0, 2, np.nan])


@pytest.mark.parametrize(
    ("bounds", "factors"),
    [
        ({"at_least": 0.5}, [1, 1, 0, 1, 0, 1, np.nan]),
        ({"at_most": 0.5}, [0, 1, 1, 0, 1, 0, np.nan]),
        ({"at_least": 0.4, "at_most": 1}, [1, 1, 0, 1, 0, 0, np.nan]),
    ],
)
def test_a_score_that_passes_is_1_and_the_factor_is_shown_beside_it(bounds, factors):
    made = scored([term()], [gate(**bounds)])
    np.testing.assert_array_equal(made.parts["gate"], factors)
    np.testing.assert_array_equal(made.parts["told"], [1, 0.5, 0, 1, 0, 2, np.nan])
    sizes = np.array([4, 2, 6, np.nan, np.nan, 1, 1])
    np.testing.assert_array_equal(made.values, np.where(np.array(factors) == 0, 0, sizes * factors))


def test_several_gates_multiply_and_a_sum_is_shown_as_it_was_before_them():
    both = [gate(), gate(at_most=2, function=size, name="short")]
    made = scored([term(2.0), term(-1.0, clip=(0, 3), name="size again")], both)
    assert set(made.parts) == {"size", "size again", "told", "short", "gate", "ungated"}
    np.testing.assert_array_equal(made.parts["ungated"], [8 - 3, 4 - 2, 12 - 3, np.nan, np.nan, 1, 1])
    np.testing.assert_array_equal(made.parts["gate"], [0, 0.5, 0, np.nan, np.nan, np.nan, np.nan])
    np.testing.assert_array_equal(made.values, [0, 1, 0, np.nan, np.nan, np.nan, np.nan])
    assert made.reasons[3:5] == ("short: reward gave None",) * 2


def test_its_name_says_what_is_multiplied():
    assert CompositeReward((term(),), (gate(),)).name == "told * size"
    several = CompositeReward((term(2.0), term(-0.5, name="long")), (gate(0.5), gate(0, 1, name="other")))
    assert several.name == "(0.5 <= told) * (0 <= other <= 1) * (2 size - 0.5 long)"


def test_scales_are_taken_of_the_terms_and_the_gate_stays():
    reward = CompositeReward((term(scale=None),), (gate(),))
    fixed = reward.scaled(reward.measure(["x"] * 3, YS[:3]))
    assert fixed.gates == reward.gates
    np.testing.assert_allclose(fixed.score(["x"] * 3, YS[:3]).values, [0, -0.5, 0])


def of(terms=(), gates=(), **more):
    return load_reward(RewardSettings(terms=list(terms), gate=list(gates), **more))


WORDS = {"model": "measure:words"}


def test_from_settings_a_single_model_is_gated_too():
    reward = of(gates=[{"model": "verify:exact"}], **WORDS)
    assert reward.name == "verify:exact * words"
    made = reward.score([Prompt("x", row={"answer": "an owl"})] * 2, ["an owl", "two owls there"])
    np.testing.assert_array_equal(made.values, [2, 0])
    assert made.parts["words"].tolist() == [2, 3] and made.parts["verify:exact"].tolist() == [1, 0]
    summed = of([{**WORDS, "name": "length", "weight": 0.5}], [{**WORDS, "at_most": 2, "name": "brief"}])
    assert summed.name == "(brief <= 2) * (0.5 length)"
    np.testing.assert_array_equal(summed.score(["x"] * 2, ["an owl", "two owls there"]).values, [1, 0])


def test_what_a_gate_lacks_in_the_rows_is_told():
    (line,) = of(gates=[{"model": "verify:exact"}], **WORDS).check([Prompt("x", row={"answer": "a"}), Prompt("y")])
    assert line.startswith("verify:exact: 1 of 2 prompts get no reward")


@pytest.mark.parametrize(
    ("terms", "below"),
    [
        ([{"model": "measure:repetition", "weight": -1}], "repetition"),
        ([WORDS, {"model": "measure:repetition", "weight": -1}], "repetition"),
        ([{**WORDS, "weight": -1, "clip": [0, 9]}], "words"),
        ([{**WORDS, "normalise": Scale(mean=3, std=1)}], "words"),
        ([{"model": "python:math:hypot"}], "math:hypot"),
        ([WORDS, {"model": "measure:repetition", "weight": 0}], None),
        ([{**WORDS, "normalise": Scale(mean=3, std=1), "clip": [0, 2]}], None),
        ([{**WORDS, "normalise": Scale(mean=-3, std=1)}, {"model": "measure:repetition", "weight": -2}], None),
        ([{"model": "python:math:hypot", "clip": [0, 1]}], None),
    ],
)
def test_it_is_told_where_failing_could_be_worth_more_than_passing(terms, below):
    told = of(terms, [{"model": "measure:ended"}]).check([Prompt("x")])
    assert [f"with what {below} may add" in line for line in told] == ([] if below is None else [True])
    assert of(terms).check([Prompt("x")]) == []


@pytest.mark.parametrize(
    ("terms", "gates", "fault"),
    [
        ([WORDS], [{}], "a gate needs model"),
        ([WORDS], [{**WORDS, "at_least": 2, "at_most": 1}], "at_least 2 is above at_most 1"),
        ([WORDS], [WORDS], r"reward\.gate\.0: words is from 0 to inf, and a factor is from 0 to 1"),
        ([WORDS], [{**WORDS, "at_least": 1}], "two terms are called words"),
        ([{**WORDS, "name": "a"}], [{**WORDS, "name": "a", "at_least": 1}], "two terms have one name"),
        ([{**WORDS, "name": "gate"}], [{**WORDS, "at_least": 1}], "two terms are called gate"),
        ([WORDS], [{"model": "measure:ended", "weight": 2}], "weight"),
    ],
)
def test_a_gate_that_is_none_is_refused(terms, gates, fault):
    with pytest.raises((SettingsError, ValueError), match=fault):
        of(terms, gates)
