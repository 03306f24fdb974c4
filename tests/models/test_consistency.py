"""What is sampled is what is scored, or the model is refused as it is loaded."""

import contextlib
import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from tiny import CHAT, CLASSES, make_classifier, make_model, make_tokenizer, save_model
from tokenizers import AddedToken
from transformers import (
    FalconMambaConfig,
    FalconMambaForCausalLM,
    Mamba2Config,
    Mamba2ForCausalLM,
    MambaConfig,
    MambaForCausalLM,
    Phi3Config,
    Phi3ForCausalLM,
    RecurrentGemmaConfig,
    RecurrentGemmaForCausalLM,
    RwkvConfig,
    RwkvForCausalLM,
    xLSTMConfig,
    xLSTMForCausalLM,
)

from alignpro import config
from alignpro.config import FrozenSettings, LoraSettings, PrompterSettings, RewardSpec, Sampling, TrainSettings
from alignpro.errors import ModelNotUsable, PromptTooLong, SettingsError
from alignpro.fits.classifier import load_base
from alignpro.judges.loading import load_judge
from alignpro.models import consistency, reading
from alignpro.models.consistency import check_consistency
from alignpro.models.local import load_frozen, load_prompter
from alignpro.models.logprobs import score
from alignpro.models.lora import check_targets
from alignpro.models.padding import context_of
from alignpro.models.sampler import sample
from alignpro.remote.opened import Endpoints
from alignpro.rewards.classifier import token_limit
from alignpro.rewards.model import load_reward_model
from alignpro.train.policy import trainable

SIZES = {"vocab_size": 300, "hidden_size": 32, "num_hidden_layers": 2, "pad_token_id": 0, "eos_token_id": 1}
STATE = {"state_size": 8, "initializer_range": 0.3, "bos_token_id": None}
SERVED = {
    "mamba": (MambaForCausalLM, MambaConfig, STATE),
    "mamba2": (Mamba2ForCausalLM, Mamba2Config, STATE | {"num_heads": 8, "head_dim": 8, "n_groups": 1}),
    "falcon_mamba": (FalconMambaForCausalLM, FalconMambaConfig, STATE),
}
REFUSED = {
    "rwkv": (RwkvForCausalLM, RwkvConfig, {"attention_hidden_size": 32}),
    "recurrent_gemma": (
        RecurrentGemmaForCausalLM,
        RecurrentGemmaConfig,
        {"num_hidden_layers": 3, "intermediate_size": 96, "num_attention_heads": 4, "lru_width": 32, "head_dim": 8},
    ),
    "xlstm": (xLSTMForCausalLM, xLSTMConfig, {"hidden_size": 64, "num_heads": 4, "bos_token_id": 2}),
}
LETS_IN = r"tokens sampled in a padded batch are [\d.]+ nats each off those scored alone, .*\(\w+\) lets padding in"
TOLD = {"rwkv": LETS_IN, "recurrent_gemma": LETS_IN, "xlstm": "cannot be sampled in batches"}
QUERIES = [[5, 6, 7], [8, 9, 10, 11, 12, 13, 14], [15], [16, 17, 18, 19]]


def make(kind, **more):
    torch.manual_seed(0)
    model, configured, own = (SERVED | REFUSED)[kind]
    made = model(configured(**(SIZES | own | more))).eval()
    if kind == "recurrent_gemma":
        with torch.no_grad():
            for weight in made.parameters():
                weight.normal_(0, 0.3)
    return made


def save(kind, folder):
    tokenizer = make_tokenizer()
    make(kind, vocab_size=len(tokenizer)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


@pytest.mark.parametrize("kind", sorted(SERVED))
def test_a_recurrent_model_carries_its_state(kind):
    model = make(kind)
    drawn = sample(model, QUERIES, [3, 1, 4, 2], Sampling(max_new_tokens=12), [1, *range(100, 140)], 0, 0, batch_size=7)
    queries = [q for q, row in zip(QUERIES, drawn, strict=True) for _ in row]
    flat = [g for row in drawn for g in row]
    assert len({len(g.tokens) for g in flat}) > 2  # so that rows left the batch on the way
    for g, query in zip(flat, queries, strict=True):
        np.testing.assert_allclose(g.logprobs, score(model, [query], [g.tokens], 0)[0], atol=2e-4)
    ids = torch.tensor([QUERIES[1]])
    wanted = model.generate(ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=9, eos_token_id=1)
    greedy = sample(model, QUERIES, [1] * 4, Sampling(max_new_tokens=9, top_k=1), [1], 0, 0)
    assert greedy[1][0].tokens.tolist() == wanted[0, 7:].tolist()


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("kind", sorted(SERVED))
def test_a_recurrent_prompter_is_loaded_and_trained_by_an_adapter(kind, dtype, tmp_path):
    own = PrompterSettings(model=save(kind, tmp_path), sampling=Sampling(max_new_tokens=6))
    lm = load_prompter(own, dtype=dtype).lm
    with trainable(lm, LoraSettings(rank=2), TrainSettings(), "prompter.lora", 0) as (policy, _):
        drawn = sample(policy.model, QUERIES, [1] * 4, Sampling(max_new_tokens=6), [1], 0, seed=0)
        scored = score(policy.model, QUERIES, [row[0].tokens for row in drawn], 0)
        off = np.concatenate([row[0].logprobs - own for row, own in zip(drawn, scored, strict=True)])
        assert abs(off.mean()) < (1e-4 if dtype == "float32" else 0.05)
    with pytest.raises(SettingsError, match=r"prompter\.lora\.targets reach out_proj"):
        check_targets(lm.model, LoraSettings(targets=["in_proj", "out_proj"]), "prompter.lora")


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("kind", sorted(REFUSED))
def test_a_model_that_samples_from_another_than_it_scores_is_refused(kind, dtype, tmp_path):
    folder = save(kind, tmp_path)
    with pytest.raises(ModelNotUsable, match=rf"prompter\.model .*{TOLD[kind]}"):
        load_prompter(PrompterSettings(model=folder), dtype=dtype)
    with pytest.raises(ModelNotUsable, match=rf"frozen\.model .*{TOLD[kind]}"):
        load_frozen(FrozenSettings(model=folder), dtype=dtype)
    judged = config.load("lab", [f"evaluate.judge=lm:{folder}", f"dtype={dtype}"])
    with pytest.raises(ModelNotUsable, match=rf"evaluate\.judge .*{TOLD[kind]}"):
        load_judge(judged, "cpu", Endpoints())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_model_that_forgets_the_prompt_is_refused(dtype, monkeypatch):
    monkeypatch.setattr(reading, "_is_recurrent", lambda model: False)  # so its state is not given back to it
    for kind in SERVED:
        with pytest.raises(ModelNotUsable, match="does not go on from what it has read"):
            check_consistency(make(kind).to(dtype), 0, 1024, "frozen.model X")


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("kind", sorted(CLASSES))
def test_models_that_agree_pass_and_are_as_they_were(kind, dtype):
    model = make_model(kind).to(dtype)
    before = {name: (weight, weight.data_ptr(), weight.clone()) for name, weight in model.named_parameters()}
    state = torch.random.get_rng_state()
    check_consistency(model, 0, 1024, "prompter.model X")
    assert torch.equal(torch.random.get_rng_state(), state)
    for name, weight in model.named_parameters():
        same, place, values = before[name]
        assert weight is same and weight.data_ptr() == place and torch.equal(weight, values)


class HalfOnly(torch.nn.Module):
    """Kernels that compute in half precision alone, and `forgets` what they read."""

    def __init__(self, forgets):
        super().__init__()
        self.model, self.forgets, self.passes = make_model().bfloat16(), forgets, 0
        self.config = self.model.config

    def get_input_embeddings(self):
        return self.model.get_input_embeddings()

    def forward(self, past_key_values=None, **given):
        if self.model.lm_head.weight.dtype == torch.float32:
            raise RuntimeError("only fp16 and bf16 are supported")
        self.passes += 1
        if self.forgets and past_key_values is not None and given["input_ids"].shape[1] == 1:
            given["attention_mask"], past_key_values = None, None
        return self.model(past_key_values=past_key_values, **given)


def test_of_kernels_for_half_precision_alone_a_gross_difference_is_told():
    good = HalfOnly(forgets=False)
    check_consistency(good, 0, 1024, "frozen.model X")
    assert good.passes == consistency.HALF_DRAWN + 2
    with pytest.raises(ModelNotUsable, match=r"0\.5 would be rounding"):
        check_consistency(HalfOnly(forgets=True), 0, 1024, "frozen.model X")


def test_weights_that_give_no_numbers_are_told_at_load(tmp_path):
    save_model(tmp_path)
    torch.manual_seed(0)
    broken = make_model(vocabulary=len(make_tokenizer()))
    with torch.no_grad():
        broken.lm_head.weight[7, 3] = torch.nan
    broken.save_pretrained(tmp_path)
    with pytest.raises(ModelNotUsable, match=r"frozen\.model .*logits are not finite"):
        load_frozen(FrozenSettings(model=str(tmp_path)))


def test_long_rope_is_read_up_to_where_no_row_changes_another(tmp_path):
    """Past the shorter reading the longest row of a batch decides how all are read, and a row how its own start is."""
    tokenizer = make_tokenizer()
    rope = {
        "rope_type": "longrope",
        "rope_theta": 10000.0,
        "short_factor": [1.0] * 4,
        "long_factor": [8.0] * 4,
    }
    sizes = {**make_model("phi3").config.to_dict(), "vocab_size": len(tokenizer), "max_position_embeddings": 96}
    sizes["original_max_position_embeddings"] = 24
    torch.manual_seed(0)
    Phi3ForCausalLM(Phi3Config(**(sizes | {"rope_parameters": rope}))).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    assert json.loads((tmp_path / "config.json").read_text())["max_position_embeddings"] == 96
    lm = load_frozen(FrozenSettings(model=str(tmp_path), sampling=Sampling(max_new_tokens=8))).lm
    assert lm.context == token_limit(lm.model) == 24
    long, longest = list(range(20, 36)), list(range(20, 60))
    actions = [np.array([4, 9, 6, 1])] * 3

    def off(queries):
        together = score(lm.model, queries, actions, 0)
        return max(
            abs(row - score(lm.model, [query], [action], 0)[0]).max()
            for query, action, row in zip(queries, actions, together, strict=True)
        )

    assert off([[5, 6, 7], [8], long]) < 1e-4
    assert off([[5, 6, 7], [8], longest]) > 0.1  # which is why no such row is read
    with pytest.raises(PromptTooLong, match="context of 24"):
        lm.queries(["tell me about owls " * 9])


def test_the_context_of_layers_that_are_rotated_differently_is_that_of_the_shortest():
    full = {"rope_type": "longrope", "original_max_position_embeddings": 512}
    rope = {"full_attention": full, "sliding_attention": {"rope_type": "default"}}
    assert context_of(SimpleNamespace(max_position_embeddings=4096, rope_parameters=rope)) == 512
    assert context_of(object()) == 1 << 30


@pytest.mark.parametrize(
    ("special", "template", "refused"),
    [(False, CHAT, True), (True, CHAT, False), (True, CHAT.replace("<|assistant|>", "<extra-0>"), True)],
)
def test_tokens_without_an_embedding_are_counted_at_load_where_texts_reach_them(special, template, refused, tmp_path):
    save_model(tmp_path)
    tokenizer = make_tokenizer()
    rows = len(tokenizer)
    tokenizer.add_tokens([AddedToken(f"<extra-{i}>", special=special) for i in range(4)])
    tokenizer.chat_template = template
    tokenizer.save_pretrained(tmp_path)
    told = rf"{1 if special else 4} of its tokenizer's {rows + 4} tokens \(<extra-0>.*has {rows};"
    with pytest.raises(ModelNotUsable, match=told) if refused else contextlib.nullcontext():
        load_frozen(FrozenSettings(model=str(tmp_path)))


def test_a_classifier_with_tokens_without_an_embedding_is_refused(tmp_path):
    make_classifier(tmp_path)
    tokenizer = make_tokenizer()
    tokenizer.add_tokens(["<extra>"])
    tokenizer.save_pretrained(tmp_path)
    with pytest.raises(ModelNotUsable, match=r"reward\.model .*1 of its tokenizer's"):
        load_reward_model(RewardSpec(model=str(tmp_path)))
    with pytest.raises(ModelNotUsable, match=r"reward_learning\.base .*1 of its tokenizer's"):
        load_base(str(tmp_path), 0, "cpu", "float32")
