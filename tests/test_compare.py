"""`alignpro compare`: methods by seeds, resumed, refused, and a run that breaks."""

import json

import pytest
import yaml
from cli import settings

from alignpro import compare as comparing
from alignpro import job
from alignpro.compare import compare, tabulate
from alignpro.errors import RunFailure, SettingsError, UsageError

SMALL = (
    "train.steps=1",
    "train.kl.coef=0.5",
    "train.prompts_per_step=4",
    "evaluate.prompts=3",
    "compare.seeds=2",
    "compare.gibbs=[2]",
    "compare.methods={rloo: {rewrites: 2}, dpo: {rewrites: 3, responses: 2}}",
)


def names(found):
    return [row["method"] for row in found["methods"]]


def test_methods_are_compared_over_seeds_and_what_is_finished_is_not_done_again(workshop, tmp_path, monkeypatch):
    monkeypatch.chdir(workshop)
    asked, out = settings(workshop, *SMALL), tmp_path / "all"
    a_process_of_its_own = comparing.run_apart
    ran = []

    def until_told(path, one, stop):
        ran.append(path.name)
        if path.name == "dpo-1":
            raise RunFailure("dpo-1 failed: the lights went out")
        job.run(one, path)  # in this process, for speed

    monkeypatch.setattr(comparing, "run_apart", until_told)
    with pytest.raises(RunFailure, match="dpo-1 failed"):
        compare(asked, out)
    assert ran == ["untrained-0", "rloo-0", "dpo-0", "untrained-1", "rloo-1", "dpo-1"]  # seed by seed
    before = (out / "rloo-0" / "evaluation.json").stat().st_mtime_ns
    assert not (out / "methods.json").exists()
    monkeypatch.setattr(comparing, "run_apart", a_process_of_its_own)
    found = compare(asked, out, jobs=2)
    assert [path.name for path in out.glob("*.log")] == ["dpo-1.log"]
    assert (out / "rloo-0" / "evaluation.json").stat().st_mtime_ns == before
    assert json.loads((out / "methods.json").read_text()) == json.loads(json.dumps(found))

    assert names(found) == ["no_prompter", "reference_prompter", "gibbs_2", "rloo", "dpo"]
    row = {row["method"]: row for row in found["methods"]}
    assert (found["seeds"], found["kl_coef"], found["prompts"]) == (2, 0.5, 3)
    assert row["rloo"]["training_calls"] == 4 * 2
    assert 0 < row["dpo"]["training_calls"] <= 4 * 3 * 2
    assert row["gibbs_2"]["calls_per_prompt"] == 4
    assert row["no_prompter"]["training_calls"] == row["rloo"]["calls_per_prompt"] == 0
    assert row["no_prompter"]["kl"]["values"] == [0, 0]
    for one in found["methods"]:
        for figure in ("reward", "kl", "objective"):
            assert len(one[figure]["values"]) == 2
            assert min(one[figure]["values"]) <= one[figure]["value"] <= max(one[figure]["values"])
            assert one[figure]["ci95"][0] <= one[figure]["value"] <= one[figure]["ci95"][1]
        assert one["objective"]["value"] == pytest.approx(one["reward"]["value"] - 0.5 * one["kl"]["value"])
    assert tabulate(asked, out) == found
    shown = [yaml.safe_load((out / f"{name}-1" / "config.yaml").read_text()) for name in ("untrained", "rloo")]
    assert [(one["seed"], one["train"]["steps"], one["evaluate"]["every"]) for one in shown] == [(1, 0, 0), (1, 1, 0)]

    monkeypatch.setattr(comparing, "run_apart", lambda *all: pytest.fail("nothing is left to do"))
    assert compare(asked, out) == found
    with pytest.raises(UsageError, match="holds a comparison with other settings"):
        compare(settings(workshop, *SMALL, "train.kl.coef=0.6"), out)


def test_a_run_that_breaks_is_named_with_its_last_words(workshop, tmp_path, monkeypatch):
    monkeypatch.chdir(workshop)
    broken = settings(workshop, *SMALL, "reward.model=python:rewards:always_none")
    with pytest.raises(RunFailure, match=r"untrained-0 failed: .*reward gave None.*reward\.max_failed"):
        compare(broken, tmp_path / "all")
    assert not list((tmp_path / "all").glob("*/evaluation.json"))  # the others are stopped


def test_a_wrong_setting_is_told_before_the_folder_is_taken(workshop, inside, tmp_path):
    out = tmp_path / "all"
    for wrong, told in (
        ("compare.methods={rloo: {rewrites: 1}}", r"compare\.methods\.rloo.*set rewrites to 2 or more"),
        ("compare.methods={rloo: {rewirtes: 2}}", r"did you mean train\.rewrites\?"),
        ("reward.model=null", r"reward\.model not set"),
    ):
        with pytest.raises(SettingsError, match=told):
            compare(settings(workshop, *SMALL, wrong), out)
        assert not out.exists()
    code, output = inside("compare", f"--prompter.model={workshop / 'prompter'}", f"--out={out}")
    assert code == 2
    assert "frozen.model, reward.model, data.prompts not set" in output  # own models, so the recipe is not the lab's
    out.mkdir()
    (out / "thesis.txt").write_text("mine")
    with pytest.raises(UsageError, match="holds no comparison"):
        compare(settings(workshop, *SMALL), out)
