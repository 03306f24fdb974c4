import sys
from pathlib import Path

import pytest
from hand_made import TABLES, measure, table
from hypothesis import given
from hypothesis import strategies as st

from alignpro.config import RewardSpec
from alignpro.errors import DataError, SettingsError
from alignpro.rewards import load_reward
from alignpro.rewards.verify import VERIFIERS
from alignpro.types import Prompt, ReadsRows, Response


def load(name, **arguments):
    return load_reward(RewardSpec(model=f"verify:{name}", arguments=arguments))


def score(reward, row, answer):
    scored = reward.score([Prompt("x", row=row)], [Response(answer)])
    return scored.values[0], scored.reasons[0]


@pytest.mark.parametrize("name", VERIFIERS)
def test_no_wrong_answer_is_accepted_and_nearly_every_right_one(name):
    seen = measure(name)
    assert seen.right + seen.wrong >= 40 and min(seen.right, seen.wrong) >= 20
    assert not seen.accepted
    assert not seen.unscored
    assert seen.share >= 0.95, seen.refused


def test_the_page_shows_what_is_measured():
    assert "\n".join(table()) in (Path(__file__).parents[3] / "docs" / "verifying.md").read_text()


def test_every_verifier_has_its_table():
    assert list(TABLES) == list(VERIFIERS)


@pytest.mark.parametrize(
    ("name", "arguments", "told"),
    [
        ("exakt", {}, "verify:exakt: no such verifier; there are verify:exact, "),
        ("exact", {"colum": "a"}, "unknown argument colum; it takes column, case in reward.arguments"),
        ("exact", {"case": "yes"}, "case: Input should be a valid boolean .*'yes'"),
        ("number", {"tolerance": -1.0}, "wanted two not below 0"),
        ("number", {"decimal": ";"}, "wanted two not below 0, and . or ,"),
        ("choice", {"letters": "abc"}, "wanted capitals"),
        ("regex", {"pattern": "("}, r"pattern '\(' is no regular expression"),
        ("json_schema", {"schema": {"type": "objekt"}}, r"schema is no JSON schema \(\$.type: 'objekt'"),
    ],
)
def test_what_it_cannot_be_made_of_is_told(name, arguments, told):
    with pytest.raises(SettingsError, match=told):
        load(name, **arguments)


@pytest.mark.parametrize(
    ("name", "row", "reason"),
    [
        ("exact", {}, "no answer"),
        ("exact", {"answer": None}, "no answer"),
        ("exact", {"answer": "  "}, "no answer"),
        ("exact", {"answer": float("nan")}, "no answer"),
        ("exact", {"answer": ["a", ""]}, "no answer"),
        ("exact", {"answer": {"text": "a"}}, "answer is neither a text or number nor a list of them"),
        ("contains", {"answer": []}, "no answer"),
        ("number", {"answer": "12 km"}, "answer is not a number alone"),
        ("number", {"answer": "12 or 13"}, "answer is not a number alone"),
        ("number", {"answer": True}, "answer is not a number alone"),
        ("number", {"answer": ["12", "many"]}, "answer is not a number alone"),
        ("math", {"answer": "\\frac{1}{"}, "answer is no expression that can be read"),
        ("math", {"answer": "\\text{even}"}, "answer is no expression that can be read"),
        ("choice", {"answer": "Z"}, "answer is no letter of ABCDEFGHIJ"),
        ("choice", {"answer": 1}, "answer is no letter of ABCDEFGHIJ"),
        ("choice", {"answer": "A and B"}, "answer is no letter of ABCDEFGHIJ"),
        ("regex", {"pattern": "("}, "pattern is no regular expression"),
        ("regex", {"pattern": 3}, "pattern is not a text"),
        ("json_schema", {"schema": "{"}, "schema is no JSON schema"),
        ("json_schema", {"schema": {"type": "objekt"}}, "schema is no JSON schema"),
        ("json_schema", {"schema": "3"}, "schema is neither an object nor the JSON text of one"),
    ],
)
def test_a_row_without_a_gold_has_no_reward_and_a_reason(name, row, reason):
    value, why = score(load(name), row, "a")
    assert value != value
    assert why == reason


def test_rows_without_a_gold_are_counted_and_quoted_before_any_work():
    reward = load("exact")
    assert isinstance(reward, ReadsRows)
    prompts = [Prompt(f"question {i}", row={"answer": "a" if i < 5 else None, "id": i}) for i in range(10)]
    (told,) = reward.check(prompts)
    assert told.startswith("verify:exact: 5 of 10 prompts get no reward: no answer ('question 5': answer=None; ")
    assert told.count("question") == 3
    assert reward.check(prompts[:5]) == []
    assert reward.check([]) == []
    with pytest.raises(DataError, match="5 of 5 prompts get no reward"):
        reward.check(prompts[5:])
    with pytest.raises(
        DataError, match="reads the column 'gold', and no prompt has it; the columns there are: answer, id"
    ):
        load("exact", column="gold").check(prompts)


def test_the_terms_of_a_sum_are_asked_too():
    from alignpro.config import RewardSettings

    terms = [{"model": "verify:exact"}, {"model": "verify:regex", "arguments": {"column": "form"}}]
    reward = load_reward(RewardSettings.model_validate({"terms": terms}))
    with pytest.raises(DataError, match="verify:regex reads the column 'form'"):
        reward.check([Prompt("x", row={"answer": "a"})])
    told = reward.check([Prompt("x", row={"answer": "a", "form": "b"}), Prompt("y", row={"answer": "a"})])
    assert told == ["verify:regex: 1 of 2 prompts get no reward: no form ('y': no such column)"]


def test_a_pattern_that_searches_for_ever_is_stopped(monkeypatch):
    monkeypatch.setattr("alignpro.rewards.verify.patterns.PATIENCE", 0.05)
    value, why = score(load("regex", pattern="(a|aa)+$"), {}, "a" * 60 + "b")
    assert value != value and "searched one answer" in why


def test_a_schema_reaches_no_other_file():
    reward = load("json_schema", schema={"$ref": "http://127.0.0.1:9/other.json"})
    value, why = score(reward, {}, "{}")
    assert value != value and "Unresolvable" in why


@pytest.mark.parametrize(
    ("arguments", "gold", "answer", "worth"),
    [
        ({}, "3.14159", "3.14", 0),
        ({"tolerance": 0.01}, "3.14159", "3.14", 1),
        ({"tolerance": 0.001}, "3.14159", "3.14", 0),
        ({"relative": 0.01}, "1000", "1009", 1),
        ({"relative": 0.01}, "-1000", "-1011", 0),
        ({"decimal": ","}, "1234,5", "1.234,5", 1),
        ({"decimal": ","}, "1234", "1.234", 1),
        ({"decimal": ","}, "1,5", "Das sind 1,5.", 1),
        ({"decimal": ","}, "15", "1,5", 0),
        ({"percent": True}, "25", "25%", 1),
        ({"percent": True}, "0.25", "25%", 0),
        ({"column": "gold"}, "25", "25", None),
    ],
)
def test_what_numbers_may_differ_by(arguments, gold, answer, worth):
    value, _ = score(load("number", **arguments), {"answer": gold}, answer)
    assert value == worth or (worth is None and value != value)


@given(st.integers(-(10**9), 10**9), st.sampled_from(["{}", "{:,}", "= {}.", "**{:,}**", "\\boxed{{{}}}", "It is {}."]))
def test_any_integer_is_read_however_it_is_written_and_no_other(number, form):
    reward = load("number")
    assert score(reward, {"answer": number}, form.format(number)) == (1, None)
    assert score(reward, {"answer": number + 1}, form.format(number)) == (0, None)
    assert score(reward, {"answer": number}, f"It is not {form.format(number)}") == (0, None)


@pytest.mark.parametrize("name", ["number", "math", "choice", "contains"])
def test_an_answer_may_be_anything(name):
    texts = [
        "\\boxed{",
        "⟦",
        "⟧⟦",
        "$",
        "$$",
        "1" * 5000,
        "(" * 5000,
        "no, " * 500,
        "?" * 500,
        "\x00",
        "9^9^9^9",
        "=" * 99,
    ]
    golds = {"number": "7", "math": "7", "choice": "C", "contains": "zebra"}
    for text in texts:
        assert score(load(name), {"answer": golds[name]}, text) == (0, None)


def test_every_of_a_list_may_be_asked_for():
    row = {"answer": ["red", "green"]}
    assert score(load("contains", every=True), row, "red and green")[0] == 1
    assert score(load("contains", every=True), row, "red, not green")[0] == 0
    assert score(load("contains"), row, "red, not green")[0] == 1


def test_a_package_that_is_missing_is_named_with_its_extra(monkeypatch):
    for package, name in (("math_verify", "math"), ("jsonschema", "json_schema")):
        monkeypatch.setitem(sys.modules, package, None)
        with pytest.raises(SettingsError, match=rf"verify:{name} needs the package .*pip install 'alignpro\[verify\]'"):
            load(name)
