"""Loading gives what was asked for, nothing else, and touches no folder before everything is there."""

import pytest

from alignpro import config
from alignpro.errors import SettingsError
from alignpro.models.local import LocalFrozenModel, LocalPrompter
from alignpro.running.load import load
from alignpro.running.pieces import EVERYTHING


def test_what_was_not_asked_for_is_absent_and_says_so():
    pieces = load(config.load("lab"), {"frozen"})
    assert isinstance(pieces.frozen, LocalFrozenModel)
    assert "judge" not in pieces
    with pytest.raises(LookupError, match=r"judge was not loaded, only frozen; name it"):
        _ = pieces.judge
    assert repr(pieces) == "Pieces(frozen)"


def test_everything_is_everything_that_can_be_named():
    pieces = load(config.load("lab"), EVERYTHING, for_run=True)
    assert set(pieces.loaded) == EVERYTHING
    for name in EVERYTHING:
        assert getattr(pieces, name) is pieces.loaded[name]
    assert pieces.judge.reward is pieces.second_reward  # what is named twice is loaded once


def test_terms_that_read_the_reference_bring_it_and_others_do_not():
    alone = ["prompter.model=null", "prompt_terms=[{term: kept}]"]
    pieces = load(config.load("lab", alone), {"prompt_terms"})
    assert pieces.prompt_terms.names == ("kept",)
    assert "prompter" not in pieces
    with pytest.raises(SettingsError, match=r"prompter\.model not set"):
        load(config.load("lab", ["prompter.model=null", "prompt_terms=[{term: fluency}]"]), {"prompt_terms"})
    pieces = load(config.load("lab", ["prompt_terms=[{term: length, unit: tokens}]"]), {"prompt_terms"})
    assert isinstance(pieces.prompter, LocalPrompter)


@pytest.mark.parametrize(
    ("needs", "missing"),
    [({"frozen"}, r"^frozen\.model not set; give --frozen,"), (EVERYTHING, r"^prompter\.model, frozen\.model, rew")],
)
def test_settings_are_missed_for_the_pieces_alone_that_are_needed(needs, missing):
    with pytest.raises(SettingsError, match=missing):
        load(config.Settings(), needs)


def test_statistics_that_a_run_takes_are_refused_elsewhere():
    terms = "reward.terms=[{model: lab, normalise: reference}]"
    settings = config.load("lab", ["reward.model=null", terms])
    assert load(settings, {"reward", "prompter"}, for_run=True).reward.unscaled
    for needs, for_run in (({"reward"}, False), ({"reward"}, True)):
        with pytest.raises(SettingsError, match="normalise"):
            load(settings, needs, for_run=for_run)
