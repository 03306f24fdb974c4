"""A prompter split over two processes by FSDP, by a real launch with the file that is shipped; it learns the same."""

import os
import shutil
import sys
from pathlib import Path

import pytest
import torch
from cli import copied, settings
from test_processes import finish, launch

from alignpro.errors import SettingsError
from alignpro.running.load import load
from alignpro.running.pieces import EVERYTHING
from alignpro.runtime import processes
from alignpro.runtime.files import read_jsonl

pytestmark = pytest.mark.timeout(900)
METHODS = ("ppo", "exo")
FSDP = ("--config_file", str(Path(__file__).parents[2] / "examples" / "fsdp.yaml"))


def half_of(run: Path, copy: Path) -> None:
    """The run as it was when one of its two steps was saved."""
    copied(run, copy)
    shutil.rmtree(copy / "prompter")
    shutil.rmtree(copy / "checkpoints" / "step-000002")


@pytest.fixture(scope="module")
def runs(workshop, tmp_path_factory):
    """Runs in one process, split over two, begun in one and ended in two, begun in two and ended in one.

    The processes' shares differ in pieces, so that one of them has to fill up.
    """
    from shared_run import train

    out, here = tmp_path_factory.mktemp("sharded"), Path.cwd()
    try:
        os.chdir(workshop)
        sys.path.insert(0, str(workshop))
        alone = {method: train(workshop, out, f"alone/{method}") for method in METHODS}
        half_of(out / "alone/ppo", out / "begun_alone/ppo")
        words = (str(Path(__file__).parents[1] / "shared_run.py"), str(workshop), str(out), *METHODS)
        code, output = finish(launch(workshop, 2, *words, "begun_alone/ppo", way=FSDP))
        assert code == 0, output
        half_of(out / "ppo", out / "begun_split/ppo")
        ended_alone = train(workshop, out, "begun_split/ppo")
    finally:
        os.chdir(here)
        sys.path.remove(str(workshop))
    return alone, ended_alone, [torch.load(out / f"process-{n}.pt") for n in (1, 2)], out


@pytest.mark.parametrize("method", METHODS)
def test_a_split_prompter_learns_what_a_whole_one_learns(runs, method):
    alone, _, both, out = runs
    assert not alone[method]["split"]
    for found in both:
        assert found[method]["split"]
        pairs = zip(alone[method]["gradients"], found[method]["gradients"], strict=True)
        assert max(float((a - b).abs().max()) for a, b in pairs) < 1e-5
        assert_same_weights(alone[method], found[method])
    rows = [read_jsonl(out / folder / method / "metrics.jsonl") for folder in (".", "alone")]
    assert len(rows[0]) == len(rows[1]) == 2
    for name in ("reward", "kl", "grad_norm", "updates"):
        assert [row[name] for row in rows[0]] == pytest.approx([row[name] for row in rows[1]], abs=2e-3), name


def test_a_checkpoint_knows_nothing_of_the_split(runs):
    alone, ended_alone, both, _ = runs
    assert both[0]["begun_alone/ppo"]["split"]
    assert not ended_alone["split"]
    assert_same_weights(alone["ppo"], both[0]["begun_alone/ppo"])
    assert_same_weights(alone["ppo"], ended_alone)


def assert_same_weights(one, other):
    apart = [(a - b).abs().mean() for a, b in zip(one["weights"], other["weights"], strict=True)]
    assert max(map(float, apart)) < 1e-5


def test_an_adapter_is_not_split(workshop, spy, monkeypatch):
    monkeypatch.setattr(processes, "is_sharded", lambda: True)
    with pytest.raises(SettingsError, match="an adapter is not split by FSDP"):
        load(settings(workshop, "reward.model=python:rewards:spy", "prompter.lora.rank=2"), EVERYTHING, for_run=True)
