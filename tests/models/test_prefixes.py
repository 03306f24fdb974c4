"""Reading shared prefixes once gives the log-probabilities and the gradients of rows that are read one by one."""

import numpy as np
import pytest
import torch
from tiny import make_model
from transformers import Gemma3ForCausalLM, Gemma3TextConfig, MistralConfig, MistralForCausalLM

from alignpro.config import LoraSettings, Sampling
from alignpro.models import cache, prefixes
from alignpro.models.checkpointing import checkpointed
from alignpro.models.logprobs import collate, forward, hidden_states, score
from alignpro.models.lora import adapted
from alignpro.models.sampler import sample

HEAD = [5, 9, 2, 7, 7, 3, 1, 8, 4, 6, 2, 9]
QUERIES = [[*HEAD, *own] for own in ([11], [12, 13, 14, 15], [16, 17], [11, 18, 19]) for _ in range(3)]
LENGTHS = [4, 6, 1, 5, 5, 2, 7, 3, 3, 6, 1, 7]
SIZES = {
    "vocab_size": 300,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "initializer_range": 0.3,  # far from uniform, so that a wrong position or mask shows
}
WINDOW = {  # shorter than the head, so that what rows share is partly out of sight
    "gemma3": lambda: Gemma3ForCausalLM(
        Gemma3TextConfig(
            **SIZES, sliding_window=5, layer_types=["sliding_attention", "full_attention", "sliding_attention"]
        )
    ),
    "mistral": lambda: MistralForCausalLM(MistralConfig(**SIZES, sliding_window=5)),
}
KINDS = ["llama", "qwen2", "phi3", *WINDOW]


def made(kind):
    if kind not in WINDOW:
        return make_model(kind)
    torch.manual_seed(0)
    return WINDOW[kind]().eval()


def batch(queries=QUERIES, lengths=LENGTHS):
    rng = np.random.default_rng(0)
    return collate(queries, [rng.integers(0, 300, length) for length in lengths], 0)


def outcome(model, actions):
    """Log-probabilities, hidden states, and the gradient of a weighted sum of both."""
    model.zero_grad()
    logprobs, hidden = forward(model, actions, 0.7, hidden=True)
    mask = actions.action_mask
    weights = torch.randn(mask.shape, generator=torch.Generator().manual_seed(1)) * mask
    ((weights * logprobs).sum() + (weights * hidden.float().tanh().sum(2)).sum()).backward()
    gradient = torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])
    return logprobs.detach(), hidden.detach()[mask], gradient


def apart(got, wanted):
    return float((got - wanted).norm() / wanted.norm())


@pytest.fixture
def one_by_one(monkeypatch):
    def rows(*given):
        with monkeypatch.context() as m:
            m.setattr(prefixes, "is_worth", lambda *_: False)
            return outcome(*given)

    return rows


@pytest.mark.parametrize("weights", ["all", "adapter"])
@pytest.mark.parametrize("kind", KINDS)
def test_log_probabilities_states_and_gradients_are_those_of_rows_one_by_one(kind, weights, one_by_one):
    model = made(kind)
    assert prefixes.can_share(model)
    if weights == "adapter":
        with adapted(model, LoraSettings(rank=4, alpha=8), "prompter.lora", 0) as policy:
            for name, p in policy.named_parameters():
                if "lora_B" in name:
                    torch.nn.init.normal_(p, std=0.1)
            shared, alone = outcome(policy, batch()), one_by_one(policy, batch())
    else:
        shared, alone = outcome(model, batch()), one_by_one(model, batch())
    for got, wanted in zip(shared, alone, strict=True):
        assert apart(got, wanted) < 1e-5


@pytest.mark.parametrize(
    ("queries", "lengths"),
    [
        pytest.param([HEAD] * 6, [3, 1, 2, 5, 4, 4], id="one query"),
        pytest.param([HEAD, [*HEAD, 3], [*HEAD, 3, 3]] * 3, [2] * 9, id="a query that begins another"),
        pytest.param([[*HEAD, i] for i in range(8)], [1] * 8, id="single tokens"),
        pytest.param([[i, *HEAD] for i in (1, 2) for _ in range(5)], [3] * 10, id="no common head"),
    ],
)
def test_every_shape_of_sharing_agrees(queries, lengths, one_by_one):
    model, actions = made("llama"), batch(queries, lengths)
    assert prefixes.is_worth([list(q) for q in {tuple(q) for q in queries}], len(queries), max(lengths) - 1)
    for got, wanted in zip(outcome(model, actions), one_by_one(model, actions), strict=True):
        assert apart(got, wanted) < 1e-5


def test_hidden_states_alone_are_those_beside_the_log_probabilities():
    model, actions = made("llama"), batch()
    with torch.no_grad():
        alone = hidden_states(model, actions)[actions.action_mask]
        beside = forward(model, actions, 1.0, hidden=True)[1][actions.action_mask]
    assert apart(alone, beside) < 1e-6


@pytest.mark.parametrize("kind", KINDS)
def test_draws_after_a_shared_head_are_those_after_whole_rows_and_what_is_scored(kind, monkeypatch):
    model, sampling = made(kind), Sampling(max_new_tokens=cache.ROOM + 12)
    queries = QUERIES[::3]
    assert prefixes.is_worth(queries, len(queries), 0)

    def drawn():
        return [one for row in sample(model, queries, [2] * 4, sampling, range(10), 0, seed=1) for one in row]

    shared = drawn()
    monkeypatch.setattr(prefixes, "is_worth", lambda *_: False)
    alone = drawn()
    scored = score(model, [q for q in queries for _ in range(2)], [one.tokens for one in shared], 0)
    assert len({len(one.tokens) for one in shared}) > 2  # rows left the batch one after another
    for one, other, own in zip(shared, alone, scored, strict=True):
        assert one.tokens.tolist() == other.tokens.tolist()
        np.testing.assert_allclose(one.logprobs, own, atol=2e-4)
        np.testing.assert_allclose(other.logprobs, own, atol=2e-4)


def test_unlike_queries_are_read_row_by_row():
    assert not prefixes.is_worth([[1, 2, 3], [4, 5, 6]], 2, 4)
    assert prefixes.is_worth([[1, 2, 3]], 4, 1)


def test_a_layer_that_runs_again_keeps_nothing():
    model = made("llama")
    with checkpointed(model):
        assert not prefixes.can_share(model)
        with torch.no_grad():
            assert prefixes.can_share(model)
        shared = outcome(model, batch())
    for got, wanted in zip(shared, outcome(model, batch()), strict=True):
        assert apart(got, wanted) < 1e-5


def test_a_model_that_reads_on_otherwise_is_not_trusted():
    model = made("llama")
    inner = model.model.forward

    def forgetful(*args, past_key_values=None, **kwargs):
        return inner(*args, **kwargs)

    model.model.forward = forgetful
    assert not prefixes.can_share(model)
