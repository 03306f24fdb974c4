"""bfloat16: policy and reference agree before the first step, small updates are not lost, resuming is exact."""

import numpy as np
import pytest
import torch
from tiny import save_model

from alignpro.config import LoraSettings, PpoSettings, PrompterSettings, Sampling, Settings, TrainSettings
from alignpro.models import precision
from alignpro.models.local import load_prompter
from alignpro.models.logprobs import collate, score
from alignpro.running.load import load
from alignpro.train.policy import trainable
from alignpro.train.ppo import Ppo
from alignpro.train.update import Experience
from alignpro.train.validation import Average

FLAGS = {"amx": "fpu avx512_bf16 amx_bf16", "avx512": "fpu avx512_bf16", "none": "fpu avx2"}
QUERIES = [[5, 6, 7, 8], [9, 10], [11]] * 40


@pytest.fixture
def lm(tmp_path):
    save_model(tmp_path, "qwen2", seed=4)
    own = PrompterSettings(model=str(tmp_path), sampling=Sampling(max_new_tokens=12))
    return load_prompter(own, dtype="bfloat16").lm


@pytest.mark.parametrize("lora", [None, LoraSettings(rank=4)])
def test_kl_is_zero_before_the_first_step(lm, lora):
    """Of the same actions exactly. Of what was sampled, token by token with a cache, up to rounding: bfloat16 has 8
    bits, so logits of some 10 are known to about 0.04 and a token's log-ratio to twice that. It has no preferred sign,
    so the mean over 1,000 tokens and more is smaller by far: 0.01 nats a token is allowed."""
    with trainable(lm, lora, TrainSettings(), "prompter.lora", 0) as (policy, reference):
        drawn = [row[0] for row in policy.generate(QUERIES, [1] * len(QUERIES), seed=0)]
        actions = [g.tokens for g in drawn]
        own = score(policy.model, QUERIES, actions, 0)
        theirs = score(reference.model, QUERIES, actions, 0)
        assert all(a.dtype == np.float32 and a.tolist() == b.tolist() for a, b in zip(own, theirs, strict=True))
        ratios = np.concatenate([g.logprobs - row for g, row in zip(drawn, theirs, strict=True)])
        assert len(ratios) > 1000
        assert abs(ratios.mean()) < 0.01
        assert not np.isin(np.concatenate(own), torch.tensor(np.concatenate(own)).bfloat16().float().numpy()).all()


def experience(policy, seed):
    rng = np.random.default_rng(seed)
    actions = collate(QUERIES[:6], [rng.integers(4, 250, 5) for _ in range(6)], 0)
    zeros = torch.zeros(actions.action.shape)
    old = torch.full(zeros.shape, -5.0)
    return Experience(actions, old, old, torch.randn(6), torch.arange(6), torch.ones(6))


def updated(policy, learner, seeds):
    for seed in seeds:
        torch.manual_seed(seed)
        learner.update(experience(policy, seed), kl_coef=0.1, temperature=1.0, seed=seed)


@pytest.mark.parametrize("lora", [None, LoraSettings(rank=4)])
def test_updates_smaller_than_bfloat16_can_show_add_up(lm, lora):
    with trainable(lm, lora, TrainSettings(), "prompter.lora", 0) as (policy, _):
        learner = Ppo(policy.model, PpoSettings(learning_rate=1e-6, epochs=1))
        weights = [p for group in learner.optimizer.param_groups for p in group["params"]]
        assert all(p.dtype == torch.float32 for p in weights)
        before = [p.detach().clone() for p in weights]
        shown = {n: p.detach().clone() for n, p in policy.model.named_parameters() if p.requires_grad}
        updated(policy, learner, range(2))
        assert any(not torch.equal(a, b) for a, b in zip(before, weights, strict=True))
        if lora is None:  # at 1e-6 nearly all of what computes stands still, while what is summed up moves
            still = sum(int((shown[n] == p).sum()) for n, p in policy.model.named_parameters())
            assert still > 0.9 * sum(p.numel() for p in shown.values())


@pytest.mark.parametrize("lora", [None, LoraSettings(rank=4)])
def test_a_learner_that_was_saved_goes_on_to_the_last_bit(lm, lora):
    from alignpro.models.lora import load_trained_state, trained_state

    def copied(tree):
        if isinstance(tree, torch.Tensor):
            return tree.clone()
        if isinstance(tree, dict):
            return {key: copied(value) for key, value in tree.items()}
        return [copied(value) for value in tree] if isinstance(tree, list) else tree

    ends = []
    for stop in (None, 2):
        with trainable(lm, lora, TrainSettings(), "prompter.lora", 0) as (policy, _):
            learner = Ppo(policy.model, PpoSettings(learning_rate=1e-3, epochs=1))
            updated(policy, learner, range(2))
            if stop:
                saved = copied(trained_state(policy.model)), copied(learner.state_dict())
                updated(policy, learner, [7])
                load_trained_state(policy.model, saved[0])
                learner.load_state_dict(saved[1])
            updated(policy, learner, range(2, 4))
            ends.append({name: weight.clone() for name, weight in trained_state(policy.model).items()})
    assert all(torch.equal(ends[0][name], ends[1][name]) for name in ends[0])


def test_the_moving_average_of_bfloat16_weights_is_kept_in_float32(lm):
    average = Average(lm.model.requires_grad_(True), 0.999)
    with torch.no_grad():
        for weight in lm.model.parameters():
            weight.add_(weight.abs() * 0.1)
    name, start = next((n, w.clone()) for n, w in average.weights.items() if "q_proj.weight" in n)
    average.after_step(10_000)
    assert average.weights[name].dtype == torch.float32
    moved = (average.weights[name] - start).abs() / (dict(lm.model.named_parameters())[name].float() - start).abs()
    torch.testing.assert_close(moved, torch.full_like(moved, 0.001), rtol=0.2, atol=0)


@pytest.fixture(params=FLAGS)
def processor(request, tmp_path, monkeypatch):
    info = tmp_path / "cpuinfo"
    info.write_text(f"processor : 0\nflags : {FLAGS[request.param]}\n")
    monkeypatch.setattr(precision.instruction, "__defaults__", (info,))
    return request.param


def test_auto_takes_bfloat16_where_a_processor_multiplies_in_it(processor):
    has = processor != "none"
    assert precision.instruction() == {"amx": "amx_bf16", "avx512": "avx512_bf16", "none": None}[processor]
    wide, narrow = {"hidden_size": 576}, {"text_config": {"hidden_size": 96}, "hidden_size": 576}
    assert precision.dtype_of("auto", "cpu", wide) == (torch.bfloat16 if has else torch.float32)
    assert precision.dtype_of("auto", "cpu", narrow) == precision.dtype_of("auto", "mps", wide) == torch.float32
    assert precision.dtype_of("bfloat16", "cpu", narrow) == torch.bfloat16
    assert precision.of_trained("auto", "cpu") == "float32"
    assert precision.of_trained("auto", "cpu", adapter=True) == "auto"
    assert precision.of_trained("auto", "cuda:1") == "auto"
    assert precision.told("cpu").startswith("bfloat16" if has else "float32")


@pytest.mark.parametrize("oracle", [False, True])
def test_what_is_trained_stays_in_float32_on_a_processor(oracle, tmp_path, monkeypatch):
    monkeypatch.setattr(precision, "instruction", lambda: "amx_bf16")
    monkeypatch.setattr(precision, "NARROW", 8)
    save_model(tmp_path, "qwen2", seed=4)
    own = {"model": str(tmp_path), "sampling": {"max_new_tokens": 4}}
    settings = Settings.model_validate({"prompter": own, "frozen": own, "rlhf": {"enabled": oracle}, "device": "cpu"})
    pieces = load(settings, {"prompter", "frozen"})
    assert pieces.prompter.lm.model.dtype == torch.float32
    assert pieces.local_frozen.lm.model.dtype == (torch.float32 if oracle else torch.bfloat16)


def test_what_is_under_an_adapter_computes_as_what_answers(tmp_path, monkeypatch):
    monkeypatch.setattr(precision, "instruction", lambda: "amx_bf16")
    monkeypatch.setattr(precision, "NARROW", 8)
    save_model(tmp_path, "qwen2", seed=4)
    own = {"model": str(tmp_path), "sampling": {"max_new_tokens": 4}}
    adapters = {"prompter": own | {"lora": {}}, "rlhf": {"enabled": True, "lora": {}}}
    pieces = load(Settings.model_validate({"frozen": own, "device": "cpu", **adapters}), {"prompter", "frozen"})
    assert pieces.prompter.lm.model.dtype == pieces.local_frozen.lm.model.dtype == torch.bfloat16
