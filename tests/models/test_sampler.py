from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny import make_model

from alignpro.config import Sampling
from alignpro.models.logprobs import score
from alignpro.models.sampler import NOT_FINITE, ON_CPU, _draw, sample

QUERIES = [[5, 6, 7], [8, 9, 10, 11, 12, 13, 14], [15], [16, 17, 18, 19]]


def draw(model, counts=(1, 1, 1, 1), seed=0, batch_size=8, queries=QUERIES, **sampling):
    settings = Sampling(**{"max_new_tokens": 12, **sampling})
    return sample(model, queries, counts, settings, eos_ids=[1], pad_id=0, seed=seed, batch_size=batch_size)


def test_greedy_limit_agrees_with_transformers_generate(any_model):
    ours = draw(any_model, temperature=1e-4)
    for query, (got,) in zip(QUERIES, ours, strict=True):
        ids = torch.tensor([query])
        theirs = any_model.generate(
            ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=12, eos_token_id=1, pad_token_id=0
        )
        assert got.tokens.tolist() == theirs[0, len(query) :].tolist()


def test_log_probabilities_are_those_of_a_fresh_forward_pass(any_model):
    rows = draw(any_model, counts=(3, 2, 1, 4), temperature=0.7)
    queries = [q for q, row in zip(QUERIES, rows, strict=True) for _ in row]
    flat = [g for row in rows for g in row]
    again = score(any_model, queries, [g.tokens for g in flat], pad_id=0, temperature=0.7, batch_size=3)
    for g, expected in zip(flat, again, strict=True):
        np.testing.assert_allclose(g.logprobs, expected, atol=2e-4)


def test_neither_batch_size_nor_the_other_prompts_change_a_draw():
    model = make_model()
    together = draw(model, counts=(2, 2, 2, 2), batch_size=8)
    apart = draw(model, counts=(2, 2, 2, 2), batch_size=3)
    assert [[g.tokens.tolist() for g in row] for row in together] == [[g.tokens.tolist() for g in row] for row in apart]


def test_frequencies_are_those_of_the_model():
    model = make_model(vocabulary=12)
    rows = draw(model, counts=(4000,), queries=[[5, 6, 7]], max_new_tokens=1, batch_size=4000)
    with torch.no_grad():
        expected = model(torch.tensor([[5, 6, 7]])).logits[0, -1].softmax(-1).numpy()
    seen = np.bincount([int(g.tokens[0]) for g in rows[0]], minlength=12) / 4000
    assert np.abs(seen - expected).max() < 4 * np.sqrt(0.25 / 4000)


def test_top_k_and_top_p_keep_what_they_say():
    model = make_model(vocabulary=12)
    with torch.no_grad():
        probabilities = model(torch.tensor([[5, 6, 7]])).logits[0, -1].softmax(-1)
    ranked = probabilities.argsort(descending=True).tolist()
    few = draw(model, counts=(500,), queries=[[5, 6, 7]], max_new_tokens=1, batch_size=500, top_k=2)
    assert {int(g.tokens[0]) for g in few[0]} == set(ranked[:2])
    share = probabilities[ranked[0]].item() + 1e-4  # just past the first token, so the second is needed too
    nucleus = draw(model, counts=(500,), queries=[[5, 6, 7]], max_new_tokens=1, batch_size=500, top_p=min(share, 1.0))
    assert {int(g.tokens[0]) for g in nucleus[0]} <= set(ranked[:2])
    whole = probabilities.log()[int(few[0][0].tokens[0])].item()
    assert few[0][0].logprobs[0] == pytest.approx(whole, abs=1e-5)  # of the whole distribution, not the kept part


@pytest.mark.parametrize("likeliest", [4, 10_000], ids=["few sorted first", "all sorted"])
@pytest.mark.parametrize("sampling", [{"top_p": 0.6}, {"top_p": 0.97}, {"top_k": 3}, {"top_k": 40, "top_p": 0.8}])
def test_truncation_draws_what_whole_sorting_draws(sampling, likeliest):
    """By numpy, each row sorted whole; some are peaked and some flat."""
    limits = Sampling(temperature=0.7, **sampling)
    logits = 3 * torch.randn(6, 300, generator=torch.Generator().manual_seed(0)) * torch.linspace(0.1, 2, 6)[:, None]
    noise = torch.rand(6, generator=torch.Generator().manual_seed(1))
    tokens, logprobs = _draw(logits, noise, limits, replace(ON_CPU, likeliest=likeliest))
    for row, luck, token, logprob in zip(logits.double().numpy() / 0.7, noise.tolist(), tokens, logprobs, strict=True):
        shares = np.exp(row) / np.exp(row).sum()
        assert logprob == pytest.approx(np.log(shares[token]), abs=1e-5)
        if limits.top_k:
            shares = np.where(shares >= np.sort(shares)[-limits.top_k], shares, 0)
            shares /= shares.sum()
        order = np.argsort(-shares, kind="stable")
        before = np.cumsum(shares[order]) - shares[order]
        kept = np.where(np.isin(np.arange(300), order[before < limits.top_p]), shares, 0)
        assert token == np.searchsorted(np.cumsum(kept), luck * kept.sum(), side="right")


def test_what_is_tied_with_the_last_of_top_k_is_kept():
    logits, noise = torch.tensor([[2.0, 1.0, *[0.0] * 298]]).expand(4, -1), torch.tensor([0.0, 0.02, 0.5, 0.999])
    shares = logits[0].double().softmax(-1).numpy()
    tokens, _ = _draw(logits, noise, Sampling(top_k=3), replace(ON_CPU, likeliest=4))
    assert tokens.tolist() == np.searchsorted(np.cumsum(shares), noise.numpy(), side="right").tolist()


def test_rows_end_at_the_end_token_and_say_how_they_ended():
    rows = draw(
        make_model(vocabulary=8),
        counts=(60, 60, 60, 60),
        queries=[[5], [6], [7], [2]],
        max_new_tokens=10,
        batch_size=50,
    )
    flat = [g for row in rows for g in row]
    stopped = [g for g in flat if g.finish == "stop"]
    cut = [g for g in flat if g.finish == "length"]
    assert stopped
    assert all(g.tokens[-1] == 1 and 1 not in g.tokens[:-1] for g in stopped)
    assert all(len(g.tokens) == 10 and 1 not in g.tokens for g in cut)
    assert all(len(g.logprobs) == len(g.tokens) for g in flat)


def test_seeds_differ_and_repeat():
    model = make_model()
    first, again, other = (draw(model, seed=s)[0][0].tokens.tolist() for s in (1, 1, 2))
    assert first == again != other


def test_a_count_of_zero_gives_no_rows():
    rows = draw(make_model(), counts=(0, 2, 0, 1))
    assert [len(row) for row in rows] == [0, 2, 0, 1]


@pytest.mark.parametrize("extra", [0, 5])
def test_padding_changes_no_score(extra):
    model = make_model()
    actions = [np.array([4, 5, 6]), np.array([7])]
    alone = [score(model, [q], [a], 0)[0] for q, a in zip(QUERIES[:2], actions, strict=True)]
    padded = score(model, [*QUERIES[:2], [3] * (9 + extra)], [*actions, np.arange(2, 9 + extra)], 0, batch_size=8)
    for a, b in zip(alone, padded, strict=False):
        np.testing.assert_allclose(a, b, atol=1e-5)


class Broken(torch.nn.Module):
    """Gives `value` for one token, or for all, after token 9."""

    def __init__(self, value, everywhere):
        super().__init__()
        self.model, self.value, self.everywhere = make_model(), value, everywhere
        self.config, self.generation_config = self.model.config, self.model.generation_config

    def forward(self, input_ids, **given):
        output = self.model(input_ids, **given)
        if self.everywhere:
            output.logits[input_ids[:, -1] == 9] = self.value
        else:
            output.logits[input_ids[:, -1] == 9, -1, 40] = self.value
        return output


@pytest.mark.parametrize(
    ("value", "everywhere"), [(np.nan, False), (np.nan, True), (np.inf, False), (np.inf, True), (-np.inf, True)]
)
@pytest.mark.parametrize("sampling", [{}, {"top_k": 1}, {"top_k": 7, "top_p": 0.9}, {"temperature": 0.3, "top_p": 0.5}])
def test_logits_that_are_no_distribution_fail_their_row_and_no_other(value, everywhere, sampling):
    queries, told = [[5, 6, 7], [8, 10, 9], [15], [16, 17, 18, 19]], []
    model = Broken(value, everywhere)
    settings = Sampling(max_new_tokens=12, **sampling)

    def drawn(model):
        rows = sample(model, queries, [2] * 4, settings, [1], 0, 0, ended=lambda row, g: told.append((row, g)))
        return [g for row in rows for g in row]

    for row, (got, wanted) in enumerate(zip(drawn(model), drawn(model.model), strict=True)):
        if row in (2, 3) or 9 in wanted.tokens[: 11 if wanted.finish == "length" else None]:
            assert got.failure == NOT_FINITE and got.text == "" and not got.tokens.size
        else:
            assert got.failure is None and got.tokens.tolist() == wanted.tokens.tolist()
    half = told[: len(told) - 8]
    assert len(half) == sum(g.failure is None for _, g in half) > 0


def test_logits_of_minus_infinity_forbid_a_token_and_are_no_failure():
    class Forbidding(Broken):
        def forward(self, input_ids, **given):
            output = self.model(input_ids, **given)
            output.logits[..., 100:] = -np.inf
            return output

    rows = draw(Forbidding(0.0, False), counts=(9, 9, 9, 9))
    assert all(g.failure is None and g.tokens.max() < 100 for row in rows for g in row)
