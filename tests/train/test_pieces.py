"""A minibatch in pieces of so many tokens has the gradient of the whole; the number fits what memory is free."""

import numpy as np
import pytest
import torch
from tiny import make_model

from alignpro.config import GroupSettings, OfflineSettings, PpoSettings, TrainSettings
from alignpro.errors import OutOfMemory
from alignpro.models import prefixes
from alignpro.models.checkpointing import checkpointed
from alignpro.models.logprobs import collate, forward
from alignpro.runtime import memory
from alignpro.train import group, pieces
from alignpro.train.offline import OfflineLearner
from alignpro.train.offline_losses import LOSSES
from alignpro.train.pieces import Pieces
from alignpro.train.ppo import Ppo
from alignpro.train.update import Experience

HEAD = [5, 9, 2, 7, 7, 3, 1, 8]
GROUPS = [0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3]
MADE = {
    "ppo": lambda model, tokens: Ppo(model, PpoSettings(epochs=1, minibatch_size=12, learning_rate=1e-3), tokens),
    "rloo": lambda model, tokens: group.rloo(
        model, GroupSettings(epochs=1, minibatch_size=12, learning_rate=1e-3), tokens
    ),
    "exo": lambda model, tokens: OfflineLearner(model, OfflineSettings(learning_rate=1e-3), LOSSES["exo"], tokens),
}


def actions():
    rng = np.random.default_rng(0)
    queries = [[*HEAD, *range(11, 12 + own)] for own in GROUPS]
    return collate(queries, [rng.integers(0, 250, n) for n in (4, 6, 1, 5, 5, 2, 7, 3, 3, 6, 1, 7)], 0)


def experience(model):
    batch = actions()
    with torch.no_grad():
        logprobs, _ = forward(model, batch, 1.0)
    rewards = torch.randn(12, generator=torch.Generator().manual_seed(0))
    return Experience(batch, logprobs, logprobs, rewards, torch.tensor(GROUPS), torch.ones(12))


@pytest.mark.parametrize("method", MADE)
def test_gradients_are_those_of_the_whole_minibatch(method, monkeypatch):
    found = {}
    for tokens in (1 << 20, 128, 1):
        model = make_model("llama").requires_grad_(True)
        learner, passes, gradients = MADE[method](model, tokens), [], []
        whole = model.model.forward
        monkeypatch.setattr(model.model, "forward", lambda *a, w=whole, p=passes, **k: p.append(1) or w(*a, **k))
        took = learner.optimizer.step
        monkeypatch.setattr(
            learner.optimizer,
            "step",
            lambda m=model, g=gradients, t=took: g.append(torch.cat([p.grad.flatten() for p in m.parameters()])) or t(),
        )
        learner.update(experience(model), kl_coef=0.1, temperature=1.0, seed=0)
        found[tokens] = len(passes), gradients[0]
    counts = [count for count, _ in found.values()]
    assert counts == sorted(set(counts))
    for count, gradient in found.values():
        assert float((gradient - found[1 << 20][1]).norm() / gradient.norm()) < 1e-5, count


def test_rows_of_a_prompt_stay_together_and_pieces_hold_no_more_than_told():
    batch = actions()
    cut = Pieces(make_model("llama"), 64).cutter(batch, torch.tensor(GROUPS), lambda rows: None)
    parts = cut(torch.randperm(12, generator=torch.Generator().manual_seed(1)))
    assert sorted(torch.cat(parts).tolist()) == list(range(12))
    held = [batch.rows(part) for part in parts]
    assert all(part.query.numel() + part.action.numel() <= 64 for part in held)
    order = [GROUPS[i] for i in torch.cat(parts).tolist()]
    assert order == sorted(order)


def test_what_is_free_decides_and_a_checkpoint_keeps_it(monkeypatch):
    model, chosen = make_model("llama").requires_grad_(True), []
    for room in (1 << 34, 1 << 24, 1):
        monkeypatch.setattr(memory, "free", lambda device, room=room: room)
        learner = MADE["rloo"](model, None)
        learner.update(experience(model), kl_coef=0.1, temperature=1.0, seed=0)
        chosen.append(learner.pieces.tokens)
    assert chosen[0] > 1000 * chosen[1] > 0
    assert chosen[2] == 16  # a row, whatever there is
    again = MADE["rloo"](model, None)
    again.load_state_dict(learner.state_dict())
    assert again.pieces.tokens == 16
    given = MADE["rloo"](model, 128)
    given.load_state_dict(learner.state_dict())
    assert given.pieces.tokens == 128


def test_what_a_pass_keeps_grows_with_its_rows_and_is_less_where_layers_run_again(monkeypatch):
    model, batch = make_model("llama", layers=8).requires_grad_(True), actions()

    def kept(rows):
        return pieces.held(model, lambda: forward(model, batch.rows(torch.arange(rows)), 1.0)[0])

    assert 1.7 < kept(12) / kept(6) < 2.3
    assert kept(12) > 12 * 8 * 20 * 32 * 4  # some widths of each layer
    monkeypatch.setattr(prefixes, "is_worth", lambda *_: False)
    whole = kept(6)
    with checkpointed(model):
        assert kept(6) == pytest.approx(3 / 8 * whole, rel=0.01)


@pytest.mark.parametrize(
    "fault",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:117] . DefaultCPUAllocator: can't allocate memory: 1 bytes"),
        MemoryError(),
    ],
)
def test_where_memory_runs_out_the_setting_is_named(fault):
    told = pytest.raises(OutOfMemory, match=r"lower train\.update\.tokens \(it is 512\)")
    with told, memory.lower("train.update.tokens", 512, "updating"):
        raise fault
    with pytest.raises(RuntimeError, match="another"), memory.lower("a", 1, "b"):
        raise RuntimeError("another")


def test_memory_that_is_free_is_less_under_a_containers_limit(tmp_path):
    free = memory.free(torch.device("cpu"))
    assert free > 0
    (tmp_path / "memory.max").write_text("1000000\n")
    (tmp_path / "memory.current").write_text("700000\n")
    (tmp_path / "memory.stat").write_text("anon 5\ninactive_file 100000\n")
    assert memory._left_in_container(tmp_path) == 400_000
    (tmp_path / "memory.max").write_text("max\n")
    assert memory._left_in_container(tmp_path) > free
    assert memory.peak(torch.device("cpu")) > 1 << 27


def test_the_setting_stands_in_train():
    assert TrainSettings.model_validate({"update": {"tokens": 4096}}).update.tokens == 4096
