"""Adapters and bfloat16 in supervised fits: the base stays, heads are kept, small steps add up, resuming is exact."""

import json
import signal

import numpy as np
import pytest
import torch
from peft import AutoPeftModelForCausalLM, AutoPeftModelForSequenceClassification
from safetensors.torch import load_file, save_file
from tiny import save_model
from tiny_classifiers import save_classifier
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer

from alignpro import config
from alignpro.config import PrompterSettings, RewardSpec, Sampling
from alignpro.errors import Interrupted, ModelNotUsable, SettingsError
from alignpro.fits import learn_prompter, learn_reward
from alignpro.models import checksums
from alignpro.models.local import load_prompter
from alignpro.models.logprobs import score
from alignpro.rewards.model import load_reward_model
from alignpro.runtime.files import read_jsonl
from alignpro.train import bradley_terry, checkpoint, sft, supervised
from alignpro.train.master_weights import MasterAdam

LORA = ('{section}.lora={{"rank": 4, "alpha": 16, "dropout": 0.1}}', "{section}.gradient_checkpointing=true")


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    """Bases of several classes, preferences in which the polite answer wins, and pairs of prompts."""
    folder = tmp_path_factory.mktemp("adapters")
    save_model(folder / "llama", "llama", seed=3)
    save_model(folder / "qwen2", "qwen2", seed=4)
    save_classifier(folder / "bert", "bert")
    rng = np.random.default_rng(0)
    rows = []
    for i in range(60):
        filler = "".join(rng.choice(list("abcdefgh"), 4))
        rows.append({"prompt": f"question {i}", "chosen": f"owls {filler}", "rejected": f"rain {filler}"})
    (folder / "prefs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    pairs = [{"prompt": f"owls {i}", "rewrite": f"tell me about owls {i}"} for i in range(40)]
    (folder / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in pairs))
    return folder


def settings(shop, section, base, *more, lora=True):
    own = {
        "reward_learning": [f"reward_learning.base={shop / base}", f"data.prompts={shop / 'prefs.jsonl'}"],
        "sft": [
            f"prompter.model={shop / base}",
            f"sft.pairs={shop / 'pairs.jsonl'}",
            'prompter.template="{prompt}"',
        ],
    }[section]
    small = ("epochs=2", "batch_size=8", "learning_rate=1e-2", "save_every=2", "bootstrap=100")
    lines = [*own, *(f"{section}.{word}" for word in small), "threads=1"]
    return config.load("local", [*lines, *(line.format(section=section) for line in LORA if lora), *more])


LEARN = {"reward_learning": (learn_reward, bradley_terry), "sft": (learn_prompter, sft)}


@pytest.fixture(scope="module")
def learned(shop):
    """Both jobs with adapters, uninterrupted."""
    found = {}
    for section, (learn, _) in LEARN.items():
        found[section] = shop / section
        learn(settings(shop, section, "llama"), found[section])
    return found


def weights(folder):
    return (folder / "adapter_model.safetensors").read_bytes()


def test_a_reward_by_an_adapter_keeps_its_head_wherever_it_is_loaded(shop, learned):
    out = learned["reward_learning"]
    held = load_file(out / "reward" / "adapter_model.safetensors")
    assert not (out / "reward" / "model.safetensors").exists()
    assert all("lora_" in name or name.endswith("score.weight") for name in held)
    assert held["base_model.model.score.weight"].any()
    plain = AutoPeftModelForSequenceClassification.from_pretrained(out / "reward", num_labels=1).eval()
    tokenizer = AutoTokenizer.from_pretrained(out / "reward")
    expected = []
    for answer in ("owls abc", "rain, and more"):
        chat = [{"role": "user", "content": "question 7"}, {"role": "assistant", "content": answer}]
        with torch.no_grad():
            given = tokenizer.apply_chat_template(chat, return_tensors="pt", return_dict=True)
            expected.append(float(plain(**given).logits[0, 0]))
    reward = load_reward_model(RewardSpec(model=str(out / "reward")))
    assert not any("lora" in name for name, _ in reward.model.named_parameters())
    found = reward.score(["question 7"] * 2, ["owls abc", "rain, and more"]).values
    np.testing.assert_allclose(found, expected, atol=1e-4)  # W x + B A x against (W + B A) x, in float32
    assert json.loads((out / "reward.json").read_text())["accuracy"]["value"] > 0.9


def test_an_adapter_without_a_head_is_refused_over_a_language_model_and_taken_over_a_classifier(
    shop, learned, tmp_path
):
    out = tmp_path / "headless"
    out.mkdir()
    for file in (learned["reward_learning"] / "reward").iterdir():
        (out / file.name).write_bytes(file.read_bytes())
    (out / checksums.FILE).unlink()
    held = load_file(out / "adapter_model.safetensors")
    save_file({name: w for name, w in held.items() if "lora_" in name}, out / "adapter_model.safetensors")
    with pytest.raises(ModelNotUsable, match=r"its weights lack score\.weight"):
        load_reward_model(RewardSpec(model=str(out)))
    own = AutoModelForSequenceClassification.from_pretrained(shop / "llama", num_labels=1)
    own.save_pretrained(tmp_path / "classifier")
    AutoTokenizer.from_pretrained(shop / "llama").save_pretrained(tmp_path / "classifier")
    told = json.loads((out / "adapter_config.json").read_text())
    told |= {"base_model_name_or_path": str(tmp_path / "classifier"), "modules_to_save": None, "task_type": None}
    (out / "adapter_config.json").write_text(json.dumps(told))
    found = load_reward_model(RewardSpec(model=str(out))).model
    assert torch.equal(found.score.weight, own.score.weight)
    assert not torch.equal(found.model.layers[0].self_attn.q_proj.weight, own.model.layers[0].self_attn.q_proj.weight)


def test_a_reward_goes_on_from_a_language_models_adapter_and_its_fresh_layers_are_kept(shop, learned, tmp_path):
    prompter = learned["sft"] / "prompter"
    own = settings(shop, "reward_learning", "llama", f"reward_learning.base={prompter}", lora=False)
    learn_reward(own, tmp_path / "a")
    assert (tmp_path / "a" / "reward" / "model.safetensors").is_file()
    learn_reward(settings(shop, "reward_learning", "llama", f"reward_learning.base={prompter}"), tmp_path / "on")
    assert (tmp_path / "on" / "reward" / "model.safetensors").is_file()  # the adapter merged in what was merged
    found = learn_reward(settings(shop, "reward_learning", "bert"), tmp_path / "bert")
    assert found["accuracy"]["value"] > 0.5
    with pytest.raises(SettingsError, match=r"reward_learning\.lora\.targets c_attn"):
        wrong = 'reward_learning.lora={"targets": ["c_attn"]}'
        learn_reward(settings(shop, "reward_learning", "llama", wrong), tmp_path / "b")
    assert not (tmp_path / "b").exists()


def test_what_was_learned_by_an_adapter_is_learned_on_by_another_and_loads_in_plain_transformers(shop, learned):
    reward = learned["reward_learning"] / "reward"
    found = learn_reward(settings(shop, "reward_learning", "llama", f"reward_learning.base={reward}"), shop / "more")
    again = AutoModelForSequenceClassification.from_pretrained(shop / "more" / "reward").eval()
    assert load_reward_model(RewardSpec(model=str(shop / "more" / "reward"))).model.score.weight.any()
    assert torch.equal(
        again.score.weight, load_reward_model(RewardSpec(model=str(shop / "more" / "reward"))).model.score.weight
    )
    assert found["accuracy"]["value"] > 0.9
    prompter = learned["sft"] / "prompter"
    found = learn_prompter(settings(shop, "sft", "llama", f"prompter.model={prompter}"), shop / "further")
    first = json.loads((learned["sft"] / "sft.json").read_text())
    assert found["loss_before"]["value"] == pytest.approx(first["loss_per_token"]["value"], abs=1e-3)  # from there on
    plain = AutoModelForCausalLM.from_pretrained(shop / "further" / "prompter").eval()
    own = load_prompter(PrompterSettings(model=str(shop / "further" / "prompter"), sampling=Sampling(max_new_tokens=8)))
    queries, actions = [[5, 6, 7], [9]], [np.array([4, 8, 1]), np.array([30, 31])]
    for a, b in zip(score(plain, queries, actions, 0), score(own.lm.model, queries, actions, 0), strict=True):
        assert a.tolist() == b.tolist()


@pytest.mark.parametrize("section", sorted(LEARN))
def test_checkpoints_hold_what_is_trained_and_an_interrupted_one_ends_the_same(section, shop, learned, monkeypatch):
    learn, module = LEARN[section]
    out, real, calls = shop / f"stopped-{section}", module.pieces, 0

    def stopping(*given, **named):
        nonlocal calls
        calls += 1
        if calls == 5:
            signal.raise_signal(signal.SIGINT)
        return real(*given, **named)

    monkeypatch.setattr(module, "pieces", stopping)
    with pytest.raises(Interrupted):
        learn(settings(shop, section, "llama"), out)
    held = checkpoint.load_latest(out / "checkpoints").state["model"]
    assert all("lora_" in name or "modules_to_save" in name for name in held)
    learn(None, out, resume=True)
    where = "reward" if section == "reward_learning" else "prompter"
    assert weights(out / where) == weights(learned[section] / where)


def test_a_prompter_by_an_adapter_is_the_same_merged(shop, learned):
    folder = learned["sft"] / "prompter"
    plain = AutoPeftModelForCausalLM.from_pretrained(folder).eval()
    merged = load_prompter(PrompterSettings(model=str(folder), sampling=Sampling(max_new_tokens=8))).lm
    queries, actions = [[5, 6, 7], [9]], [np.array([4, 8, 1]), np.array([30, 31])]
    for a, b in zip(score(plain, queries, actions, 0), score(merged.model, queries, actions, 0), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-4)  # as above
    assert (
        read_jsonl(learned["sft"] / "metrics.jsonl")[-1]["loss"]
        < read_jsonl(learned["sft"] / "metrics.jsonl")[0]["loss"]
    )


@pytest.mark.parametrize("section", sorted(LEARN))
@pytest.mark.parametrize("lora", [False, True])
def test_in_bfloat16_float32_masters_are_trained_and_resumed(section, lora, shop, tmp_path, monkeypatch):
    learn, module = LEARN[section]
    made = []

    class Seen(MasterAdam):
        def __init__(self, *given, **named):
            super().__init__(*given, **named)
            made.append(self)

    monkeypatch.setattr(supervised, "MasterAdam", Seen)
    own = settings(shop, section, "qwen2", "dtype=bfloat16", lora=lora)
    learn(own, tmp_path / "whole")
    losses = [row["loss"] for row in read_jsonl(tmp_path / "whole" / "metrics.jsonl")]
    assert np.mean(losses[-3:]) < 0.9 * losses[0]
    trained = [p for group in made[0].param_groups for p in group["params"]]
    assert all(p.dtype == torch.float32 for p in trained)
    if not lora:
        assert any(not torch.equal(p, p.bfloat16().float()) for p in trained)
    where = "reward" if section == "reward_learning" else "prompter"
    name = "adapter_model.safetensors" if lora else "model.safetensors"
    held = load_file(tmp_path / "whole" / where / name)
    kept = {n: w.dtype for n, w in held.items()}
    wide = {n for n, dtype in kept.items() if dtype == torch.float32}
    assert wide == {n for n in kept if lora or n.startswith("score")}

    real, calls = module.pieces, 0

    def stopping(*given, **named):
        nonlocal calls
        calls += 1
        if calls == 4:
            signal.raise_signal(signal.SIGINT)
        return real(*given, **named)

    monkeypatch.setattr(module, "pieces", stopping)
    with pytest.raises(Interrupted):
        learn(own, tmp_path / "part")
    learn(None, tmp_path / "part", resume=True)
    assert (tmp_path / "part" / where / name).read_bytes() == (tmp_path / "whole" / where / name).read_bytes()


def test_masters_in_float32_are_torchs_own_adamw():
    torch.manual_seed(0)
    ends = []
    for kind in (MasterAdam, torch.optim.AdamW):
        weight = torch.nn.Parameter(torch.linspace(-1, 1, 7))
        more = {"decoupled_weight_decay": True} if kind is MasterAdam else {}
        optimizer = kind([{"params": [weight]}], lr=0.1, weight_decay=0.3, betas=(0.9, 0.98), **more)
        for _ in range(5):
            optimizer.zero_grad()
            (weight.sin() ** 2).sum().backward()
            optimizer.step()
        ends.append(weight.detach())
    assert torch.equal(*ends)


def test_float16_is_refused_before_anything_is_written(shop, tmp_path):
    for section, (learn, _) in LEARN.items():
        with pytest.raises(SettingsError, match="bfloat16"):
            learn(settings(shop, section, "llama", "dtype=float16"), tmp_path / section)
        assert not (tmp_path / section).exists()
