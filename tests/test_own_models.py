"""The same command on models of one's own: every class the paper and its followers use, and a real checkpoint."""

import json
from pathlib import Path

import pytest
from cli import SMALL
from tiny import CLASSES, save_model
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer

from alignpro.runtime.files import read_jsonl

SHARED = Path(__file__).parents[2] / "shared" / "models" / "stories260K"
CONTRACT = {
    "mean_reward",
    "ci95",
    "reward_variance",
    "variance_between_prompts",
    "variance_within_prompts",
    "kl_to_reference",
    "frozen_calls",
    "failed",
}


def check_folder(out):
    """The folder of a finished run, and a prompter that plain transformers loads."""
    held = {p.name for p in out.iterdir()}
    assert {
        "config.yaml",
        "environment.json",
        "metrics.jsonl",
        "samples.jsonl",
        "checkpoints",
        "prompter",
        "evaluation.json",
        "report.html",
    } <= held
    evaluation = json.loads((out / "evaluation.json").read_text())
    assert evaluation["schema"] == 1
    for arm in evaluation["arms"].values():
        assert set(arm) >= CONTRACT
    for row in evaluation["win_rates"]:
        assert {"a", "b", "judge", "win", "tie", "loss", "win_rate", "ci95", "order_consistency", "unparsed"} <= set(
            row
        )
    assert evaluation["arms"]["no_prompter"]["kl_to_reference"] is None
    assert abs(evaluation["arms"]["reference_prompter"]["kl_to_reference"]) < 1e-3  # it is its own reference
    AutoModelForCausalLM.from_pretrained(out / "prompter")
    AutoTokenizer.from_pretrained(out / "prompter")
    return evaluation


@pytest.mark.parametrize("kind", sorted(CLASSES))
def test_a_run_on_tiny_models_of_each_class(kind, workshop, tmp_path, inside):
    other = "llama" if kind != "llama" else "gemma"
    save_model(tmp_path / "p", kind, seed=3)
    save_model(tmp_path / "f", other, seed=4, chat=kind != "qwen2")  # one of them without a chat template
    (tmp_path / "questions.jsonl").write_text(
        "".join(json.dumps({"question": f"why is {i} odd?"}) + "\n" for i in range(15))
    )
    code, output = inside(
        "run",
        f"--prompter={tmp_path / 'p'}",
        f"--frozen={tmp_path / 'f'}",
        "--reward=python:rewards:length",
        f"--prompts={tmp_path / 'questions.jsonl'}",
        "--data.column=question",
        *SMALL,
        "--evaluate.arms=[no_prompter,reference_prompter,align_pro,gibbs_2,rlhf]",
        "--rlhf.enabled=true",
        "--rlhf.steps=2",
        "--rlhf.prompts_per_step=4",
        "--headroom.after_training=true",
        "--headroom.prompts=2",
        "--headroom.rewrites=4",
        "--headroom.responses=2",
        "--headroom.answers=8",
        f"--out={tmp_path / 'run'}",
    )
    assert code == 0, output
    evaluation = check_folder(tmp_path / "run")
    assert list(evaluation["arms"]) == ["no_prompter", "reference_prompter", "align_pro", "gibbs_2", "rlhf"]
    headroom = json.loads((tmp_path / "run" / "headroom.json").read_text())
    assert headroom["trained_prompter"]["kl"] is not None
    assert headroom["frozen_calls"] > 0


def test_a_reward_model_in_a_folder_scores(workshop, tmp_path, inside):
    import torch
    from tiny import make_tokenizer
    from transformers import LlamaConfig, LlamaForSequenceClassification

    tokenizer = make_tokenizer()
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_labels=1,
    )
    LlamaForSequenceClassification(config).save_pretrained(tmp_path / "rm")  # says nothing of a pad token
    tokenizer.save_pretrained(tmp_path / "rm")
    words = [
        f"--prompter={workshop / 'prompter'}",
        f"--frozen={workshop / 'frozen'}",
        f"--prompts={workshop / 'prompts.txt'}",
    ]
    code, output = inside("run", *words, f"--reward={tmp_path / 'rm'}", *SMALL, f"--out={tmp_path / 'run'}")
    assert code == 0, output
    check_folder(tmp_path / "run")
    rewards = [row["reward"] for row in read_jsonl(tmp_path / "run" / "samples.jsonl")]
    assert len(set(rewards)) > 10

    config.num_labels = 3
    LlamaForSequenceClassification(config).save_pretrained(tmp_path / "rm")
    code, output = inside("run", *words, f"--reward={tmp_path / 'rm'}", f"--out={tmp_path / 'other'}")
    assert code == 2
    assert "3 labels" in output
    assert AutoModelForSequenceClassification.from_pretrained(tmp_path / "rm").config.num_labels == 3


@pytest.mark.skipif(not SHARED.is_dir(), reason="the shared stories260K checkpoint is not beside this checkout")
def test_a_real_checkpoint_as_prompter_and_as_frozen_model(workshop, tmp_path, inside):
    openings = [
        f"Once upon a time, {who} {did}."
        for who in ("a girl", "a dog", "Tom", "Lily")
        for did in ("ran", "sang", "hid")
    ]
    (tmp_path / "stories.txt").write_text("\n".join(openings))
    code, output = inside(
        "run",
        f"--prompter={SHARED}",
        f"--frozen={SHARED}",
        "--reward=python:rewards:length",
        f"--prompts={tmp_path / 'stories.txt'}",
        *SMALL,
        "--frozen.sampling.max_new_tokens=40",
        f"--out={tmp_path / 'run'}",
    )
    assert code == 0, output
    check_folder(tmp_path / "run")
    sample = next(r for r in read_jsonl(tmp_path / "run" / "samples.jsonl") if r["stage"] == "evaluation")
    assert sample["rewrite"] == sample["prompt"]
    assert len(sample["response"].split()) > 5
