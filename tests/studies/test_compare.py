"""`alignpro compare`: methods by seeds, resumed, refused, and a run that breaks."""

import json

import pytest
import yaml
from cli import settings

from alignpro import config
from alignpro.errors import BudgetSpent, RunFailure, SettingsError, UsageError
from alignpro.results import Methods, read
from alignpro.running import job
from alignpro.runtime.run_folder import claim
from alignpro.studies import compare as comparing
from alignpro.studies.compare import compare, tabulate
from alignpro.studies.shared_budget import spent

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
    assert read(Methods, out / "methods.json") == found

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
        ("train.steps=0", r"compare\.methods\.rloo: train\.steps is 0"),
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


def test_one_budget_is_for_all_runs_and_what_they_cost_is_summed(workshop, tmp_path, monkeypatch):
    monkeypatch.chdir(workshop)
    out, got = tmp_path / "all", {}
    money = ("frozen.endpoint.price={input: 1, output: 2}", "budget.money=5", "budget.calls=100")
    asked = settings(workshop, *SMALL, *money)

    def spends(path, one, stop):
        got[path.name] = one.budget
        claim(path, one)
        books = {"requests": 30, "input_tokens": 7, "output_tokens": 3, "money": 1.5}
        (path / "spending.json").write_text(json.dumps({"tiny": books}))
        raise_at_last = len(got) == 4
        if not raise_at_last:
            (path / "evaluation.json").write_text("{}")

    monkeypatch.setattr(comparing, "run_apart", spends)
    with pytest.raises(BudgetSpent, match=r"6 of 5 money|120 of 100 calls"):
        compare(asked, out)
    assert [(b.money, b.calls, b.tokens) for b in got.values()] == [
        (5, 100, None),
        (3.5, 70, None),
        (2, 40, None),
        (0.5, 10, None),
    ]
    assert spent(out.iterdir())["tiny"] | {"failed": None} == {
        **dict.fromkeys(spent(out.iterdir())["tiny"]),
        "requests": 120,
        "input_tokens": 28,
        "output_tokens": 12,
        "money": 6,
    }
    more = settings(workshop, *SMALL, *money[:1], "budget.money=50")  # a budget may change on the way
    again = []
    monkeypatch.setattr(comparing, "run_apart", lambda path, one, stop: again.append((path.name, one.budget.money)))
    monkeypatch.setattr(comparing, "tabulate", lambda settings, out: Methods.model_validate({}))
    found = compare(more, out)
    assert again[0] == ("untrained-1", 50 - 4.5)  # its own spending counts within its own budget
    assert config.load(out / "untrained-1" / "config.yaml").budget.money == 45.5
    assert found["cost"]["endpoints"]["tiny"]["money"] == 6
    with pytest.raises(UsageError, match="--jobs 1"):
        compare(more, out, jobs=2)


def test_models_and_budget_are_named_as_for_a_run(workshop, inside, tmp_path, monkeypatch):
    got = []
    monkeypatch.setattr(comparing, "compare", lambda *told: got.append(told) or Methods.model_validate({}))
    monkeypatch.setattr("alignpro.cli.tables.methods", lambda found: None)
    words = ("--prompter=p", "--frozen=f", "--reward=python:rewards:length", "--prompts=x.txt", "--budget=3,70calls")
    code, output = inside("compare", *words, f"--out={tmp_path / 'all'}", "--train.steps=7")
    assert code == 0, output
    ((asked, out, jobs),) = got
    assert (asked.prompter.model, asked.frozen.model, asked.reward.model) == ("p", "f", "python:rewards:length")
    assert (asked.data.prompts, asked.budget.money, asked.budget.calls) == ("x.txt", 3, 70)
    assert (asked.train.steps, out, jobs) == (7, tmp_path / "all", 1)
