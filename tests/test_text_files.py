"""Texts of the settings, given as they are or as @FILE."""

import pytest
import yaml

from alignpro import config
from alignpro.errors import SettingsError


def test_a_text_is_read_from_a_file_beside_where_it_is_named(tmp_path, monkeypatch):
    """On the command line from the working directory, in a recipe from the recipe's folder, also of one extended."""
    here, there = tmp_path / "here", tmp_path / "there"
    for folder in (here, there):
        folder.mkdir()
        (folder / "meta.txt").write_text(f"Better, {folder.name}:\n{{prompt}}\n\n", encoding="utf-8")
    (there / "base.yaml").write_text("prompter: {template: '@meta.txt'}\n")
    (there / "inner").mkdir()
    (there / "inner" / "role.txt").write_text("Sei knapp und höflich.\r\n", encoding="utf-8")
    (there / "inner" / "mine.yaml").write_text(f"extends: {there / 'base.yaml'}\nfrozen: {{system: '@role.txt'}}\n")
    monkeypatch.chdir(here)
    settings = config.load(there / "inner" / "mine.yaml", ["judge.template=@meta.txt"])
    assert settings.prompter.template == "Better, there:\n{prompt}\n"  # one newline is dropped
    assert settings.frozen.system == "Sei knapp und höflich."
    assert settings.judge.template == "Better, here:\n{prompt}\n"
    held = yaml.safe_load(config.dump(settings))
    assert held["prompter"]["template"] == "Better, there:\n{prompt}\n"  # what is written down needs no file


def test_texts_in_lists_and_in_values_of_sections_are_read_too(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pair.txt").write_text("{prompt} / {response}\n")
    terms = "reward.terms=[{model: a, template: '@pair.txt'}, {model: b}]"
    assert config.load("local", [terms]).reward.terms[0].template == "{prompt} / {response}"
    whole = config.load("local", ["prompter={model: m, template: '@pair.txt'}"])
    assert whole.prompter.template == "{prompt} / {response}"


def test_a_doubled_at_is_an_at_and_survives_being_written_down(tmp_path):
    settings = config.load("lab", ["frozen.system=@@home: be brief"])
    assert settings.frozen.system == "@home: be brief"
    path = tmp_path / "config.yaml"
    path.write_text(config.dump(settings))
    assert config.load(path) == config.reread(path) == settings


def test_what_is_no_text_takes_no_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "name").write_text("lab")
    assert config.load("local", ["prompter.model=@name"]).prompter.model == "@name"
    with pytest.raises(SettingsError, match="got '@name'"):
        config.load("local", ["train.steps=@name"])


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("@gone.txt", r"prompter\.template: @gone\.txt: there is no file .*gone\.txt.*@@ for a text"),
        ("@folder", r"there is no file"),
        ("@", r"there is no file"),
        ("@latin.txt", r"latin\.txt is not UTF-8 \(byte 1\)"),
    ],
)
def test_a_file_that_cannot_be_read_is_named(tmp_path, monkeypatch, given, told):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    (tmp_path / "latin.txt").write_bytes("h\u00f6fl\u00ff".encode("latin-1") + b"\xff")
    with pytest.raises(SettingsError, match=told):
        config.load("lab", [f"prompter.template={given}"])
    (tmp_path / "mine.yaml").write_text(f"prompter: {{template: '{given}'}}\n")
    with pytest.raises(SettingsError, match=told):
        config.load("mine.yaml")
