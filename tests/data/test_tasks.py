"""Tasks that ship: what their rows hold can be verified, and no subject or constraint crosses over to the test."""

import pytest

from alignpro import config
from alignpro.config import DataSettings
from alignpro.data import tasks
from alignpro.data.prompts import load_prompts
from alignpro.data.templates import read_templates
from alignpro.errors import DataError
from alignpro.rewards.verify import load_verifier
from alignpro.types import Response


@pytest.fixture(scope="module")
def prompts():
    return load_prompts(DataSettings(prompts="task:constraints", test="task:constraints:test", validation=0), 0)


def test_test_subjects_and_one_constraint_are_new(prompts):
    sides = prompts.train, prompts.test
    train, test = ({field: {p.row[field] for p in side} for field in ("subject", "kind")} for side in sides)
    assert not train["subject"] & test["subject"] and test["kind"] - train["kind"] == {tasks.UNSEEN}
    trained = [p for p in prompts.test if p.row["kind"] != tasks.UNSEEN]
    assert len(trained) >= 400 and not prompts.dropped


def test_an_answer_can_follow_each_constraint_and_break_it(prompts):
    verifier = load_verifier("verify:constraints")
    good = {
        "one sentence": "{} is well known to all",
        "few words": "{} is well known",
        "no commas": "Of old {} was known. It still is",
        "three bullets": "{}:\n- old\n- known\n- liked",
        "lower case": "{} is old",
        "a word": "People know {} because it is old",
        "first word": "Imagine {} without its fame",
        tasks.UNSEEN: "{} is old. That is all.",
    }
    bad = "Well, this says {} at great length, and again, so that no rule is kept. " * 3
    for prompt in prompts.test:
        kind, subject = prompt.row["kind"], prompt.row["subject"]
        said = good[kind].replace("{}", subject.lower() if kind == "lower case" else subject)
        for text, wanted in ((said, 1), (bad.replace("{}", subject), 0), (good[kind].replace("{}", "nothing"), 0)):
            assert verifier.score([prompt], [Response(text, "stop")]).values[0] == wanted, (kind, text)


def test_plain_questions_have_no_constraints():
    rows = list(tasks.rows("task:plain"))
    assert len({row["prompt"] for row in rows}) == len(rows) >= 300 and set(rows[0]) == {"prompt", "subject"}


def test_an_unknown_task_is_refused_with_those_there_are():
    with pytest.raises(DataError, match=r"data\.prompts task:none: no such task; there are task:constraints, "):
        load_prompts(DataSettings(prompts="task:none"), 0)


def test_the_recipe_names_what_is_there():
    settings = config.load("smollm")
    assert settings.data.test == "task:constraints:test" and len(read_templates(settings.headroom.templates)) > 12
