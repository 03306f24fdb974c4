import errno
import json

import pytest
import torch

from alignpro.errors import CheckpointError
from alignpro.train import checkpoint


def state(value):
    return {"weights": torch.full((100,), float(value)), "random": checkpoint.random_states()}


def test_the_newest_whole_checkpoint_is_loaded_and_old_ones_are_dropped(tmp_path):
    for step in (10, 20, 30):
        checkpoint.save(tmp_path, step, state(step), keep=2)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["step-000020", "step-000030"]
    found = checkpoint.load_latest(tmp_path)
    assert (found.step, found.state["weights"][0].item(), found.passed_over) == (30, 30.0, ())


@pytest.mark.parametrize("harm", ["truncate", "flip", "manifest", "missing"])
def test_a_corrupt_checkpoint_falls_back_to_the_one_before(tmp_path, harm):
    for step in (10, 20):
        checkpoint.save(tmp_path, step, state(step), keep=2)
    target = tmp_path / "step-000020" / "state.pt"
    data = bytearray(target.read_bytes())
    if harm == "truncate":
        target.write_bytes(data[: len(data) // 2])
    elif harm == "flip":
        data[len(data) // 2] ^= 0xFF
        target.write_bytes(data)
    elif harm == "manifest":
        (tmp_path / "step-000020" / "manifest.json").write_text("{")
    else:
        target.unlink()
    found = checkpoint.load_latest(tmp_path)
    assert found.step == 10
    assert len(found.passed_over) == 1
    assert "step-000020" in found.passed_over[0]


def test_where_all_are_corrupt_it_says_so_instead_of_starting_over(tmp_path):
    checkpoint.save(tmp_path, 10, state(1), keep=2)
    (tmp_path / "step-000010" / "state.pt").write_bytes(b"junk")
    with pytest.raises(CheckpointError, match="no usable checkpoint"):
        checkpoint.load_latest(tmp_path)
    assert checkpoint.load_latest(tmp_path / "empty") is None


def test_a_full_disk_leaves_the_earlier_checkpoint(tmp_path, monkeypatch):
    checkpoint.save(tmp_path, 10, state(1), keep=2)

    def full(path, data):
        path.write_bytes(bytes(data)[:10])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(checkpoint, "_write", full)
    with pytest.raises(CheckpointError, match="step-000010 is intact"):
        checkpoint.save(tmp_path, 20, state(2), keep=2)
    assert [p.name for p in tmp_path.iterdir()] == ["step-000010"]
    assert checkpoint.load_latest(tmp_path).step == 10


def test_random_states_come_back(tmp_path):
    import random

    import numpy as np

    before = checkpoint.random_states()
    first = (random.random(), np.random.rand(), torch.rand(1).item())  # noqa: NPY002
    path = checkpoint.save(tmp_path, 1, {"random": before}, keep=2)
    checkpoint.restore_random_states(checkpoint.load_latest(path.parent).state["random"])
    assert (random.random(), np.random.rand(), torch.rand(1).item()) == first  # noqa: NPY002


def test_the_manifest_is_plain(tmp_path):
    path = checkpoint.save(tmp_path, 7, state(1), keep=2)
    assert json.loads((path / "manifest.json").read_text())["step"] == 7
