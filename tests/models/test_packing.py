"""Rows of unlike length, laid end to end: where they lie, and that a model reads of them what it reads alone."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny import make_model

from alignpro.models import logprobs, prefixes
from alignpro.models.packing import pack

ROWS = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 40)), min_size=1, max_size=60)


@given(ROWS, st.integers(0, 200), st.sampled_from([0, 16, 4096]))
def test_no_token_lies_on_another_and_each_row_goes_on_from_its_own_query(rows, before, width):
    source, lengths = zip(*rows, strict=True)
    found = pack(source, lengths, before, width)
    taken = np.zeros((len(found.source), found.width), dtype=int)
    for row, (own, length) in enumerate(rows):
        assert found.source[found.line[row]] == own
        taken[found.line[row], found.start[row] : found.start[row] + length] += 1
    assert taken.max(initial=0) <= 1
    assert taken.sum() == sum(lengths)  # none beyond the end


def test_rows_of_unlike_length_take_little_more_than_their_tokens():
    lengths = np.random.default_rng(0).integers(5, 64, 256).tolist()
    found = pack([row // 8 for row in range(256)], lengths, 30, 576)
    assert found.size < 1.2 * sum(lengths) < 0.7 * 256 * 64


def test_where_attention_costs_more_than_products_wide_rows_are_not_made():
    lengths = np.random.default_rng(0).integers(5, 64, 64).tolist()
    of_narrow, of_wide = (pack([0] * 64, lengths, 0, model_width) for model_width in (1, 4096))
    assert of_narrow.width < of_wide.width and of_narrow.size > of_wide.size


@pytest.mark.parametrize("kind", ["llama", "phi3"])
def test_a_model_reads_fewer_tokens_and_says_the_same(kind, monkeypatch):
    model, rng = make_model(kind), np.random.default_rng(0)
    queries = [[5, 9, 2, 7, own, 3] for own in (11, 12, 13) for _ in range(6)]
    actions = [rng.integers(0, 300, length) for length in rng.permutation(np.arange(1, 19))]
    read = []
    model.get_input_embeddings().register_forward_hook(lambda *given: read.append(given[1][0].numel()))
    packed = logprobs.score(model, queries, actions, 0)
    few = sum(read)
    read.clear()
    monkeypatch.setattr(prefixes, "is_worth", lambda *_: False)
    alone = logprobs.score(model, queries, actions, 0)
    assert few < 0.6 * sum(read)
    for got, wanted in zip(packed, alone, strict=True):
        np.testing.assert_allclose(got, wanted, atol=1e-5)
