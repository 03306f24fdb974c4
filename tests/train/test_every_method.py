"""Every method through the whole job on tiny models: trains, stops, goes on, and is refused what it cannot do."""

import json

import pytest
from cli import settings

from alignpro import config
from alignpro.errors import Interrupted, SettingsError
from alignpro.models.fingerprint import fingerprint
from alignpro.models.local import load_prompter
from alignpro.running import job
from alignpro.runtime.files import read_jsonl

SAMPLED = ("train.rewrites=3", "train.prompts_per_step=4", "train.steps=4", "train.save_every=2", "evaluate.every=0")
RATES = (
    "train.group={learning_rate: 1e-3, epochs: 1}",
    "train.offline.learning_rate=1e-3",
    "evaluate.arms=[align_pro]",
)
OFFLINE = ("weighted_likelihood", "dpo", "exo")


def of(workshop, method, *more):
    return settings(workshop, "reward.model=python:rewards:spy", f"train.method={method}", *SAMPLED, *RATES, *more)


def weights(folder, run):
    return fingerprint(load_prompter(run.prompter.model_copy(update={"model": str(folder)})).lm.model)


@pytest.mark.parametrize("method", ["rloo", "grpo", *OFFLINE])
def test_it_trains_and_counts_what_it_asked(workshop, spy, tmp_path, method):
    run = of(workshop, method)
    job.run(run, tmp_path / "run", only_train=True)
    rows = read_jsonl(tmp_path / "run" / "metrics.jsonl")
    assert [row["step"] for row in rows] == [1, 2, 3, 4]
    assert all(row["kl_coef"] == 0.1 and row["reward"] > 0 for row in rows)
    assert weights(tmp_path / "run" / "prompter", run) != weights(workshop / "prompter", run)
    calls = [row["frozen_calls"] for row in rows]
    assert calls[-1] == len(spy.scored)
    if method in OFFLINE:
        assert len(set(calls)) == 1  # the frozen model is asked for nothing after the sampling
        assert len(spy.prompts) == 16  # 4 steps of 4, one pass over the training prompts
    else:
        assert calls == [12, 24, 36, 48]


@pytest.mark.parametrize("method", ["rloo", "exo"])
def test_stopped_and_gone_on_with_it_ends_where_an_uninterrupted_one_does(workshop, spy, tmp_path, method):
    run = of(workshop, method)
    whole = job.run(run, tmp_path / "whole")
    paid, spy.scored, spy.calls = spy.calls, [], 0
    spy.stop_at = 2  # rloo: in step 2; exo: while the second of 4 parts is sampled
    with pytest.raises(Interrupted):
        job.run(run, tmp_path / "stopped")
    seen = set(spy.prompts)
    assert len(seen) == 8
    spy.scored = []
    again = job.run(None, tmp_path / "stopped", resume=True)
    assert spy.calls == paid
    if method in OFFLINE:
        assert len(spy.prompts & seen) == 0  # those are paid for; the rest of training and the test prompts are not
    assert again == whole
    assert weights(tmp_path / "stopped" / "prompter", run) == weights(tmp_path / "whole" / "prompter", run)
    both = [read_jsonl(tmp_path / name / "metrics.jsonl") for name in ("whole", "stopped")]
    for row in (*both[0], *both[1]):
        del row["seconds"], row["peak_gib"]
    assert both[0] == both[1]
    assert json.loads((tmp_path / "stopped" / "evaluation.json").read_text()) == json.loads(
        (tmp_path / "whole" / "evaluation.json").read_text()
    )


def test_offline_masks_failures_and_judges_their_share_over_all_prompts(workshop, spy, monkeypatch, tmp_path):
    import rewards

    def some(prompts, responses):
        return [None if " 7" in x else spy([x], [y])[0] for x, y in zip(prompts, responses, strict=True)]

    monkeypatch.setattr(rewards, "spy", some, raising=False)
    run = of(workshop, "dpo", "train.prompts_per_step=5", "reward.max_failed=0.5", "train.steps=3")
    job.run(run, tmp_path / "run", only_train=True)
    rows = read_jsonl(tmp_path / "run" / "metrics.jsonl")
    gathered = read_jsonl(tmp_path / "run" / "rollouts.jsonl")
    lost = [row for row in gathered if " 7" in row["prompt"]]
    assert all(set(row["rewards"]) == {None} for row in lost)
    assert sum(row["failed"] for row in rows) == sum(len(row["rewards"]) for row in lost)


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        (["train.method=rloo"], "set rewrites to 2 or more"),
        (["train.method=dpo", "train.rewrites=1"], "set rewrites to 2 or more"),
        (["train.method=dpo", "train.rewrites=2", "train.kl.coef=0"], r"one kl\.coef above 0"),
        (["train.method=exo", "train.rewrites=2", "train.kl.adaptive=true"], r"one kl\.coef above 0"),
        (["rlhf.enabled=true", "rlhf.method=dpo", "rlhf.rewrites=2"], "is of the prompter alone"),
        (["train.method=rlo"], r"did you mean rloo\?"),
        (["compare.methods={expo: {}}"], r"did you mean exo\?"),
    ],
)
def test_what_a_method_cannot_do_is_refused(wrong, told):
    with pytest.raises(SettingsError, match=told):
        config.load("local", wrong)
