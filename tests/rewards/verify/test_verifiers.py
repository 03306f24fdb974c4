import pytest
from hand_made import TABLES, measure

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


def test_every_verifier_has_its_table():
    assert list(TABLES) == list(VERIFIERS)


@pytest.mark.parametrize(
    ("name", "arguments", "told"),
    [
        ("exakt", {}, "verify:exakt: no such verifier; there are verify:exact, "),
        ("exact", {"colum": "a"}, "unknown argument colum; it takes column, case in reward.arguments"),
        ("exact", {"case": "yes"}, "case: Input should be a valid boolean .*'yes'"),
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
