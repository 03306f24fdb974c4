"""Another's folder or recipe runs nothing, sends no key and writes nowhere, whatever it holds; one's own just runs."""

import json
import re
import shutil
import sys
from importlib import resources
from pathlib import Path

import pytest
import yaml
from scripted_server import ScriptedServer

import alignpro
from alignpro import config
from alignpro.config import naming
from alignpro.errors import NotTrusted, SettingsError
from alignpro.running.rewriter import TrainedPrompter
from alignpro.runtime import ownership, run_folder
from alignpro.runtime.consent import consent


@pytest.fixture(autouse=True)
def _state(tmp_path, monkeypatch):
    """Marks of this test alone, another's key in the environment, and a working folder of its own."""
    monkeypatch.setenv("ALIGNPRO_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-the-user")
    monkeypatch.setenv("ALIGNPRO_API_KEY", "key-of-the-user")
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")


@pytest.fixture
def server():
    with ScriptedServer() as running:
        yield running


LAB = Path(str(resources.files("alignpro.lab"))) / "weights"
RAN = {"args": ["touch", "RAN"]}
POPEN = {"model": "python:subprocess:Popen", "arguments": RAN}
HOSTILE = {
    "a reward that is code": {"reward": POPEN},
    "a term of the reward that is code": {"reward": {"model": None, "terms": [{"model": "lab"}, POPEN]}},
    "a second reward that is code": {"evaluate": {"second_reward": "python:evil:touch"}},
    "a judge that is code": {"evaluate": {"judge": "python:evil:touch"}},
    "a frozen model that is code": {"frozen": POPEN, "rlhf": {"enabled": False}},
    "a term on the rewrite that is code": {"prompt_terms": [{"term": "python:subprocess:Popen", "arguments": RAN}]},
    "code that comes with the reward": {"reward": {"model": "MODEL", "trust_remote_code": True}},
    "code that comes with a term": {
        "reward": {"model": None, "terms": [{"model": "MODEL", "trust_remote_code": True}]}
    },
    "code that comes with the prompter": {"prompter": {"model": "MODEL", "trust_remote_code": True}},
    "code that comes with the frozen model": {"frozen": {"model": "MODEL", "trust_remote_code": True}},
    "code that comes with the judge": {"evaluate": {"judge": "lm:MODEL"}, "judge": {"trust_remote_code": True}},
    "a frozen model at a host": {"frozen": {"model": "URL#m"}, "rlhf": {"enabled": False}},
    "a reward at a host": {"reward": {"model": "URL#m"}},
    "a second reward at a host": {"evaluate": {"second_reward": "URL#m"}},
    "a judge at a host": {"evaluate": {"judge": "URL#m"}},
    "money spent at a known host": {"frozen": {"model": "openai:gpt-5"}, "rlhf": {"enabled": False}},
    "another key for a host": {
        "frozen": {"model": "URL#m", "endpoint": {"key": "OPENAI_API_KEY"}},
        "rlhf": {"enabled": False},
    },
    "a secret in a header": {"reward": {"model": "URL#m", "endpoint": {"headers": {"x-a": "${OPENAI_API_KEY}"}}}},
    "a file that is written": {"frozen": {"cache": "../written.sqlite"}},
    "a tracker that is told": {"track": ["tensorboard"]},
}
EVIL = """
import pathlib
pathlib.Path('RAN').write_text('x')
def touch(prompts, responses):
    return [0] * len(prompts)
"""
COMMANDS = {
    "run": ["run", "--resume", "--out=FOLDER"],
    "run with a budget": ["run", "--resume", "--out=FOLDER", "--budget.calls=5"],
    "train": ["train", "--resume", "--out=FOLDER"],
    "evaluate": ["evaluate", "FOLDER"],
    "headroom": ["headroom", "FOLDER"],
    "judge": ["judge", "FOLDER"],
    "rlhf": ["rlhf", "--resume", "--out=FOLDER"],
    "sft": ["sft", "--resume", "--out=FOLDER"],
    "reward": ["reward", "--resume", "--out=FOLDER"],
    "gibbs": ["rewrite", "tell me", "--method=gibbs", "--run=FOLDER"],
}


def filled(tree, **places):
    text = json.dumps(tree)
    for name, value in places.items():
        text = text.replace(name, value)
    return json.loads(text)


@pytest.fixture
def hostile(tmp_path, server):
    """Makes the folder of a finished run that another sent, with settings of his."""

    def make(tree):
        model = tmp_path / "model"
        shutil.copytree(LAB / "prompter", model)
        (model / "own.py").write_text(EVIL)
        base = yaml.safe_load(config.dump(config.load("lab")))
        settings = config.build(config.laid_over(base, filled(tree, MODEL=str(model), URL=server.url)))
        folder = tmp_path / "sent"
        shutil.copytree(LAB / "prompter", folder / "prompter")
        (folder / "config.yaml").write_text(config.dump(settings))
        (tmp_path / "work" / "evil.py").write_text(EVIL)
        return folder

    return make


def untouched(tmp_path, server):
    assert not list(tmp_path.rglob("RAN"))
    assert not list(tmp_path.rglob("written.sqlite"))
    assert not server.requests


@pytest.fixture
def here(monkeypatch, capfd):
    """Call the command line within this process: exit code, and what it printed."""
    from alignpro import cli

    def call(*words):
        capfd.readouterr()
        monkeypatch.setattr(sys, "argv", ["alignpro", *words])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        printed = capfd.readouterr()
        return int(ended.value.code or 0), printed.out + printed.err

    return call


@pytest.mark.parametrize("how", HOSTILE)
def test_what_another_sent_is_told_and_refused_by_every_command(how, hostile, here, tmp_path, server):
    folder = hostile(HOSTILE[how])
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    for command, words in COMMANDS.items():
        code, output = here(*(word.replace("FOLDER", str(folder)) for word in words))
        assert code == 2, (command, output)
        assert "was not made here by you" in output and "--trust" in output, (command, output)
        assert len(output.strip().splitlines()) == 1, output
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
    untouched(tmp_path, server)


@pytest.mark.parametrize("how", HOSTILE)
def test_another_s_recipe_is_told_and_refused_too(how, here, tmp_path, server):
    """By its path, by `extends`, and as the config.yaml of a folder that was put into the working folder."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    tree = {"extends": "lab", **filled(HOSTILE[how], MODEL=str(tmp_path / "model"), URL=server.url)}
    (elsewhere / "r.yaml").write_text(yaml.safe_dump(tree))
    Path("mine.yaml").write_text("extends: ../elsewhere/r.yaml\n")
    Path("evil.py").write_text(EVIL)
    for recipe in (str(elsewhere / "r.yaml"), "mine.yaml"):
        for command in ("run", "headroom", "compare", "pairs", "sft", "reward", "rlhf"):
            code, output = here(command, recipe, "--out=out.jsonl")
            assert code == 2 and "lies outside of the working folder" in output and "--trust" in output, output
    code, output = here("rewrite", "tell me", str(elsewhere / "r.yaml"), "--method=gibbs")
    assert code == 2 and "lies outside of the working folder" in output, output
    untouched(tmp_path, server)
    assert not Path("out.jsonl").exists()


def test_links_that_lead_out_are_not_written_through(hostile, here, tmp_path):
    folder, other = hostile({}), tmp_path / "precious"
    other.write_text("mine")
    for name in ("metrics.jsonl", ".report.html.partial", "samples.jsonl"):
        (folder / name).unlink(missing_ok=True)
        (folder / name).symlink_to(other)
    for words in (["run", "--resume", f"--out={folder}"], ["evaluate", str(folder)], ["report", str(folder)]):
        code, output = here(*words)
        assert code == 2 and "metrics.jsonl leads out of the folder" in output, output
    assert other.read_text() == "mine"


@pytest.mark.parametrize("first", ["extends: /elsewhere.yaml\n", "prompter:\n  template: '@/etc/hostname'\n"])
def test_settings_of_a_run_have_no_other_file_read(first, tmp_path):
    (tmp_path / "config.yaml").write_text(first)
    with pytest.raises(SettingsError, match=r"alignpro did not write it|does not exist|lacks"):
        config.reread(tmp_path / "config.yaml")


def test_a_recipe_from_elsewhere_reads_no_file_beside_its_own(here, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "r.yaml").write_text(f"extends: lab\nprompter:\n  system: '@{tmp_path}/secret'\n")
    (tmp_path / "secret").write_text("Be kind.")
    code, output = here("run", str(elsewhere / "r.yaml"), "--dry-run")
    assert code == 2 and "prompter.system @" in output and "Be kind" not in output
    (elsewhere / "r.yaml").write_text("extends: lab\nprompter:\n  system: '@beside.txt'\n")
    (elsewhere / "beside.txt").write_text("Be kind.")
    code, output = here("run", str(elsewhere / "r.yaml"), "--dry-run")
    assert code == 0, output


def test_rewriting_asks_nothing_and_an_answer_needs_trust(hostile, here, tmp_path, server):
    folder = hostile(HOSTILE["a frozen model at a host"])
    code, output = here("rewrite", "tell me of owls", f"--run={folder}")
    assert code == 0, output
    code, output = here("rewrite", "tell me of owls", f"--run={folder}", "--answer")
    assert code == 2 and f"frozen.model {server.url}#m" in output, output
    with pytest.raises(NotTrusted, match=r"frozen\.model"):
        TrainedPrompter.load(folder).answer("tell me of owls")
    untouched(tmp_path, server)
    assert TrainedPrompter.load(folder, ["frozen.model=lab", "frozen.sampling.max_new_tokens=2"]).answer("of owls")


def own(path, *overrides):
    return run_folder.claim(path, config.load("lab", ["reward.model=python:evil:touch", *overrides])).path


def test_ones_own_is_known_where_it_was_made_or_moved_to_and_no_copy_or_edit_is(tmp_path):
    folder = own(tmp_path / "run")
    ownership.check(folder)
    moved = folder.rename(tmp_path / "moved")
    ownership.check(moved)
    copy = shutil.copytree(moved, tmp_path / "copy")
    with pytest.raises(NotTrusted, match=r"reward\.model python:evil:touch"):
        ownership.check(copy)
    ownership.check(copy, overrides=["reward.model=lab"])  # what it names is not used
    for settings in (["reward.model=python:evil:other"], ["reward.model=python:evil:touch", "seed=1"]):
        text = config.sealed(config.dump(config.load("lab", settings)))
        (tmp_path / f"{len(settings)}.yaml").write_text(text)
    shutil.copy(tmp_path / "1.yaml", moved / "config.yaml")
    with pytest.raises(NotTrusted, match=r"python:evil:other"):
        ownership.check(moved)
    shutil.copy(tmp_path / "2.yaml", moved / "config.yaml")
    ownership.check(moved)


def test_trust_is_given_once_and_to_this_folder_alone(tmp_path, monkeypatch):
    folder = own(tmp_path / "run")
    monkeypatch.setenv("ALIGNPRO_STATE", str(tmp_path / "another machine"))
    with pytest.raises(NotTrusted):
        ownership.check(folder)
    with consent(trust=True):
        ownership.check(folder)
    ownership.check(folder)
    with pytest.raises(NotTrusted):
        ownership.check(shutil.copytree(folder, tmp_path / "copy"))


def test_settings_that_the_user_gives_anew_are_his_own(tmp_path, monkeypatch):
    folder = own(tmp_path / "run")
    monkeypatch.setenv("ALIGNPRO_STATE", str(tmp_path / "another machine"))
    settings = config.load("lab", ["reward.model=python:evil:touch"])
    ownership.check(folder, given=settings)
    with pytest.raises(NotTrusted):
        ownership.check(folder, given=config.load("lab"))
    run_folder.reopen(folder, settings)
    ownership.check(folder)


def test_a_recipe_is_trusted_as_it_stood(tmp_path):
    recipe = tmp_path / "r.yaml"
    recipe.write_text("reward: {model: 'python:evil:touch'}\n")
    with pytest.raises(NotTrusted):
        ownership.check_recipe(str(recipe))
    assert ownership.check_recipe(str(recipe), ["reward.model=lab"]) == []
    with consent(trust=True):
        ownership.check_recipe(str(recipe))
    ownership.check_recipe(str(recipe))
    recipe.write_text("reward: {model: 'python:evil:other'}\n")
    with pytest.raises(NotTrusted, match="other"):
        ownership.check_recipe(str(recipe))


def test_ones_own_recipe_tells_in_a_line_what_it_runs(tmp_path):
    Path("mine.yaml").write_text("reward: {model: 'python:evil:touch'}\n")
    assert ownership.check_recipe("mine.yaml") == ["recipe mine.yaml names reward.model python:evil:touch"]
    assert ownership.check_recipe("lab") == []
    folder = own(tmp_path / "work" / "run")
    (folder / "environment.json").write_text("{}")
    assert ownership.check_recipe(str(folder / "config.yaml"))
    copy = shutil.copytree(folder, tmp_path / "work" / "sent")
    with pytest.raises(NotTrusted):
        ownership.check_recipe(str(copy / "config.yaml"))


def test_a_state_folder_that_cannot_be_written_stops_no_run(tmp_path, monkeypatch, capsys):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("ALIGNPRO_STATE", str(tmp_path / "file" / "state"))
    folder = own(tmp_path / "run")
    assert (folder / "config.yaml").is_file()
    assert "ALIGNPRO_STATE" in capsys.readouterr().err


def test_the_state_is_where_it_is_said_to_be(monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", "/x")
    monkeypatch.delenv("ALIGNPRO_STATE")
    assert ownership.state() == Path("/x/alignpro")
    monkeypatch.delenv("XDG_STATE_HOME")
    assert ownership.state() == Path.home() / ".local" / "state" / "alignpro"


def test_a_run_of_the_lab_names_nothing():
    assert naming.named(config.load("lab")) == {}


READS = {
    "cli/lab.py": True,
    "cli/learning.py": False,  # shows them
    "cli/options.py": True,  # for the commands that go on with a run
    "cli/rewriting.py": True,
    "cli/runs.py": False,  # shows them
    "cli/template.py": True,
    "export/write.py": True,
    "running/load.py": True,
    "running/opening.py": True,
    "running/rewriter.py": True,
    "runtime/run_folder.py": False,  # is what the others call
    "studies/compare.py": False,  # must equal the user's own
    "studies/side_by_side.py": False,  # shows them
}
"""Files that read the settings of a folder, and whether they act on them."""


def test_whatever_acts_on_the_settings_of_a_folder_asks_whose_it_is():
    source = Path(alignpro.__file__).parent
    texts = {str(path.relative_to(source)): path.read_text() for path in source.rglob("*.py")}
    reads = {name for name, text in texts.items() if re.search(r"\.settings\(|config\.reread\(", text)}
    assert reads - {"runtime/ownership.py"} == set(READS)
    assert {name for name in reads if "ownership.check(" in texts[name]} == {n for n, acts in READS.items() if acts}
