"""A run is opened from whatever folder one stands in, and what cannot work is told before anything is loaded."""

import json
import sys

import pytest

from alignpro import config
from alignpro.errors import RunFolderTaken, SettingsError, UsageError
from alignpro.fits import rlhf
from alignpro.running.opening import open_run
from alignpro.runtime import functions, run_folder
from alignpro.runtime.run_folder import RunFolder


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A run that was begun, by relative paths, in a folder with its prompts, a model and a reward."""
    folder = tmp_path / "project"
    (folder / "models" / "small").mkdir(parents=True)
    (folder / "prompts.txt").write_text("tell me of owls\n")
    (folder / "reward_of_the_project.py").write_text("def length(prompts, responses):\n    return [1.0]\n")
    monkeypatch.chdir(folder)
    monkeypatch.setattr(functions, "_also", "")
    monkeypatch.setattr(sys, "path", [*sys.path])
    given = [
        *("prompter.model=models/small", "frozen.model=lab", "reward.model=python:reward_of_the_project:length"),
        *("data.prompts=prompts.txt", "evaluate.judge=lm:models/small", "frozen.cache=answers.db"),
    ]
    run = run_folder.claim(folder / "runs" / "one", config.load("local", given))
    (run.path / "environment.json").write_text(json.dumps({"working_folder": str(folder)}))
    yield folder
    sys.modules.pop("reward_of_the_project", None)


def test_a_run_is_the_same_from_another_folder(project, tmp_path, monkeypatch):
    run = RunFolder(project / "runs" / "one")
    here = run.settings()
    elsewhere = tmp_path / "elsewhere"
    (elsewhere / "models" / "small").mkdir(parents=True)  # another of the same name
    monkeypatch.chdir(elsewhere)
    assert run.settings(["evaluate.judge=lm:models/small"]).evaluate.judge == f"lm:{elsewhere}/models/small"
    there = run.settings()
    assert there == here
    assert (there.prompter.model, there.data.prompts) == (f"{project}/models/small", f"{project}/prompts.txt")
    assert (there.evaluate.judge, there.frozen.cache) == (f"lm:{project}/models/small", f"{project}/answers.db")
    assert functions.named(there.reward.model, "reward.model")[1]([], []) == [1.0]
    monkeypatch.chdir(project)
    again = config.load("local", ["prompter.model=./models/small", "data.prompts=../project/prompts.txt"])
    assert (again.prompter.model, again.data.prompts) == (there.prompter.model, there.data.prompts)


def test_a_new_run_searches_no_other_runs_folder(project, tmp_path, monkeypatch):
    RunFolder(project / "runs" / "one").settings()
    monkeypatch.chdir(tmp_path)

    def load(settings, say, kept):
        functions.named("python:reward_of_the_project:length", "reward.model")

    with pytest.raises(SettingsError, match="importing reward_of_the_project failed"):
        open_run(config.load("lab"), tmp_path / "new", load, stopping="")


def test_a_project_that_was_moved_finds_what_moved_with_it(project, tmp_path, monkeypatch):
    (project / "answers.db").touch()
    moved = project.rename(tmp_path / "moved")
    monkeypatch.chdir(moved)
    settings = RunFolder(moved / "runs" / "one").settings()
    assert (settings.prompter.model, settings.data.prompts) == (f"{moved}/models/small", f"{moved}/prompts.txt")
    assert (settings.evaluate.judge, settings.frozen.cache) == (f"lm:{moved}/models/small", f"{moved}/answers.db")
    monkeypatch.chdir(tmp_path)
    assert RunFolder(moved / "runs" / "one").settings().prompter.model == f"{project}/models/small"


def test_a_taken_folder_is_told_before_anything_is_loaded(tmp_path):
    loaded = []

    def load(settings, say, kept):
        loaded.append(settings)
        raise AssertionError

    (tmp_path / "held").mkdir()
    (tmp_path / "held" / "thesis.txt").touch()
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.yaml").touch()
    settings = config.load("lab")
    with pytest.raises(RunFolderTaken, match="is not empty"):
        open_run(settings, tmp_path / "held", load, stopping="")
    with pytest.raises(RunFolderTaken, match="holds another run"):
        open_run(settings, tmp_path / "run", load, stopping="")
    for out in (tmp_path / "held" / "thesis.txt", tmp_path / "held" / "thesis.txt" / "below"):
        with pytest.raises(UsageError, match=r"cannot be used as a folder"):
            open_run(settings, out, load, stopping="")
    assert not loaded
    with pytest.raises(AssertionError):
        open_run(settings, tmp_path / "new" / "deep", load, stopping="")
    assert loaded == [settings] and not (tmp_path / "new").exists()


def test_settings_under_which_nothing_would_be_done_are_refused_at_the_start():
    with pytest.raises(SettingsError, match=r"evaluate\.arms: list should have at least 1 item"):
        config.load("lab", ["evaluate.arms=[]"])
    with pytest.raises(SettingsError, match=r"rlhf\.steps is 0, so that nothing would be fine-tuned"):
        rlhf._load(rlhf.alone(config.load("lab", ["rlhf.steps=0"])), print, None)
