"""Log-probabilities from what the output layer reads are log-softmax's of the model's logits, and so are gradients."""

import pytest
import torch
from tiny import make_model
from transformers import (
    CohereConfig,
    CohereForCausalLM,
    Gemma2Config,
    Gemma2ForCausalLM,
    GraniteConfig,
    GraniteForCausalLM,
    PhiConfig,
    PhiForCausalLM,
)

from alignpro.config import LoraSettings
from alignpro.models import output_layer
from alignpro.models.logprobs import collate, forward, hidden_states
from alignpro.models.lora import AdapterOff, adapted

SIZES = {
    "vocab_size": 300,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "initializer_range": 0.3,
    "pad_token_id": 0,
}
OTHERS = {
    "cohere": lambda: CohereForCausalLM(CohereConfig(**SIZES, logit_scale=0.3)),  # tied, scaled
    "granite": lambda: GraniteForCausalLM(GraniteConfig(**SIZES, logits_scaling=3.0, tie_word_embeddings=True)),
    "gemma2": lambda: Gemma2ForCausalLM(Gemma2Config(**SIZES, head_dim=8, final_logit_softcapping=4.0)),
    "phi": lambda: PhiForCausalLM(PhiConfig(**SIZES)),  # a bias
}
KINDS = ["llama", "gemma", *OTHERS]


def made(kind):
    torch.manual_seed(0)
    model = make_model(kind) if kind not in OTHERS else OTHERS[kind]().eval()
    if kind == "phi":
        torch.nn.init.normal_(model.lm_head.bias)
    return model


ACTIONS = collate([[5, 9, 2], [7], [3, 3, 4, 8]], [torch.arange(1, 1 + n).numpy() * 7 for n in (5, 2, 4)], 0)


def by_logits(model, temperature):
    """Of each row alone, from all its logits."""
    rows = torch.zeros(ACTIONS.action.shape)
    for i in range(len(ACTIONS)):
        query, action = ACTIONS.query[i][ACTIONS.query_mask[i]], ACTIONS.action[i][ACTIONS.action_mask[i]]
        logits = model(input_ids=torch.cat([query, action])[None], use_cache=False).logits[0].float() / temperature
        logprobs = logits.log_softmax(-1)[len(query) - 1 : -1].gather(1, action[:, None]).squeeze(1)
        rows = rows.index_put((torch.tensor(i), torch.arange(len(action))), logprobs)
    return rows


def gradients(model, logprobs):
    weights = torch.randn(logprobs.shape, generator=torch.Generator().manual_seed(1))
    model.zero_grad()
    (weights * logprobs).sum().backward()
    return torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])


def assert_equal(model, temperature=0.7):
    got, wanted = forward(model, ACTIONS, temperature)[0], by_logits(model, temperature)
    torch.testing.assert_close(got, wanted)
    a, b = gradients(model, got), gradients(model, wanted)
    assert float((a - b).norm() / b.norm()) < 1e-5


@pytest.fixture(params=["kept", "computed anew"])
def small(request, monkeypatch):
    """Chunks of two rows, of which the softmax is taken one at a time."""
    monkeypatch.setattr(output_layer, "AT_ONCE", 700)
    monkeypatch.setattr(output_layer, "IN_CACHE", 300)
    monkeypatch.setattr(output_layer, "KEPT", {"kept": 1 << 20, "computed anew": 700}[request.param])


@pytest.mark.parametrize("kind", KINDS)
def test_values_and_gradients_are_those_of_all_logits(kind, small):
    model = made(kind)
    scale = output_layer.scale_of(model, model.get_output_embeddings())
    assert {"cohere": 0.3, "granite": 1 / 3, "gemma2": None}.get(kind, 1.0) == pytest.approx(scale)
    assert_equal(model)


@pytest.mark.parametrize("targets", [["q_proj", "down_proj"], ["lm_head", "q_proj"]])
def test_an_adapter_counts_wherever_it_is(targets, small):
    model = made("llama")
    with adapted(model, LoraSettings(rank=4, alpha=8, targets=targets), "prompter.lora", 0) as policy:
        for name, p in policy.named_parameters():
            if "lora_B" in name:
                torch.nn.init.normal_(p, std=0.1)
        assert (output_layer.scale_of(policy, policy.get_output_embeddings()) is None) == ("lm_head" in targets)
        assert_equal(policy)
        off = forward(AdapterOff(policy), ACTIONS, 1.0)[0].detach()
    torch.testing.assert_close(off, by_logits(model, 1.0).detach())


def test_logits_of_all_tokens_are_never_made(monkeypatch):
    model, sizes = made("llama"), []
    model.lm_head.register_forward_hook(lambda *given: sizes.append(given[2].numel()))
    assert output_layer.scale_of(model, model.lm_head) is None  # a hook sees what we would not compute
    model.lm_head._forward_hooks.clear()
    whole = output_layer.chosen_logprobs
    monkeypatch.setattr(output_layer, "chosen_logprobs", lambda *given: sizes.append(len(given[0])) or whole(*given))
    forward(model, ACTIONS, 1.0)
    assert sizes == [int(ACTIONS.action_mask.sum())]  # padding is not read either


def test_half_precision_is_summed_in_float32():
    model = made("llama").bfloat16()
    hidden = hidden_states(model, ACTIONS)
    assert hidden.dtype == torch.bfloat16
    got = forward(model, ACTIONS, 1.0)[0]
    wanted = model.lm_head(hidden).float().log_softmax(-1).gather(-1, ACTIONS.action[..., None]).squeeze(-1)
    torch.testing.assert_close(got, wanted.masked_fill(~ACTIONS.action_mask, 0.0), atol=1e-4, rtol=1e-4)
    got.sum().backward()
    assert model.lm_head.weight.grad.dtype == torch.bfloat16


@pytest.mark.parametrize("kind", KINDS)
def test_hidden_states_are_the_last_that_the_model_tells(kind):
    model = made(kind)
    i, (query, action) = 2, (ACTIONS.query[2], ACTIONS.action[2][:4])
    told = model(input_ids=torch.cat([query, action])[None], output_hidden_states=True).hidden_states[-1]
    for got in (hidden_states(model, ACTIONS), forward(model, ACTIONS, 1.0, hidden=True)[1]):
        torch.testing.assert_close(got[i, :4], told[0, len(query) - 1 : -1])
