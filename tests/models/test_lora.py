"""An adapter over weights that stay: exact at the start, off for the reference, gone at the end."""

import json
import warnings

import numpy as np
import pytest
import torch
from peft import AutoPeftModelForCausalLM, LoraConfig, get_peft_model
from tiny import CLASSES, make_model, save_model
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM

from alignpro.config import FrozenSettings, LoraSettings, PrompterSettings, Sampling, TrainSettings
from alignpro.errors import ModelNotUsable, SettingsError
from alignpro.models.fingerprint import fingerprint
from alignpro.models.loading import holds_adapter, load_weights
from alignpro.models.local import load_frozen, load_prompter
from alignpro.models.logprobs import collate, forward, hidden_states, score
from alignpro.models.lora import load_trained_state, save_adapter, trained_state
from alignpro.models.sampler import sample
from alignpro.train.policy import trainable

QUERIES = [[5, 6, 7], [8, 9, 10, 11, 12, 13, 14], [15]]
ACTIONS = [np.array([4, 9, 6, 1]), np.array([7, 3]), np.array([30, 31, 32])]


def prompter(folder, kind="llama", dtype="float32", **more):
    save_model(folder, kind, seed=4)
    own = PrompterSettings(model=str(folder), sampling=Sampling(max_new_tokens=8), **more)
    return load_prompter(own, dtype=dtype).lm


def opened(lm, lora=None, **more):
    return trainable(lm, lora or LoraSettings(rank=4), TrainSettings(**more), "prompter.lora", seed=0)


def disturb(model, scale=0.3):
    """Give the adapter something to say."""
    torch.manual_seed(1)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "lora_B" in name:
                weight.normal_(0, scale)


@pytest.mark.parametrize("kind", sorted(CLASSES))
def test_policy_equals_reference_before_the_first_step_and_the_base_is_untouched_after_the_last(kind, tmp_path):
    lm = prompter(tmp_path, kind)
    plain, before = score(lm.model, QUERIES, ACTIONS, 0), fingerprint(lm.model)
    with opened(lm) as (policy, reference):
        assert all(p.requires_grad == ("lora_" in n) for n, p in policy.model.named_parameters())
        for own, theirs, bare in zip(
            score(policy.model, QUERIES, ACTIONS, 0), score(reference.model, QUERIES, ACTIONS, 0), plain, strict=True
        ):
            assert own.tolist() == theirs.tolist() == bare.tolist()  # KL exactly 0
        disturb(policy.model)
        moved = score(policy.model, QUERIES, ACTIONS, 0)
        assert np.abs(moved[0] - plain[0]).max() > 0.01
        assert [a.tolist() for a in score(reference.model, QUERIES, ACTIONS, 0)] == [a.tolist() for a in plain]
        assert [a.tolist() for a in score(policy.model, QUERIES, ACTIONS, 0)] == [a.tolist() for a in moved]
        assert reference.pad_id == policy.pad_id and reference.eos_ids == policy.eos_ids == lm.eos_ids
    assert fingerprint(lm.model) == before


def test_sampling_with_an_adapter_gives_the_log_probabilities_of_the_policy_that_is_updated(tmp_path):
    with opened(prompter(tmp_path)) as (policy, _):
        disturb(policy.model)
        drawn = sample(policy.model, QUERIES, [2, 2, 2], Sampling(max_new_tokens=8), [1], 0, seed=0)
        flat = [g for row in drawn for g in row]
        again = score(policy.model, [q for q in QUERIES for _ in range(2)], [g.tokens for g in flat], 0)
        for g, expected in zip(flat, again, strict=True):
            np.testing.assert_allclose(g.logprobs, expected, atol=2e-4)


def test_a_saved_adapter_loads_in_plain_peft_and_merged_here(tmp_path):
    lm = prompter(tmp_path / "base", "phi3")  # peft knows no default for it: all linear layers
    with opened(lm) as (policy, _):
        disturb(policy.model)
        trained = score(policy.model, QUERIES, ACTIONS, 0)
        save_adapter(policy.model, tmp_path / "adapter")
        lm.tokenizer.save_pretrained(tmp_path / "adapter")
    held = {p.name for p in (tmp_path / "adapter").iterdir()}
    assert "adapter_model.safetensors" in held and "model.safetensors" not in held and "README.md" not in held
    assert holds_adapter(str(tmp_path / "adapter")) and not holds_adapter(str(tmp_path / "base"))
    plain = AutoPeftModelForCausalLM.from_pretrained(tmp_path / "adapter").eval()
    assert [a.tolist() for a in score(plain, QUERIES, ACTIONS, 0)] == [a.tolist() for a in trained]
    merged = load_frozen(FrozenSettings(model=str(tmp_path / "adapter"), sampling=Sampling(max_new_tokens=8))).lm
    assert not any("lora" in name for name, _ in merged.model.named_parameters())
    for a, b in zip(score(merged.model, QUERIES, ACTIONS, 0), trained, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-4)  # W x + B A x against (W + B A) x, in float32

    (tmp_path / "base").rename(tmp_path / "moved")
    with pytest.raises(ModelNotUsable, match=r"its base model cannot be had.*base_model_name_or_path"):
        load_frozen(FrozenSettings(model=str(tmp_path / "adapter")))


def test_a_checkpoint_holds_the_adapter_alone_and_gives_it_back(tmp_path):
    with opened(prompter(tmp_path)) as (policy, _):
        disturb(policy.model)
        state = {name: weight.clone() for name, weight in trained_state(policy.model).items()}
        assert state and all("lora_" in name for name in state)
        disturb(policy.model, 0.7)
        load_trained_state(policy.model, state)
        assert all(torch.equal(weight, state[name]) for name, weight in trained_state(policy.model).items())
        with pytest.raises(RuntimeError, match="are trained"):
            load_trained_state(policy.model, dict(list(state.items())[1:]))


def test_adapters_are_seeded_and_their_layers_must_exist(tmp_path):
    lm = prompter(tmp_path)
    weights = []
    for seed in (0, 0, 1):
        torch.rand(seed + 3)  # whatever was drawn before
        with trainable(lm, LoraSettings(), TrainSettings(), "prompter.lora", seed) as (policy, _):
            weights.append(next(w for n, w in policy.model.named_parameters() if "lora_A" in n).clone())
    assert torch.equal(weights[0], weights[1]) and not torch.equal(weights[0], weights[2])
    for wrong, told in (
        (["c_attn"], r"c_attn.*q_proj"),
        (".*", "reaches the whole model"),
        (".*mlp.*", r"layers.0.mlp"),
    ):
        settings = LoraSettings(targets=wrong)
        with pytest.raises(SettingsError, match=rf"prompter\.lora\.targets.*{told}"), opened(lm, settings):
            pass


@pytest.mark.parametrize("targets", [["embed_tokens"], ["q_proj", "lm_head"], ".*(embed_tokens|v_proj)"])
def test_an_adapter_of_tied_embeddings_is_refused_and_one_of_two_matrices_is_not(targets, tmp_path):
    lm = tied(tmp_path)
    with (
        pytest.raises(SettingsError, match=r"prompter.lora.targets reach .*(embed_tokens|lm_head).*name other layers"),
        opened(lm, LoraSettings(targets=targets)),
    ):
        pass
    with opened(lm, LoraSettings(targets="all-linear")) as (policy, _):
        assert not any("lm_head" in n or "embed" in n for n, _ in policy.model.named_parameters() if "lora" in n)
    with opened(prompter(tmp_path / "untied"), LoraSettings(targets=targets)) as (policy, _):
        assert any("lora" in n for n, _ in policy.model.named_parameters())


@pytest.mark.parametrize("tying", [False, True])
@pytest.mark.parametrize("targets", [["embed_tokens"], ["lm_head"], ["embed_tokens", "lm_head", "q_proj"]])
def test_an_adapter_from_elsewhere_on_tied_embeddings_is_refused_unless_it_ties_both_ends(targets, tying, tmp_path):
    made_elsewhere(tmp_path, target_modules=targets, ensure_weight_tying=tying)
    if tying:
        assert_merged_as_plain_peft(tmp_path)
    else:
        with pytest.raises(ModelNotUsable, match=r"frozen.model .*cannot be merged; train it with ensure_weight_tying"):
            load_frozen(FrozenSettings(model=str(tmp_path / "adapter")))


@pytest.mark.parametrize(
    "more",
    [
        {"target_modules": ["q_proj"], "modules_to_save": ["embed_tokens"]},
        {"target_modules": ["q_proj"], "modules_to_save": ["lm_head"]},
        {"target_modules": ["q_proj"], "modules_to_save": ["embed_tokens"], "ensure_weight_tying": True},
        {"target_modules": ["q_proj"], "trainable_token_indices": [5, 6]},
    ],
)
def test_embeddings_that_an_adapter_holds_whole_are_merged_as_plain_peft_computes_them(more, tmp_path):
    made_elsewhere(tmp_path, **more)
    assert_merged_as_plain_peft(tmp_path)


def tied(folder):
    """The tiny model with one matrix for both ends, as small models mostly have."""
    save_model(folder, seed=4)
    sizes = json.loads((folder / "config.json").read_text()) | {"tie_word_embeddings": True}
    torch.manual_seed(4)
    LlamaForCausalLM(LlamaConfig(**sizes)).save_pretrained(folder)
    return load_prompter(PrompterSettings(model=str(folder), sampling=Sampling(max_new_tokens=8)), dtype="float32").lm


def made_elsewhere(folder, **more):
    """An adapter by plain peft, with something to say, in `folder`/adapter."""
    lm = tied(folder / "base")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        policy = get_peft_model(lm.model, LoraConfig(r=4, task_type="CAUSAL_LM", **more))
    torch.manual_seed(1)
    with torch.no_grad():
        for weight in policy.parameters():
            if weight.requires_grad:
                weight.add_(torch.randn_like(weight) * 0.3)
    policy.save_pretrained(folder / "adapter")


def assert_merged_as_plain_peft(folder):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        plain = AutoPeftModelForCausalLM.from_pretrained(folder / "adapter").eval()
    here = load_frozen(FrozenSettings(model=str(folder / "adapter"), sampling=Sampling(max_new_tokens=8))).lm.model
    bare = tied(folder / "again").model
    ids = torch.tensor([QUERIES[1]])
    with torch.no_grad():
        wanted, got, base = plain(ids).logits, here(ids).logits, bare(ids).logits
        here.save_pretrained(folder / "merged")
        saved = AutoModelForCausalLM.from_pretrained(folder / "merged").eval()(ids).logits
    torch.testing.assert_close(got, wanted, rtol=0, atol=1e-3)
    torch.testing.assert_close(saved, wanted, rtol=0, atol=1e-3)
    assert (wanted - base).abs().max() > 1


@pytest.mark.parametrize("lora", [None, LoraSettings(rank=4)])
def test_gradient_checkpointing_changes_no_gradient_and_no_sample(lora, tmp_path):
    lm = prompter(tmp_path)
    found = []
    for wanted in (False, True):
        settings = TrainSettings(gradient_checkpointing=wanted)
        with trainable(lm, lora, settings, "prompter.lora", 0) as (policy, _):
            if lora:
                disturb(policy.model)
            batch = collate(QUERIES, ACTIONS, 0)
            logprobs, hidden = forward(policy.model, batch, 1.0, hidden=True)
            (logprobs.sum() + hidden.square().sum()).backward()
            gradients = {n: p.grad.clone() for n, p in policy.model.named_parameters() if p.requires_grad}
            assert not policy.model.training
            drawn = sample(policy.model, QUERIES, [1, 1, 1], Sampling(max_new_tokens=5), [1], 0, seed=0)
            found.append((gradients, [row[0].tokens.tolist() for row in drawn], hidden_states(policy.model, batch)))
    (one, drawn, hidden), (other, redrawn, again) = found
    assert one.keys() == other.keys() and drawn == redrawn and torch.equal(hidden, again)
    for name in one:
        torch.testing.assert_close(one[name], other[name], rtol=0, atol=0)


def test_gradient_checkpointing_keeps_less(tmp_path):
    """What the backward pass needs is counted in elements, by autograd's own hooks."""
    lm = prompter(tmp_path)
    sizes = []
    for wanted in (False, True):
        with trainable(lm, None, TrainSettings(gradient_checkpointing=wanted), "prompter.lora", 0) as (policy, _):
            saved: list[int] = []

            def pack(tensor, saved=saved):
                saved.append(tensor.numel())
                return tensor

            with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
                forward(policy.model, collate(QUERIES, ACTIONS, 0), 1.0)
            sizes.append(sum(saved))
    assert sizes[1] < sizes[0] / 2


def test_weights_that_cannot_be_trained_are_told_where_they_are_to_be(tmp_path):
    lm = prompter(tmp_path, dtype="float16")
    with pytest.raises(SettingsError, match="bfloat16"), opened(lm):
        pass
    with opened(lm, steps=0) as (policy, _):
        assert policy.model.dtype == torch.float16


@pytest.mark.parametrize("rows", [303, 290])
@pytest.mark.parametrize("more", [{"modules_to_save": ["embed_tokens"]}, {"target_modules": ["embed_tokens"]}, {}])
def test_an_adapter_with_embeddings_of_another_size_is_merged_as_plain_peft_computes_it(rows, more, tmp_path):
    base = AutoModelForCausalLM.from_pretrained(save_model(tmp_path / "base", seed=4))
    base.resize_token_embeddings(rows, mean_resizing=False)
    policy = get_peft_model(
        base, LoraConfig(**{"r": 4, "task_type": "CAUSAL_LM", "target_modules": ["q_proj"], **more})
    )
    with torch.no_grad():
        for weight in policy.parameters():
            weight.add_(torch.randn_like(weight) * 0.1 if weight.requires_grad else 0)
    policy.save_pretrained(tmp_path / "adapter", save_embedding_layers=True)
    ids = torch.tensor([[5, rows - 1, 7]])
    if rows > 300 and "target_modules" in more:  # peft writes no output layer then, and could not load it either
        with pytest.raises(ModelNotUsable, match=r"trained on 303 embeddings, its base model has .* of lm_head;"):
            load_weights(AutoModelForCausalLM, str(tmp_path / "adapter"), "frozen", "cpu", "float32")
        return
    with torch.no_grad():
        wanted = policy.eval()(ids).logits
        here = load_weights(AutoModelForCausalLM, str(tmp_path / "adapter"), "frozen", "cpu", "float32")
        torch.testing.assert_close(here(ids).logits, wanted, rtol=0, atol=1e-4)


def test_why_an_adapter_does_not_fit_is_said_in_full(tmp_path):
    with opened(prompter(tmp_path / "base")) as (policy, _):
        save_adapter(policy.model, tmp_path / "adapter")
    path = tmp_path / "adapter" / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"r": 2}))
    with pytest.raises(ModelNotUsable, match=r"Error\(s\).*size mismatch for .*q_proj.*\[4, 32\]"):
        load_weights(AutoModelForCausalLM, str(tmp_path / "adapter"), "frozen", "cpu", "float32")


@pytest.mark.parametrize("kind", sorted(CLASSES))
@pytest.mark.parametrize("pad_id", [7, 299])
def test_the_pad_token_changes_nothing(kind, pad_id):
    model = make_model(kind)
    settings = Sampling(max_new_tokens=6)
    with_zero, other = (
        [[g.tokens.tolist() for g in row] for row in sample(model, QUERIES, [2, 1, 2], settings, [1], pad, seed=0)]
        for pad in (0, pad_id)
    )
    assert with_zero == other
    together = score(model, QUERIES, ACTIONS, pad_id)
    for one, query, action in zip(together, QUERIES, ACTIONS, strict=True):
        np.testing.assert_allclose(one, score(model, [query], [action], 0)[0], atol=1e-4)


def test_a_pad_token_without_an_embedding_is_passed_over(tmp_path):
    save_model(tmp_path)
    lm = load_frozen(FrozenSettings(model=str(tmp_path), sampling=Sampling(max_new_tokens=4))).lm
    assert lm.pad_id == 0
    rows = lm.model.get_input_embeddings().weight.shape[0]
    lm.tokenizer.add_special_tokens({"pad_token": "<new-pad>"})
    assert lm.tokenizer.pad_token_id >= rows
    assert lm.pad_id == lm.eos_ids[0] == 1
    lm.tokenizer.pad_token = None
    assert lm.pad_id == 1
    assert lm.generate([[5, 6, 7], [8]], [1, 1], seed=0)[1][0].tokens.size
    assert lm.model.get_input_embeddings().weight.shape[0] == rows
