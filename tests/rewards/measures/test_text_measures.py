"""Measures of an answer alone, by hand."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alignpro.config import RewardSettings, RewardSpec
from alignpro.errors import SettingsError
from alignpro.maths import lengths
from alignpro.rewards import load_reward
from alignpro.rewards.measures import formulas
from alignpro.types import Response

TEXT = "Many happy children play outside. They sing songs about animals."
"""10 words in 2 sentences, 53 letters, 3 words of 7 letters or more, 17 syllables."""


def load(name, **arguments):
    return load_reward(RewardSpec(model=f"measure:{name}", arguments=arguments))


def value(name, answer, **arguments):
    scored = load(name, **arguments).score(["x"], [answer])
    return scored.reasons[0] or pytest.approx(scored.values[0], abs=1e-9)


@pytest.mark.parametrize(
    ("answer", "arguments", "share"),
    [
        ("a b c a b c", {}, 0.25),  # abc, bca, cab, abc
        ("A b, c! a B c", {}, 0.25),
        ("a b", {}, 0),
        ("", {}, 0),
        ("no no no yes", {"n": 1}, 0.5),
        ("<think>no no no</think>yes no", {"n": 1}, 0),
        ("东西东西", {"n": 2}, 1 / 3),
    ],
)
def test_repetition_is_the_share_of_runs_of_words_that_stand_there_before(answer, arguments, share):
    assert value("repetition", answer, **arguments) == share


@pytest.mark.parametrize(
    ("count", "arguments", "worth"),
    [
        (7, {}, 7),
        (0, {}, 0),
        (5, {"least": 10}, 0.5),
        (0, {"least": 10}, 0),
        (10, {"least": 10, "most": 20}, 1),
        (20, {"least": 10, "most": 20}, 1),
        (40, {"least": 10, "most": 20}, 0.5),
        (0, {"most": 20}, 1),
    ],
)
def test_words_are_counted_or_set_beside_a_wanted_range(count, arguments, worth):
    assert value("words", "<think>not these</think> " + "don't, " * count, **arguments) == worth


def test_an_answer_that_was_cut_off_has_not_ended():
    scored = load("ended").score(["x"] * 3, [Response("a"), Response("a", "length"), "a"])
    np.testing.assert_array_equal(scored.values, [1, 0, 1])


@settings(max_examples=50, deadline=None)
@given(st.text() | st.text("a1_ -'.‿½é\u0301\u200dⒶ東ก"))
def test_the_words_listed_are_those_counted(text):
    assert len(lengths.words_of(text)) == lengths.words(text)


@pytest.mark.parametrize(
    ("formula", "figure", "ease"),
    [
        ("flesch", 57.94, 0.5794),  # 206.835 - 1.015 * 5 - 84.6 * 1.7
        ("flesch_kincaid", 6.42, 1 - 6.42 / 18),  # 0.39 * 5 + 11.8 * 1.7 - 15.59
        ("ari", 6.033, 1 - 6.033 / 18),  # 4.71 * 5.3 + 0.5 * 5 - 21.43
        ("coleman_liau", 9.444, 1 - 9.444 / 18),  # 0.0588 * 530 - 0.296 * 20 - 15.8
        ("lix", 35, 0.625),  # 5 + 30, from 60 to 20
    ],
)
def test_readability_is_that_of_its_formula_and_from_0_to_1(formula, figure, ease):
    assert value(f"readability:{formula}", TEXT) == ease
    assert value("readability", TEXT, formula=formula, raw=True) == figure


@pytest.mark.parametrize("formula", formulas.FORMULAS)
def test_figures_stay_within_their_range_and_the_easiest_is_1(formula):
    known = formulas.FORMULAS[formula]
    for answer, figure, ease in (("I go.", known.easiest, 1), ("Internationalisation " * 60, known.hardest, 0)):
        assert value(f"readability:{formula}", answer) == ease
        assert value(f"readability:{formula}", answer, raw=True) == figure
    assert load(f"readability:{formula}", raw=True).name == f"readability:{formula} ({known.unit})"


SPOKEN = {
    1: "made called whole watched names hmm 2026 makes",
    2: "table handled wanted boxes zurich's unique business being player didn't client likely statement",
    3: "media various creating audience idea video visual tourism easier period",
    4: "experience material reality variety society appreciate",
    5: "university individual",
}
"""Words by their syllables in the CMU dictionary, but for the number."""


@pytest.mark.parametrize(("count", "word"), [(n, word) for n, words in SPOKEN.items() for word in words.split()])
def test_syllables_are_counted_by_spelling(count, word):
    assert formulas.syllables_of(word) == formulas.syllables_of(word.upper()) == count


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ("", formulas.NO_WORDS),
        ("<think>It never ends", formulas.NO_WORDS),
        ("...", formulas.NO_WORDS),
        ("Погода сегодня хорошая, see?", formulas.NOT_LATIN),
    ],
)
def test_what_a_formula_cannot_read_has_no_reward_and_a_reason(answer, reason):
    scored = load("readability:ari").score(["x"], [answer])
    assert np.isnan(scored.values[0])
    assert scored.reasons == (reason,)


def test_lines_end_sentences():
    assert formulas.counted("# Title\n- one item\n- another, e.g. this").sentences == 3


@pytest.mark.parametrize(
    ("name", "arguments", "told"),
    [
        ("wrds", {}, "measure:wrds: no such measure; there are measure:similarity, "),
        ("words:9", {}, "behind measure:words stands nothing"),
        ("words", {"leest": 3}, "unknown argument leest; it takes least, most in reward.arguments"),
        ("words", {"least": 3, "most": 2}, "least 3 is more than most 2"),
        ("words", {"least": 0}, "least: Input should be greater than 0"),
        ("repetition", {"n": "3"}, "n: Input should be a valid integer"),
        ("ended", {"by": 3}, "unknown argument by; it has none"),
        ("readability:fog", {}, "formula: Input should be 'flesch', 'flesch_kincaid'"),
    ],
)
def test_what_it_cannot_be_made_of_is_told(name, arguments, told):
    with pytest.raises(SettingsError, match=told):
        load(name, **arguments)


def test_a_bare_name_is_told_how_it_is_written():
    with pytest.raises(SettingsError, match=r"reward\.terms\.0\.model words: a measure of text is written measure:wor"):
        load_reward(RewardSettings(terms=[{"model": "words"}]))
    with pytest.raises(ValueError, match="head: of a model, and measure:words is none"):
        RewardSpec(model="measure:words", head=1)
