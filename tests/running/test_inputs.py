"""Prompts, code and weights that changed since a run began are named and refused, or told in its report."""

import json
import os
from dataclasses import dataclass

import pytest
from tiny import save_model

from alignpro import config
from alignpro.config import Settings
from alignpro.errors import InputsChanged
from alignpro.fits.pairs import _key
from alignpro.running import inputs
from alignpro.running.inputs import fingerprints
from alignpro.running.opening import open_run
from alignpro.runtime.consent import consent
from alignpro.runtime.digests import REMEMBERED
from alignpro.runtime.files import read_json, read_jsonl, write_json
from alignpro.runtime.run_folder import RunFolder


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return save_model(tmp_path_factory.mktemp("models") / "model", "llama", seed=1)


@pytest.fixture
def named(tmp_path, monkeypatch, model):
    """Settings that name a file of each kind, in the working folder."""
    import shutil

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ALIGNPRO_STATE", str(tmp_path / "state"))
    shutil.copytree(model, tmp_path / "model")
    for name in ("prompts", "test", "validation"):
        (tmp_path / f"{name}.txt").write_text(f"{name} of owls\n")
    (tmp_path / "own_scores.py").write_text("import own_beside\ndef score(prompts, responses):\n    return [1.0]\n")
    (tmp_path / "own_beside.py").write_text("A = 1\n")
    (tmp_path / "own_terms.py").write_text("def term(prompts, rewrites):\n    return [1.0]\n")
    tree = {
        "prompter": {"model": str(tmp_path / "model")},
        "frozen": {"model": "lab"},
        "reward": {"model": "python:own_scores:score"},
        "prompt_terms": [{"term": "python:own_terms:term"}],
        "evaluate": {"judge": f"lm:{tmp_path / 'model'}"},
        "data": {name: str(tmp_path / f"{name}.txt") for name in ("prompts", "test", "validation")},
    }
    return config.build(tree)


@dataclass
class Work:
    settings: Settings


def opened(settings, out, resume=False, changed=False):
    job = open_run(settings, out, lambda taken, say, kept: Work(taken), stopping="", resume=resume, changed=changed)
    with job:
        return job


CHANGES = {
    "data.prompts": lambda here: (here / "prompts.txt").write_text("other owls\n"),
    "data.test": lambda here: (here / "test.txt").write_text("other owls\n"),
    "data.validation": lambda here: (here / "validation.txt").write_text("other owls\n"),
    "reward.model python:own_scores:score": lambda here: (here / "own_scores.py").write_text("score = max\n"),
    "python:own_scores:score": lambda here: (here / "own_beside.py").write_text("A = 2\n"),
    "prompt_terms.0.term": lambda here: (here / "own_terms.py").write_text("term = max\n"),
    "prompter.model": lambda here: save_model(here / "model", "llama", seed=2),
    "evaluate.judge lm:": lambda here: (here / "model" / "tokenizer_config.json").write_text("{}"),
}


@pytest.mark.parametrize("what", CHANGES)
def test_a_change_is_named_refused_and_told_in_the_report_where_it_is_allowed(named, tmp_path, what):
    out = tmp_path / "run"
    opened(named, out)
    opened(None, out, resume=True)  # nothing changed
    CHANGES[what](tmp_path)
    for given in ({"settings": None}, {"settings": named, "changed": True}):  # as run --resume, and as evaluate, judge
        with pytest.raises(InputsChanged, match=f"{what}.*--allow-changed"):
            opened(out=out, resume=True, **given)
    assert not (out / "notices.jsonl").exists()
    with consent(changed=True):
        opened(None, out, resume=True)
    (told,) = read_jsonl(out / "notices.jsonl")
    assert what in told["text"]
    opened(None, out, resume=True)  # from here on that is what the run goes on with
    CHANGES["data.prompts"](tmp_path)
    (tmp_path / "prompts.txt").write_text("yet other owls\n")
    with pytest.raises(InputsChanged, match=r"data\.prompts"):
        opened(None, out, resume=True)


def test_another_input_than_before_is_new_and_no_change(named, tmp_path):
    out = tmp_path / "run"
    opened(named, out)
    (tmp_path / "other.py").write_text("judge = max\n")
    other = named.model_copy(update={"evaluate": named.evaluate.model_copy(update={"judge": "python:other:judge"})})
    opened(other, out, resume=True, changed=True)
    assert "evaluate.judge python:other:judge" in read_json(out / "environment.json")["inputs"]
    (tmp_path / "other.py").write_text("judge = min\n")
    opened(None, out, resume=True)
    with pytest.raises(InputsChanged, match=r"evaluate\.judge python:other:judge"):
        opened(other, out, resume=True, changed=True)


def test_a_run_from_before_begins_to_remember(named, tmp_path):
    out = tmp_path / "run"
    opened(named, out)
    told = read_json(out / "environment.json")
    write_json(out / "environment.json", {key: value for key, value in told.items() if key != "inputs"})
    opened(None, out, resume=True)
    assert read_json(out / "environment.json") == told
    (out / "environment.json").unlink()
    inputs.check(RunFolder(out), named, print)
    assert not (out / "environment.json").exists()


def test_code_is_read_and_not_run_for_its_digest(named, tmp_path):
    (tmp_path / "own_scores.py").write_text("raise SystemExit(1)\n")
    first = fingerprints(named)["reward.model python:own_scores:score"]
    (tmp_path / "own_scores.py").write_text("raise SystemExit(2)\n")
    assert fingerprints(named)["reward.model python:own_scores:score"] != first
    absent = named.model_copy(update={"reward": named.reward.model_copy(update={"model": "python:nowhere.at:all"})})
    assert not any(name.startswith("reward.model") for name in fingerprints(absent))


def test_large_files_are_read_once_and_again_when_their_size_or_time_changes(tmp_path, monkeypatch):
    monkeypatch.setenv("ALIGNPRO_STATE", str(tmp_path / "state"))
    large, small = tmp_path / "large.txt", tmp_path / "small.txt"
    large.write_bytes(b"a" * REMEMBERED)
    small.write_bytes(b"a")
    settings = config.build({"data": {"prompts": str(large), "test": str(small)}})
    first = fingerprints(settings)
    read = []
    monkeypatch.setattr(inputs.files, "digest", lambda path: read.append(path.name) or "digest")
    assert fingerprints(settings)[f"data.prompts {large}"] == first[f"data.prompts {large}"]
    assert read == ["small.txt"]
    os.utime(large, ns=(0, 0))
    assert fingerprints(settings)[f"data.prompts {large}"] == "digest"
    (tmp_path / "state" / "digests.json").write_text("no json")
    assert fingerprints(settings)
    assert json.loads((tmp_path / "state" / "digests.json").read_text())


def test_a_state_that_cannot_be_written_stops_nothing(named, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("ALIGNPRO_STATE", str(tmp_path / "file" / "state"))
    (tmp_path / "prompts.txt").write_bytes(b"a" * REMEMBERED)
    assert fingerprints(named)


def test_pairs_begun_with_other_inputs_are_no_longer_those(named, tmp_path):
    before = _key(named)
    assert _key(named) == before
    CHANGES["data.prompts"](tmp_path)
    assert _key(named) != before
