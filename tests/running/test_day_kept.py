"""A chat template with the date in it is told the day on which the run began, whenever it goes on."""

import shutil
from datetime import date

import pytest
from cli import settings
from tiny import CHAT, make_classifier
from transformers import AutoTokenizer

from alignpro import config
from alignpro.errors import SettingsError, UsageError
from alignpro.models import chat_template
from alignpro.models.framing import reader
from alignpro.running.load import load, load_other_frozen, load_trained
from alignpro.runtime import run_folder

DATED = "Today is {{ strftime_now('%d %B %Y') }}." + CHAT


@pytest.fixture
def shop(workshop, tmp_path):
    """Models whose chat templates ask for the date, an unlike reward's among them."""
    shutil.copytree(workshop, tmp_path, dirs_exist_ok=True)
    make_classifier(tmp_path / "judged")
    for name in ("prompter", "frozen", "judged"):
        dated(tmp_path / name)
    return tmp_path


def dated(folder, template=DATED):
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.chat_template = template
    tokenizer.save_pretrained(folder)


def today(monkeypatch, day):
    class Date(date):
        @classmethod
        def today(cls):
            return date.fromisoformat(day)

    monkeypatch.setattr(chat_template, "date", Date)


def shown(pieces):
    lms = [pieces.prompter.lm, pieces.frozen.lm, *(row[0].lm for row in pieces.loaded["passes"])]
    texts = [lm.tokenizer.decode(lm.queries(["tell me"])[0]) for lm in lms]
    return [*texts, reader(pieces.reward.tokenizer).rendered("x", "y")]


def test_a_run_keeps_its_day(shop, tmp_path, monkeypatch):
    needs = {"prompter", "frozen", "reward", "passes"}
    asked = settings(shop, f"reward.model={shop / 'judged'}", f"prompter.before=[{shop / 'prompter'}]")
    assert asked.day is None
    today(monkeypatch, "2026-03-01")
    begun = load(asked, needs)
    assert begun.settings.day == "2026-03-01" and all("01 March 2026" in text for text in shown(begun))
    run_folder.claim(tmp_path / "run", begun.settings)
    today(monkeypatch, "2026-03-02")
    assert shown(begun) == shown(begun) and "01 March" in shown(begun)[0]  # past midnight
    _, own = run_folder.reopen(tmp_path / "run", asked)
    assert own.day == "2026-03-01" and shown(load(own, needs)) == shown(begun)
    assert "01 March" in load_trained(own, shop / "prompter").lm.frame.rendered("x")
    assert "01 March" in load_other_frozen(own, shop / "frozen").lm.frame.rendered("x")
    assert all("02 March 2026" in text for text in shown(load(asked, needs)))  # a run that begins now
    with pytest.raises(UsageError, match="day was '2026-03-01', now '2026-03-09'"):
        run_folder.reopen(tmp_path / "run", asked.model_copy(update={"day": "2026-03-09"}))


def test_a_day_can_be_set_and_is_not_noted_where_no_template_asks_for_it(shop, monkeypatch):
    given = load(settings(shop, "day=2020-02-29"), {"prompter"})
    assert given.settings.day == "2020-02-29" and "29 February 2020" in given.prompter.lm.frame.rendered("x")
    dated(shop / "prompter", CHAT)
    assert load(settings(shop), {"prompter"}).settings.day is None
    with pytest.raises(SettingsError, match="day"):
        config.load("local", ["day=2020-02-30"])
