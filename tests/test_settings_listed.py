"""Settings explain themselves: each has a description, the command finds it, docs/settings.md is what the code says."""

import re
from pathlib import Path

import pytest
from pydantic import BaseModel

from alignpro.config import Settings, listing
from alignpro.config.section import Section, sections_in

PAGE = Path(__file__).parents[1] / "docs" / "settings.md"


def sections(section=Settings):
    yield section
    for info in section.model_fields.values():
        for inner in sections_in(info.annotation):
            yield from sections(inner)


def test_every_setting_and_every_section_says_what_it_is():
    bare = []
    for section in dict.fromkeys(sections()):
        if not (section.__doc__ or "").strip() or section.__doc__ == Section.__doc__:
            bare.append(section.__name__)
        for name, info in section.model_fields.items():
            whole = isinstance(info.annotation, type) and issubclass(info.annotation, BaseModel)
            if not whole and not (info.description or "").strip():
                bare.append(f"{section.__name__}.{name}")
    assert not bare, f"no description: {', '.join(bare)}"


def test_null_is_explained_wherever_it_may_stand():
    """A type that allows null says what null means, but where a piece is simply not there."""
    absent = {"model", "prompts", "base", "pairs", "against"}
    silent = [
        one.name
        for group in listing.groups()
        for one in group.settings
        if one.type.endswith("null") and "null" not in one.description and one.name.rpartition(".")[2] not in absent
    ]
    assert not silent


def test_the_page_is_what_the_code_says():
    assert PAGE.read_text() == listing.markdown(), "make it anew: alignpro settings --markdown > docs/settings.md"


def test_the_list_holds_every_setting_of_the_tree_once():
    names = [one.name for group in listing.groups() for one in group.settings]
    assert len(set(names)) == len(names)
    assert {"seed", "train.kl.coef", "rlhf.lora.rank", "reward.terms[].weight", "frozen.endpoint.price.input"} <= set(
        names
    )
    listed = {one.name: one for group in listing.groups() for one in group.settings}
    assert (listed["frozen.sampling.max_new_tokens"].default, listed["prompter.sampling.max_new_tokens"].default) == (
        "256",
        "128",
    )
    assert listed["frozen.endpoint.price.input"].default == listing.REQUIRED
    assert listed["train.ppo.gamma"].type == "number from 0, to 1"
    assert listed["evaluate.prompts"].type == "integer above 0 or null"
    assert listed["prompter.template"].type == "text or @FILE or null"


def test_settings_are_found_by_a_word_and_shown_beside_a_recipe(inside):
    code, output = inside("settings", "kl.coef")
    assert code == 0, output
    assert [line.partition(":")[0] for line in output.splitlines()] == [
        "train.kl.coef",
        "rlhf.kl.coef",
        "headroom.lams",
    ]
    assert "default 0.1" in output
    code, output = inside("settings", "--recipe", "lab", "train.kl.coef")
    assert code == 0, output
    assert re.search(r"^train\.kl\.coef: number from 0; default 0\.1; in lab 0\.25; ", output)
    code, output = inside("settings", "--markdown")
    assert (code, output) == (0, PAGE.read_text())


@pytest.mark.parametrize(
    ("word", "near"), [("lr", "learning_rate"), ("stesp", "steps"), ("train.stesp", "train.steps")]
)
def test_a_word_that_finds_nothing_names_what_is_near(inside, word, near):
    code, output = inside("settings", word)
    assert code == 2
    assert near in output


def test_a_terminal_gets_sections_as_wide_as_it_is(monkeypatch, capsys):
    from alignpro.cli import about

    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    about.settings("top_p")
    output = re.sub(r"\x1b\[[0-9;]*m", "", capsys.readouterr().out)
    assert "  prompter.sampling.top_p\n    number above 0, to 1; default 1\n" in output
    assert max(map(len, output.splitlines())) <= 60
