"""What a model has written is kept by the batch: whoever is killed loses one, and draws on as if nothing had been."""

import numpy as np
import pytest
from tiny import make_model

from alignpro.config import Sampling
from alignpro.models import sampler
from alignpro.models.batches import keeping
from alignpro.runtime import processes

QUERIES = [[5, 6, 7], [8, 9, 10, 11], [15]]
COUNTS = [3, 2, 3]


@pytest.fixture
def drawn(monkeypatch):
    """Calls of the sampler for a batch; it is killed in call number `drawn.killed`."""
    calls, draw = [], sampler.sample_rows

    def spied(*given):
        calls.append(given)
        if len(calls) == calls.killed:
            raise KeyboardInterrupt
        return draw(*given)

    class Calls(list):
        killed = 0

    calls = Calls()
    monkeypatch.setattr(sampler, "sample_rows", spied)
    monkeypatch.setattr(sampler, "STRETCH", 1)
    return calls


def texts(model, seed=0, **more):
    rows = sampler.sample(model, QUERIES, COUNTS, Sampling(max_new_tokens=6, **more), [1], 0, seed, batch_size=2)
    return [(g.tokens.tolist(), g.logprobs.tolist(), g.finish, g.failure) for row in rows for g in row]


def test_a_killed_call_goes_on_with_the_batch_that_was_under_way(drawn, tmp_path):
    model = make_model()
    whole = texts(model)
    assert len(drawn) == 4 and not [*tmp_path.iterdir()]
    drawn.killed = 7
    with pytest.raises(KeyboardInterrupt), keeping(tmp_path / "batches"):
        texts(model)
    assert len(drawn) == 7 and len([*(tmp_path / "batches").iterdir()]) == 2
    with keeping(tmp_path / "batches"):
        assert texts(make_model()) == whole  # the same weights, in another object
        assert len(drawn) == 9
        assert texts(model) == whole and len(drawn) == 9
        assert texts(model, seed=1) != whole and texts(make_model(seed=1)) != whole and texts(model, top_k=2) != whole
        assert len(drawn) == 9 + 3 * 4
    assert not (tmp_path / "batches").exists()


def test_torn_batches_are_drawn_anew_and_written_ones_forgotten(drawn, tmp_path):
    model = make_model()
    with keeping(tmp_path) as written:
        whole = texts(model)
        for number, file in enumerate(sorted(tmp_path.iterdir())[:3]):
            data = file.read_bytes()
            file.write_bytes((data[: len(data) // 2], b"", data.replace(b"tokens", b"chosen"))[number])
        assert texts(model) == whole and len(drawn) == 4 + 3
        written()
        assert not tmp_path.exists()
        assert texts(model) == whole and len(drawn) == 7 + 4


def test_texts_that_have_no_distribution_are_kept_with_their_failure(drawn, tmp_path):
    model = make_model()
    model.lm_head.weight.data[:] = np.nan
    with keeping(tmp_path):
        first = texts(model)
        assert texts(model) == first and first[0][3] == sampler.NOT_FINITE and len(drawn) == 4


def test_processes_that_share_the_rows_keep_none(drawn, tmp_path, monkeypatch):
    monkeypatch.setattr(processes, "count", lambda: 2)
    with keeping(tmp_path / "batches"):
        pass
    assert not (tmp_path / "batches").exists()
