"""Weights that are laid once say what they say where they lie, also after they changed."""

import gc

import numpy as np
import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from alignpro.config import LoraSettings, Sampling
from alignpro.models import decoder, packed_weights
from alignpro.models.lora import adapted
from alignpro.models.packed_weights import packed
from alignpro.models.sampler import sample

pytestmark = pytest.mark.skipif(not packed_weights._has(torch.float32), reason="this torch has no such products")
PRECISIONS = [dtype for dtype in (torch.float32, torch.bfloat16) if packed_weights._has(dtype)]
QUERIES = [[5, 9, 2, 7], [5, 9, 3], [4, 8, 8, 1, 6]]


def wide_model(dtype):
    torch.manual_seed(0)
    sizes = {"hidden_size": 256, "intermediate_size": 320, "num_hidden_layers": 2, "vocab_size": 300}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2}
    return LlamaForCausalLM(LlamaConfig(**sizes, **heads, initializer_range=0.1)).to(dtype).eval()


def near(got, wanted):
    return float((got.float() - wanted.float()).norm() / wanted.float().norm()) < 4 * torch.finfo(got.dtype).eps


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("rows", [1, 7, 64, 200])
@pytest.mark.parametrize("dtype", PRECISIONS)
def test_a_product_is_that_of_a_linear_layer(dtype, rows, bias):
    weights = [torch.randn(out, 300).to(dtype) for out in (200, 64, 64)]
    b = torch.randn(328).to(dtype) if bias else None
    x = torch.randn(300, rows).to(dtype).t()  # strided, as what was multiplied before may lie
    assert near(packed(weights, b)(x), torch.nn.functional.linear(x, torch.cat(weights), b))


def test_it_is_laid_once_and_again_when_weights_change(monkeypatch):
    one, other = torch.randn(300, 300), torch.randn(300, 300)
    x, kept = torch.randn(3, 300), packed_weights._KEPT
    packed([one, other])
    laid = kept[one][1]
    packed([one, other])
    assert kept[one][1] is laid
    for changed in (one, other):
        changed.mul_(2)
        assert near(packed([one, other])(x), torch.nn.functional.linear(x, torch.cat([one, other])))
    count = len(kept)
    del one
    gc.collect()
    assert len(kept) == count - 1


def test_small_weights_and_those_of_a_large_model_are_read_where_they_lie(monkeypatch):
    assert packed([torch.randn(64, 300)]) is None and packed([torch.randn(300, 64)]) is None
    model = wide_model(torch.float32)
    monkeypatch.setattr(decoder, "LARGEST", 1000)
    monkeypatch.setattr(decoder, "packed", lambda *_: pytest.fail("held a second time"))
    decoder.Decoder(model)


@pytest.mark.parametrize("adapter", [False, True])
def test_draws_are_those_of_weights_where_they_lie(adapter, monkeypatch):
    model = wide_model(torch.float32)

    def drawn(policy):
        return [
            one for row in sample(policy, QUERIES, [3] * 3, Sampling(max_new_tokens=12), [0], 0, seed=1) for one in row
        ]

    def both(policy):
        laid = drawn(policy)
        with monkeypatch.context() as m:
            m.setattr(decoder, "packed", lambda *_: None)
            return laid, drawn(policy)

    if adapter:
        with adapted(model, LoraSettings(rank=4, alpha=8), "policy.lora", 0) as policy:
            for name, p in policy.named_parameters():
                if "lora_B" in name:
                    torch.nn.init.normal_(p, std=0.05)
            laid, lying = both(policy)
    else:
        laid, lying = both(model)
    assert len(packed_weights._KEPT)
    for one, other in zip(laid, lying, strict=True):
        assert one.tokens.tolist() == other.tokens.tolist()
        np.testing.assert_allclose(one.logprobs, other.logprobs, atol=1e-4)
