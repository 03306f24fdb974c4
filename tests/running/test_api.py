"""The same from Python, and one real training run in the lab."""

import json

import pytest

import alignpro
from alignpro.errors import UsageError


def test_a_trained_prompter_rewrites_and_answers(trained, workshop, monkeypatch):
    monkeypatch.chdir(workshop)
    prompter = alignpro.TrainedPrompter.load(trained)
    rewrites = [one.text for one in prompter.rewrite("tell me about owls", n=3, seed=5)]
    assert len(rewrites) == 3
    assert isinstance(prompter.answer(rewrites[0]), str)
    with pytest.raises(UsageError, match="holds no run"):
        alignpro.TrainedPrompter.load(workshop)


@pytest.mark.slow
def test_a_short_run_in_the_lab_beats_no_prompter_and_the_reference(tmp_path):
    settings = alignpro.load_settings(
        "lab",
        [
            "threads=1",
            "train.steps=22",
            "train.prompts_per_step=80",
            "train.ppo.minibatch_size=40",
            "train.average=0",
            "rlhf.enabled=false",
            "headroom.after_training=false",
            "evaluate.every=0",
            "evaluate.prompts=100",
            "evaluate.responses=2",
            "evaluate.arms=[no_prompter,reference_prompter,align_pro]",
        ],
    )
    summary = alignpro.run(settings, tmp_path / "lab")
    gains = {(d["b"], d["reward"]): d["ci95"] for d in summary["differences"] if d["a"] == "align_pro"}
    for baseline in ("no_prompter", "reference_prompter"):
        for reward in (summary["reward"], summary["second_reward"]):
            assert gains[baseline, reward][0] > 0, (baseline, reward, gains[baseline, reward])
    assert summary["arms"]["reference_prompter"]["kl_to_reference"] == pytest.approx(0, abs=1e-4)
    assert summary["arms"]["align_pro"]["kl_to_reference"] > 0.1
    environment = json.loads((tmp_path / "lab" / "environment.json").read_text())
    assert environment["threads"] == 1
