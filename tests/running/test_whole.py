"""What is read back from a run's folder is what was written there: settings, models, results, kept arms."""

import json
import shutil

import pytest
import yaml
from cli import settings
from tiny import save_model

from alignpro import config
from alignpro.config import whole
from alignpro.errors import DamagedResult, ModelNotUsable, SettingsError, UsageError
from alignpro.models import checksums
from alignpro.models.loading import load_tokenizer, resolve
from alignpro.report.reading import read_tree
from alignpro.results import Headroom, read, write
from alignpro.running.machine import threads_of
from alignpro.runtime import files, run_folder
from alignpro.runtime.run_folder import RunFolder

LAB = config.load("lab", ["frozen.system=a\u2028b\nc"])


@pytest.fixture
def run(tmp_path):
    return run_folder.claim(tmp_path / "run", LAB)


def test_half_a_configuration_is_refused_wherever_it_is_cut(run):
    text = run.config.read_text()
    lines = text.split("\n")
    assert run.settings() == LAB
    for count in range(1, len(lines) - 2, 60):
        run.config.write_text("\n".join(lines[:count]) + "\n")
        with pytest.raises(SettingsError, match=r"config\.yaml"):
            run.settings()
    for length in (1, 30, len(text) // 2, len(text) - 1):
        run.config.write_text(text[:length])
        with pytest.raises(SettingsError, match=r"config\.yaml"):
            run.settings()
    run.config.write_text(text)
    assert run.settings() == LAB


@pytest.mark.parametrize("content", [b"", b"null\n", b"{}\n", b"[1, 2]\n", b"\xff\xfe", b"seed: 0\n"])
def test_what_is_no_configuration_is_refused(run, content):
    run.config.write_bytes(content)
    with pytest.raises(SettingsError, match=r"config\.yaml"):
        run.settings()


def test_a_changed_value_is_refused_unless_it_is_meant(run):
    text = run.config.read_text()
    run.config.write_text(text.replace("seed: 0\n", "seed: 3\n", 1))
    with pytest.raises(SettingsError, match=r"config\.yaml is damaged: it was cut or changed.*delete its first line"):
        run.settings()
    notes = []
    assert read_tree(run.config, notes)["seed"] == 3
    assert notes == ["config.yaml: it was cut or changed since it was written: its first line does not fit it."]
    run.config.write_text(run.config.read_text().partition("\n")[2])
    assert run.settings() == LAB.model_copy(update={"seed": 3})


def test_an_unsealed_configuration_that_lacks_settings_names_them(run):
    tree = yaml.safe_load(run.config.read_text())
    for name in ("tie_margin", "every"):
        del tree["evaluate"][name]
    del tree["judge"]
    run.config.write_text(yaml.safe_dump(tree))
    with pytest.raises(SettingsError, match=r"it lacks evaluate\.tie_margin, evaluate\.every, judge; put it back"):
        run.settings()
    del tree["data"]["seed"], tree["data"]["validation"]  # which older runs have not
    run.config.write_text(whole.sealed(yaml.safe_dump(tree)))  # whole, of a version that had not these settings yet
    assert run.settings().data.seed is None


def test_settings_that_go_on_otherwise_are_sealed_again(run):
    other = LAB.model_copy(update={"budget": LAB.budget.model_copy(update={"calls": 5})})
    run_folder.reopen(run.path, other)
    assert whole.check(run.config)
    assert run.settings() == other


@pytest.fixture(scope="module")
def sealed_model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model") / "prompter"
    save_model(folder, "llama", seed=1)
    (folder / "README.md").write_text("a card")
    checksums.seal(folder)
    return folder


NAMES = ("model.safetensors", "config.json", "tokenizer.json", "tokenizer_config.json", "checksums.json")


@pytest.mark.parametrize("damage", ["changed", "cut", "empty", "gone"])
@pytest.mark.parametrize("name", NAMES)
def test_a_model_that_changed_since_it_was_saved_is_not_loaded(sealed_model, tmp_path, name, damage):
    folder = shutil.copytree(sealed_model, tmp_path / "prompter")
    resolve(str(folder), "prompter")
    data = (folder / name).read_bytes()
    middle = len(data) // 2
    changed = {
        "changed": data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :],
        "cut": data[:middle],
        "empty": b"",
    }
    (folder / name).unlink()
    if damage != "gone":
        (folder / name).write_bytes(changed[damage])
    if (name, damage) == ("checksums.json", "gone"):  # a model from elsewhere has none
        resolve(str(folder), "prompter")
        return
    with pytest.raises(
        ModelNotUsable, match=rf"prompter\.model .*prompter.*{name.replace('.', '.')}|no weights|no config"
    ):
        resolve(str(folder), "prompter")
    with pytest.raises(ModelNotUsable):
        load_tokenizer(str(folder), "prompter")


def test_words_about_a_model_may_change(sealed_model, tmp_path):
    folder = shutil.copytree(sealed_model, tmp_path / "prompter")
    (folder / "README.md").write_text("another card")
    (folder / "notes.txt").write_text("mine")
    assert resolve(str(folder), "prompter") == str(folder)


def test_every_byte_of_a_result_that_changes_is_noticed_or_changes_nothing(tmp_path):
    path = tmp_path / "headroom.json"
    write(path, Headroom(prompts=12, frozen_calls=340))
    data, kept = path.read_bytes(), read(Headroom, path)
    for place in range(0, len(data), 3):
        path.write_bytes(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])
        try:
            found = read(Headroom, path)
        except DamagedResult as error:
            assert "headroom.json " in str(error) and "alignpro headroom" in str(error)
            continue
        assert (found.prompts, found.frozen_calls) == (kept.prompts, kept.frozen_calls)
    tree = json.loads(data)
    path.write_text(json.dumps({name: tree[name] for name in tree if name != "check"} | {"prompts": 5}))
    assert read(Headroom, path).prompts == 5  # as files were before they had a digest


def test_without_its_environment_a_run_does_not_guess_its_threads(run, workshop):
    path, own = run.path / "environment.json", settings(workshop).model_copy(update={"threads": None})
    files.write_json(path, {"threads": 3})
    assert threads_of(own, run, resume=True) == 3
    path.write_text('{"threads": ')
    with pytest.raises(UsageError, match=r"environment\.json is damaged.*give --threads=N"):
        threads_of(own, run, resume=True)
    path.unlink()
    assert threads_of(own, RunFolder(run.path), resume=True) is None
