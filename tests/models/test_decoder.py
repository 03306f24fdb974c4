"""A token at a time past transformers' layers: the logits are those of whole rows, whoever joins and leaves."""

import pytest
import torch
from tiny import CLASSES, make_model
from transformers import (
    Gemma3ForCausalLM,
    Gemma3TextConfig,
    MistralConfig,
    MistralForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from alignpro.config import LoraSettings, Sampling
from alignpro.models import decoder
from alignpro.models.logprobs import score
from alignpro.models.lora import AdapterOff, adapted
from alignpro.models.reading import Reader
from alignpro.models.sampler import sample

SIZES = {
    "vocab_size": 300,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "initializer_range": 0.3,  # far from uniform, so that a wrong position or mask shows
}
LLAMA3 = {"rope_type": "llama3", "rope_theta": 1e4, "factor": 4.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0}
MADE = {
    "qwen3": lambda: Qwen3ForCausalLM(Qwen3Config(**SIZES, head_dim=16)),
    "mistral": lambda: MistralForCausalLM(MistralConfig(**SIZES, sliding_window=None)),
    "wide heads": lambda: MistralForCausalLM(MistralConfig(**SIZES, sliding_window=None, head_dim=16)),
    "scaled turns": lambda: CLASSES["llama"][1](
        CLASSES["llama"][0](**SIZES, rope_parameters={**LLAMA3, "original_max_position_embeddings": 16})
    ),
    "biases": lambda: CLASSES["llama"][1](CLASSES["llama"][0](**SIZES, attention_bias=True, mlp_bias=True)),
}
HEAD = list(range(40, 40 + 20))
"""Long enough to be read once."""
OWN = [[11], [12, 13, 14, 15], [16, 17], [11, 18, 19]]


def made(kind):
    torch.manual_seed(0)
    if kind not in MADE:
        return make_model(kind)
    model = MADE[kind]().eval()
    for name, weights in model.named_parameters():
        if "norm" in name or "bias" in name:
            torch.nn.init.normal_(weights, 1.0 if "norm" in name else 0.0, 0.2)
    return model


def stepped(model, queries, then):
    """Logits [N, T, V] after each query and each of the tokens `then` [N, T - 1], read a token at a time: half of the
    rows at once, the others when two tokens are read; the first of all leaves at the end of the third."""
    reader, count = Reader(model, queries, 0), len(queries)
    assert reader.joins
    half, steps = count // 2, then.shape[1]
    rows, logits = reader.read(queries[:half])
    seen = [[one] for one in logits]
    who = list(range(half))
    done = [0] * count
    for step in range(steps + 2):
        if step == 2:
            others, first = reader.read(queries[half:])
            reader.join(rows, others)
            seen += [[one] for one in first]
            who += range(half, count)
        going = [place for place, i in enumerate(who) if done[i] < steps and not (step > 2 and i == 0)]
        if len(going) < len(who):
            rows.keep(torch.tensor(going))
            who = [who[place] for place in going]
        for i, one in zip(who, rows.go_on(torch.stack([then[i, done[i]] for i in who])), strict=True):
            seen[i].append(one)
            done[i] += 1
    return [torch.stack(one) for one in seen]


@torch.no_grad()
def off(model, queries):
    """The largest error of logits against whole rows in float64, and that of whole rows in the model's precision, in
    shares of their deviation."""
    then = torch.randint(2, 300, (len(queries), 6), generator=torch.Generator().manual_seed(0))
    stepwise = stepped(model, queries, then)
    assert [len(one) for one in stepwise] == [4, *[7] * (len(queries) - 1)]
    ids = [torch.tensor([[*query, *tokens.tolist()]]) for query, tokens in zip(queries, then, strict=True)]
    whole = [model(input_ids=one).logits[0] for one in ids]
    dtype = next(model.parameters()).dtype
    model.double()
    exact = [model(input_ids=one).logits[0] for one in ids]
    model.to(dtype)
    step = own = 0.0
    for query, got, whole_row, truth in zip(queries, stepwise, whole, exact, strict=True):
        after, spread = slice(len(query) - 1, len(query) - 1 + len(got)), truth.std()
        step = max(step, float((got - truth[after]).abs().max() / spread))
        own = max(own, float((whole_row - truth).abs().max() / spread))
    return step, own


def exact(model, queries):
    """Whether a step rounds no more than twice as far as whole rows do."""
    step, own = off(model, queries)
    return step <= 2 * own < 2e-5


@pytest.mark.parametrize("head", [[], HEAD], ids=["no head", "a head"])
@pytest.mark.parametrize("kind", ["llama", "qwen2", *MADE])
def test_logits_are_those_of_whole_rows_whoever_joins_and_leaves(kind, head):
    assert exact(made(kind), [[*head, *own] for own in OWN])


@pytest.mark.parametrize("kind", ["llama", "qwen3", "scaled turns"])
def test_a_step_that_could_be_one_graph_gives_the_same_logits(kind, monkeypatch):
    """Its tensors are the same each time and it reads all the room there is; without a GPU it is not recorded."""
    recorded, init = [], decoder.Decoder.__init__

    def replaying(self, model):
        init(self, model)
        self.replays = True

    def as_it_stands(step):
        recorded.append(step)
        return step

    monkeypatch.setattr(decoder.Decoder, "__init__", replaying)
    monkeypatch.setattr(decoder, "Replayed", as_it_stands)
    assert exact(made(kind), [[*HEAD, *own] for own in OWN])
    assert len(recorded) == 4  # at first, after rows joined, and each time some left


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU: graphs are recorded on one alone")
def test_a_graph_draws_what_its_kernels_draw_one_by_one(monkeypatch):
    model, limits = made("llama").to("cuda"), Sampling(max_new_tokens=100)
    queries = [[*HEAD, *own] for own in OWN]
    as_graph = sample(model, queries, [2] * len(OWN), limits, [5], 0, seed=0, batch_size=4)
    monkeypatch.setattr(decoder, "Replayed", lambda step: step)
    one_by_one = sample(model, queries, [2] * len(OWN), limits, [5], 0, seed=0, batch_size=4)
    for a, b in zip(as_graph, one_by_one, strict=True):
        assert [one.tokens.tolist() for one in a] == [one.tokens.tolist() for one in b]


@pytest.mark.parametrize("targets", ["all-linear", ["q_proj", "v_proj"], ["k_proj", "down_proj"]])
def test_adapters_are_read_or_switched_off_as_the_model_has_them(targets):
    model = made("qwen2")
    queries = [[*HEAD, *own] for own in OWN]
    with adapted(model, LoraSettings(rank=4, alpha=12, targets=targets), "prompter.lora", 0) as policy:
        for name, weights in policy.named_parameters():
            if "lora_B" in name:
                torch.nn.init.normal_(weights, std=0.3)
        assert exact(policy, queries)
        assert exact(AdapterOff(policy), queries)
        ids = torch.tensor([queries[0]])
        with torch.no_grad():
            assert (policy(input_ids=ids).logits - AdapterOff(policy)(input_ids=ids).logits).abs().max() > 0.1


def test_half_precision_rounds_as_it_does_in_whole_rows():
    model = made("llama").to(torch.bfloat16)
    step, own = off(model, [[*HEAD, *own] for own in OWN])
    assert step <= 2 * own < 0.5


def test_what_was_hung_into_a_model_or_is_of_another_class_is_left_to_transformers():
    hooked = made("llama")
    assert decoder.is_plain(hooked)
    hook = hooked.model.layers[1].mlp.register_forward_hook(lambda *_: None)
    assert not decoder.is_plain(hooked)
    hook.remove()
    hooked.model.layers[0].mlp.down_proj.forward = lambda x: x
    assert not decoder.is_plain(hooked)
    window = MistralForCausalLM(MistralConfig(**SIZES, sliding_window=5)).eval()
    gemma = Gemma3ForCausalLM(Gemma3TextConfig(**SIZES, head_dim=8)).eval()
    assert not any(decoder.is_plain(model) for model in (window, gemma, make_model("phi3"), made("llama").train()))


@pytest.mark.parametrize("kind", ["llama", "phi3"])
def test_rows_that_wait_draw_what_they_would_draw_together(kind):
    """Few places, so that rows of many lengths enter while others are under way."""
    model, counts = made(kind), [5] * len(OWN)
    model.lm_head.weight.data[1] = model.lm_head.weight.data[2:20].mean(0)  # an end that comes now and then
    queries, settings = [[*HEAD, *own] for own in OWN], Sampling(max_new_tokens=14, temperature=1.5)
    ends = list(range(1, 40))
    together, told = sample(model, queries, counts, settings, ends, 0, 0, batch_size=64), []
    few = sample(
        model, queries, counts, settings, ends, 0, 0, batch_size=4, ended=lambda row, g: told.append((row, g.finish))
    )
    flat, apart = ([g for row in rows for g in row] for rows in (together, few))
    assert {g.finish for g in flat} == {"stop", "length"} and len({len(g.tokens) for g in flat}) > 5
    assert [g.tokens.tolist() for g in apart] == [g.tokens.tolist() for g in flat]
    assert sorted(told) == [(row, g.finish) for row, g in enumerate(flat)]
    again = score(model, [query for query in queries for _ in range(5)], [g.tokens for g in apart], 0, 1.5)
    assert all(abs(g.logprobs - one).max() < 2e-4 for g, one in zip(apart, again, strict=True))
