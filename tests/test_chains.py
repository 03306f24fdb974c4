"""Two prompters in sequence through the command line: the second is trained, the first stays as it is."""

import json
import shutil

import pytest
from cli import SMALL, models

import alignpro
from alignpro import config
from alignpro.flow.prompters import Chain
from alignpro.models.fingerprint import fingerprint
from alignpro.running.load import load_trained
from alignpro.runtime.files import read_jsonl

QUICK = (*SMALL, "--train.steps=2", "--train.save_every=1", "--evaluate.every=0", "--evaluate.arms=[align_pro]")


def words_of(workshop, first, last):
    rest = [word for word in models(workshop) if not word.startswith(("--prompter=", "--reward="))]
    return ["run", f"--prompter={first}", f"--then={last}", "--reward=python:rewards:spy", *rest, *QUICK]


@pytest.fixture
def chained(workshop, spy, inside, tmp_path):
    """A finished run of two passes, the first in a folder whose name YAML would read otherwise."""
    first = shutil.copytree(workshop / "prompter", tmp_path / "one, two: #three")
    code, output = inside(*words_of(workshop, first, workshop / "prompter"), f"--out={tmp_path / 'run'}")
    assert code == 0, output
    assert "one, two: #three then prompter" in output
    return tmp_path / "run"


def test_the_last_pass_alone_is_trained_and_the_first_has_an_arm(chained, workshop, spy, inside, tmp_path):
    evaluation = json.loads((chained / "evaluation.json").read_text())
    assert set(evaluation["arms"]) == {"align_pro", "pass_1"}
    rows = read_jsonl(chained / "samples.jsonl")
    prompts = {row["prompt"] for row in rows}
    known = set((workshop / "prompts.txt").read_text().splitlines())
    assert prompts <= known
    assert spy.prompts <= known  # the reward sees x, whatever the passes made of it

    prompter = alignpro.TrainedPrompter.load(chained)
    assert isinstance(prompter.prompter, Chain)
    first, last = prompter.prompter.passes
    settings = config.load(chained / "config.yaml")
    reference = load_trained(settings, workshop / "prompter")
    assert fingerprint(first.lm.model) == fingerprint(reference.lm.model) != fingerprint(last.lm.model)
    assert prompter.first is first
    assert len(prompter.rewrite("tell me about owls", n=2, seed=3)) == 2

    shutil.rmtree(chained / "prompter")
    shutil.rmtree(chained / "checkpoints" / "step-000002")
    code, output = inside("run", "--resume", f"--out={chained}")
    assert code == 0, output
    assert "resumed after step 1" in output
    assert json.loads((chained / "evaluation.json").read_text()) == evaluation

    # a third pass, behind the run of the first two
    code, output = inside(
        *words_of(workshop, chained, workshop / "prompter"), "--train.steps=0", f"--out={tmp_path / 'b'}"
    )
    assert code == 0, output
    three = alignpro.TrainedPrompter.load(tmp_path / "b").prompter
    assert [fingerprint(p.lm.model) for p in three.passes[:2]] == [fingerprint(p.lm.model) for p in (first, last)]
    assert len(three.passes) == 3
    arms = json.loads((tmp_path / "b" / "evaluation.json").read_text())["arms"]
    assert set(arms) == {"align_pro", "pass_1"}  # the whole run is one pass


def test_a_chain_that_cannot_be_is_refused(workshop, inside, tmp_path):
    out = f"--out={tmp_path / 'run'}"
    code, output = inside("run", f"--then={workshop / 'prompter'}", *models(workshop)[1:], out)
    assert code == 2
    assert "give the first pass too" in output
    code, output = inside("run", *models(workshop), "--evaluate.arms=[align_pro, pass_1]", out)
    assert code == 2
    assert "prompter.before has 0 passes" in output
    unfinished = tmp_path / "unfinished"
    unfinished.mkdir()
    (unfinished / "config.yaml").write_text("{}")
    code, output = inside(
        "run", f"--prompter={unfinished}", f"--then={workshop / 'prompter'}", *models(workshop)[1:], out
    )
    assert code == 2
    assert "holds no trained prompter yet" in output
    assert not (tmp_path / "run").exists()
