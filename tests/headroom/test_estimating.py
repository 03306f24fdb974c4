"""The estimate as a user meets it: before training and after, stopped and gone on with, with rewards of every kind."""

import json
import math

import numpy as np
import pytest
from cli import ESTIMATE, SMALL, copied, models, settings

from alignpro.errors import Interrupted, RewardFailure, SettingsError, UsageError
from alignpro.models import sampler
from alignpro.running import job
from alignpro.runtime.files import read_jsonl

ESTIMATE = (*ESTIMATE, "train.steps=1", "evaluate.every=0", "evaluate.arms=[no_prompter, align_pro]")
SPIED = ("reward.model=python:rewards:spy", *ESTIMATE)
WORDS = [f"--{word}" for word in ESTIMATE]


def written(folder):
    return json.loads((folder / "headroom.json").read_text())


@pytest.fixture(scope="module")
def estimated(workshop, tmp_path_factory):
    """A new folder with nothing but an estimate."""
    out = tmp_path_factory.mktemp("estimated") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(workshop)
        job.headroom(settings(workshop, *ESTIMATE), out)
    return out


def test_where_nothing_is_trained_float16_serves_and_is_refused_where_something_is(workshop, tmp_path, monkeypatch):
    monkeypatch.chdir(workshop)
    half = settings(workshop, *ESTIMATE, "dtype=float16", "headroom.prompts=2")
    assert job.headroom(half, tmp_path / "half").prompts == 2
    with pytest.raises(SettingsError, match="float16"):
        job.run(half, tmp_path / "half", resume=True)


def test_before_any_training_the_folder_holds_the_whole_contract(estimated):
    found = written(estimated)
    assert {
        *("schema", "no_prompter", "reference_prompter", "trained_prompter", "rlhf_optimum", "frontier", "d1", "d2"),
        *("gap", "bounds", "frozen_calls", "advice", "withheld", "noise", "gibbs"),
    } <= set(found)
    assert {"theorem", "sharper"} <= set(found["bounds"])
    assert found["trained_prompter"] is None
    assert found["prompts"] == 3
    assert found["frontier"]
    for point in found["frontier"]:
        assert {"kl_coef", "kl", "reward", "ci95", "ess"} <= set(point)
        assert point["ci95_withheld"] == "under 5 prompts" and point["ci95"] == [None, None]
    assert found["advice"]["verdict"] in {"train", "sample", "neither", "unsure"}
    rows = read_jsonl(estimated / "headroom_samples.jsonl")
    assert found["frozen_calls"] == sum(2 * len(row["texts"]) + 12 for row in rows)
    assert (estimated / "report.html").is_file()
    assert not (estimated / "prompter").exists()


def test_training_goes_on_in_the_same_folder_and_is_estimated_there(estimated, workshop, inside, tmp_path):
    out = copied(estimated, tmp_path / "run")
    code, output = inside("run", "--resume", f"--out={out}")
    assert code == 0, output
    assert written(out)["advice"]["text"] not in output  # of before the training
    assert written(out) == written(estimated)
    code, output = inside("headroom", str(out))
    assert code == 0, output
    found = written(out)
    assert found["trained_prompter"]["reward"] > 0
    assert found["advice"]["text"] in output
    assert f"{found['frozen_calls']:,} answers" in output
    assert found["no_prompter"] == written(estimated)["no_prompter"]  # asked anew, drawn alike


def test_of_a_finished_run_headroom_settings_alone_can_be_changed(trained, inside, tmp_path):
    out = copied(trained, tmp_path / "run")
    for words, told in (
        (["--train.kl.coef=3"], "headroom.* settings alone"),
        (["--frozen=lab"], "leave out --out and the models"),
        ([f"--out={tmp_path / 'new'}"], "leave out --out"),
    ):
        code, output = inside("headroom", str(out), *words)
        assert code == 2, output
        assert told in output
    assert not (out / "headroom.json").exists()
    config = (out / "config.yaml").read_text()
    code, output = inside("headroom", str(out), *[w for w in WORDS if w.startswith("--headroom.")])
    assert code == 0, output
    assert written(out)["trained_prompter"] is not None
    assert written(out)["kl_coef"] == 0.1
    assert (out / "config.yaml").read_text() == config


def test_the_command_line_gives_what_python_gives_and_the_seed_decides(estimated, workshop, inside, tmp_path):
    words = ["headroom", *models(workshop), *SMALL, *WORDS]
    code, output = inside(*words, f"--out={tmp_path / 'same'}")
    assert code == 0, output
    assert f"alignpro run --resume --out {tmp_path / 'same'}" in output
    assert (tmp_path / "same" / "headroom.json").read_bytes() == (estimated / "headroom.json").read_bytes()
    code, output = inside(*words, "--seed=1", f"--out={tmp_path / 'other'}")
    assert code == 0, output
    assert written(tmp_path / "other")["no_prompter"] != written(estimated)["no_prompter"]
    code, output = inside(*words, f"--out={tmp_path / 'same'}")
    assert code == 2
    assert "holds another run" in output


def test_a_stopped_estimate_goes_on_and_pays_for_no_prompt_twice(workshop, spy, inside, tmp_path):
    whole = job.headroom(settings(workshop, *SPIED), tmp_path / "whole")
    paid, spy.scored, spy.calls = len(spy.scored), [], 0
    assert paid == whole["frozen_calls"]
    spy.stop_at = 2  # while the first prompt is scored
    with pytest.raises(Interrupted):
        job.headroom(settings(workshop, *SPIED), tmp_path / "stopped")
    assert len(spy.prompts) == 1
    assert len(read_jsonl(tmp_path / "stopped" / "headroom_samples.jsonl")) == 1
    assert not (tmp_path / "stopped" / "headroom.json").exists()
    spy.stop_at = spy.calls + 1
    code, output = inside("headroom", str(tmp_path / "stopped"))
    assert code == 1
    assert output.strip().endswith(f"Go on with: alignpro headroom {tmp_path / 'stopped'}")
    assert len(spy.prompts) == 2
    job.headroom(None, tmp_path / "stopped", resume=True)
    assert len(spy.scored) == paid
    assert written(tmp_path / "stopped") == written(tmp_path / "whole")

    job.headroom(None, tmp_path / "stopped", resume=True, overrides=["headroom.lams=[1, 3]", "headroom.gibbs=[3]"])
    assert len(spy.scored) == paid  # other prices rest on the same answers
    assert [point["kl_coef"] for point in written(tmp_path / "stopped")["frontier"]] == [6.0, 2.0]
    assert [row["n"] for row in written(tmp_path / "stopped")["gibbs"]] == [3]
    more = job.headroom(None, tmp_path / "stopped", resume=True, overrides=["headroom.rewrites=14"])
    assert len(spy.scored) == paid + more["frozen_calls"]
    assert more["frozen_calls"] > whole["frozen_calls"]


def test_a_killed_estimate_samples_no_batch_twice(estimated, workshop, tmp_path, monkeypatch):
    monkeypatch.chdir(workshop)
    calls, draw, killed = [], sampler.sample_rows, 4

    def spied(*given):
        calls.append(given)
        if len(calls) == killed:
            raise KeyboardInterrupt
        return draw(*given)

    monkeypatch.setattr(sampler, "sample_rows", spied)
    monkeypatch.setattr(sampler, "STRETCH", 1)
    small = settings(workshop, *ESTIMATE, "headroom.prompts=2", "frozen.batch_size=8")
    with pytest.raises(KeyboardInterrupt):
        job.headroom(small, tmp_path / "run")
    assert not (tmp_path / "run" / "headroom_samples.jsonl").exists()
    assert len([*(tmp_path / "run" / "batches").iterdir()]) == killed - 1
    job.headroom(None, tmp_path / "run", resume=True)
    gone_on = len(calls) - killed
    job.headroom(small, tmp_path / "whole")
    assert len(calls) - killed - gone_on == gone_on + killed - 1
    assert written(tmp_path / "run") == written(tmp_path / "whole")
    assert not (tmp_path / "run" / "batches").exists()


def test_a_stop_with_other_settings_is_gone_on_with_by_the_same_command(workshop, spy, inside, tmp_path):
    job.headroom(settings(workshop, *SPIED), tmp_path / "run")
    spy.stop_at = spy.calls + 1
    words = ["headroom", str(tmp_path / "run"), "--headroom.answers=14"]
    code, output = inside(*words)
    assert code == 1
    assert output.strip().endswith(f"Go on with: alignpro {' '.join(words)}")


def scorer(monkeypatch, spy, score):
    """Make `rewards:spy` another reward."""
    import rewards

    monkeypatch.setattr(rewards, "spy", lambda xs, ys: [score(x, y) for x, y in zip(xs, ys, strict=True)])


@pytest.mark.parametrize("constant", [0.0, 0.3, -0.7, 1e6 / 3])
def test_of_a_constant_reward_there_is_nothing_to_gain(workshop, spy, monkeypatch, tmp_path, constant):
    scorer(monkeypatch, spy, lambda x, y: constant)
    found = job.headroom(settings(workshop, *SPIED, "headroom.prompts=5", "data.test_share=0.6"), tmp_path / "run")
    assert found["prompts"] == 5 and found["advice"]["verdict"] == "neither"
    assert found["optimum"]["gain"]["value"] == pytest.approx(0, abs=1e-9 * max(1, abs(constant)))


def test_of_a_reward_too_steep_for_the_samples_nothing_is_claimed(workshop, spy, monkeypatch, tmp_path):
    scorer(monkeypatch, spy, lambda x, y: 1e9 * len(y))
    found = job.headroom(settings(workshop, *SPIED, "prompter.template=null"), tmp_path / "run")
    assert found["frontier"] == []
    assert found["optimum"] is found["gap"] is found["rlhf_optimum"] is None
    assert found["advice"]["verdict"] == "unsure"
    assert "raise train.kl.coef" in found["advice"]["text"]
    assert len(found["withheld"]) == 11  # 10 prices and RLHF's
    assert math.isfinite(found["no_prompter"]["reward"])


def test_failed_rewards_are_masked_and_a_prompt_without_any_stops_nothing(workshop, spy, monkeypatch, tmp_path):
    job.headroom(settings(workshop, *SPIED), tmp_path / "whole")
    lost = read_jsonl(tmp_path / "whole" / "headroom_samples.jsonl")[2]["prompt"]  # alone in its chunk
    scorer(monkeypatch, spy, lambda x, y: None if x == lost else len(y) / 10)
    noise = "headroom.noise=[drop=0.5]"
    found = job.headroom(settings(workshop, *SPIED, "reward.max_failed=0.4", noise), tmp_path / "masked")
    rows = read_jsonl(tmp_path / "whole" / "headroom_samples.jsonl")
    for name in ("no_prompter", "reference_prompter"):
        assert math.isfinite(found[name]["reward"])
        assert found["noise"][1][name]["reward"] != 0
    kept = [np.mean(row["answers"]) for row in rows if row["prompt"] != lost]
    assert found["no_prompter"]["reward"] == pytest.approx(np.mean(kept))
    with pytest.raises(RewardFailure, match=r"of \d+ samples have no reward.*reward gave None"):
        job.headroom(settings(workshop, *SPIED, "reward.max_failed=0.3"), tmp_path / "stopped")
    assert len(read_jsonl(tmp_path / "stopped" / "headroom_samples.jsonl")) == 2


def test_one_prompt_has_no_interval_and_more_than_there_are_is_fine(workshop, spy, tmp_path):
    job.headroom(settings(workshop, *SPIED, "headroom.prompts=1", "headroom.noise=[swap=1]"), tmp_path / "one")
    found = written(tmp_path / "one")
    assert found["no_prompter"]["ci95"] == [None, None]
    assert found["advice"]["verdict"] == "unsure"
    job.headroom(None, tmp_path / "one", resume=True, overrides=["headroom.prompts=50", "headroom.noise=[]"])
    assert written(tmp_path / "one")["prompts"] == 4  # every held-out prompt
    assert len({row["prompt"] for row in read_jsonl(tmp_path / "one" / "headroom_samples.jsonl")}) == 4


def test_noise_sets_the_damaged_models_beside_the_clean_one(workshop, spy, tmp_path):
    kinds = ["temperature=4", "drop=0", "weights=0.5", f"model={workshop / 'frozen'}"]
    found = job.headroom(
        settings(workshop, *SPIED, f"headroom.noise=[{', '.join(kinds)}]", "headroom.noise_samples=4"), tmp_path / "run"
    )
    rows = found["noise"]
    assert [row["noise"] for row in rows] == ["none", *kinds]
    assert found["frozen_calls"] == len(spy.scored)
    for name in ("no_prompter", "reference_prompter", "optimum"):
        assert rows[0][name]["change"] == 0
        assert all(
            row[name]["change"] == pytest.approx(row[name]["reward"] - rows[0][name]["reward"]) for row in rows[1:]
        )
    assert rows[0]["trained_prompter"] is None
    assert rows[3]["no_prompter"]["reward"] != rows[0]["no_prompter"]["reward"]


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        (["headroom.noise=[drop=0.1, fog=2]"], "'fog=2' is not one of"),
        (["headroom.noise=[model=/nowhere/at/all]"], "no such folder"),
        (["train.kl.coef=0"], "above 0"),
        (["rlhf.kl.coef=0"], "above 0"),
    ],
)
def test_what_cannot_be_estimated_is_refused_before_any_answer_is_asked(workshop, spy, tmp_path, wrong, told):
    with pytest.raises(UsageError, match=told):
        job.headroom(settings(workshop, *SPIED, *wrong), tmp_path / "run")
    assert spy.calls == 0
    assert not (tmp_path / "run").exists()


def test_a_run_that_would_end_in_an_impossible_estimate_does_not_begin(workshop):
    with pytest.raises(SettingsError, match="above 0"):
        settings(workshop, "train.kl.coef=0", "headroom.after_training=true")
