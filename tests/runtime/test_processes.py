"""Several processes share a run, by a real launch on this machine or told of one another as a launcher tells them; the
run is that of one process."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from cli import SMALL, ended, environment, models, start

from alignpro.errors import UsageError
from alignpro.runtime import processes
from alignpro.runtime.files import read_jsonl

pytestmark = pytest.mark.timeout(900)
METHODS = ("ppo", "rloo", "grpo", "exo")


def launch(folder: Path, count: int, *words: str, way: tuple[str, ...] = ("--multi_gpu",)) -> subprocess.Popen[str]:
    here = Path(__file__).parents[1]
    path = os.pathsep.join([str(here.parent / "src"), str(here), *filter(None, [os.environ.get("PYTHONPATH")])])
    fixed = ("--num_machines=1", "--mixed_precision=no", "--dynamo_backend=no", "--main_process_port=0")
    return subprocess.Popen(
        [sys.executable, "-m", "accelerate.commands.launch", *way, f"--num_processes={count}", *fixed, *words],
        cwd=folder,
        env=environment(PYTHONPATH=path, CUDA_VISIBLE_DEVICES=""),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def launch_commands(folder: Path, count: int, *words: str) -> tuple[list[int], str]:
    """`alignpro` in several processes that know of one another as torchrun and clusters tell it; exit codes, and what
    all of them printed."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    told = {"WORLD_SIZE": f"{count}", "LOCAL_WORLD_SIZE": f"{count}", "CUDA_VISIBLE_DEVICES": ""}
    told |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": f"{port}"}
    begun = [start(folder, *words, **told, RANK=f"{n}", LOCAL_RANK=f"{n}") for n in range(count)]
    codes, outputs = zip(*(ended(process, 600) for process in begun), strict=True)
    return list(codes), "".join(outputs)


def finish(process: subprocess.Popen[str]) -> tuple[int, str]:
    try:
        output, _ = process.communicate(timeout=600)
    finally:
        process.kill()
    return process.returncode, output


@pytest.fixture(scope="module")
def both(workshop, tmp_path_factory):
    """What every method learnt in one process, and in each of two."""
    from shared_run import train

    out = tmp_path_factory.mktemp("shared")
    here = Path.cwd()
    process = launch(workshop, 2, str(Path(__file__).parents[1] / "shared_run.py"), str(workshop), str(out), *METHODS)
    try:
        os.chdir(workshop)
        sys.path.insert(0, str(workshop))
        alone = {method: train(workshop, out / "alone", method) for method in METHODS}
    finally:
        os.chdir(here)
        sys.path.remove(str(workshop))
    code, output = finish(process)
    assert code == 0, output
    return alone, [torch.load(out / f"process-{n}.pt") for n in (1, 2)], out


@pytest.mark.parametrize("method", METHODS)
def test_two_processes_learn_what_one_learns(both, method):
    alone, shared, out = both
    first = alone[method]["gradients"]
    assert max(float(g.abs().max()) for g in first) > 1e-3
    for found in shared:
        for what in ("gradients", "weights"):
            apart = [(a - b).abs() for a, b in zip(alone[method][what], found[method][what], strict=True)]
            assert max(float(d.mean() if what == "weights" else d.max()) for d in apart) < 1e-5, what
    rows = [read_jsonl(out / where / method / "metrics.jsonl") for where in ("", "alone")]
    assert len(rows[0]) == len(rows[1]) == 2
    assert rows[0][-1]["frozen_calls"] == rows[1][-1]["frozen_calls"]
    assert sum(row["failed"] for row in rows[0]) > 0
    for name in ("reward", "kl", "kl_coef", "action_tokens", "failed", "updates"):
        assert [row[name] for row in rows[0]] == pytest.approx([row[name] for row in rows[1]], abs=2e-3), name


def test_stopped_in_three_processes_gone_on_with_in_one_it_ends_where_one_does(workshop, trained, tmp_path, inside):
    words = [*models(workshop), *SMALL, "--reward=python:rewards:stops_second_process", f"--out={tmp_path / 'run'}"]
    codes, output = launch_commands(workshop, 3, "run", *words)
    assert 0 not in codes
    assert output.count("alignpro: stopped after step 2 of 6; everything so far is saved") == 1, output
    assert output.count("3 processes of 1 threads") == 1
    code, output = inside("run", "--resume", f"--out={tmp_path / 'run'}")
    assert code == 0, output
    assert "resumed after step" in output
    rows = [read_jsonl(folder / "metrics.jsonl") for folder in (tmp_path / "run", trained)]
    assert [row["step"] for row in rows[0]] == [1, 2, 3, 4, 5, 6]
    for name in ("reward", "kl", "frozen_calls"):
        assert [row[name] for row in rows[0]] == pytest.approx([row[name] for row in rows[1]], abs=2e-3), name


def test_a_whole_run_is_evaluated_together_and_told_once(workshop, trained, tmp_path):
    words = [*models(workshop), *SMALL, f"--out={tmp_path / 'run'}"]
    codes, output = launch_commands(workshop, 2, "run", *words)
    assert codes == [0, 0], output
    assert output.count("report:") == output.count("done in") == 1
    found, alone = (json.loads((folder / "evaluation.json").read_text()) for folder in (tmp_path / "run", trained))
    assert set(found["arms"]) == set(alone["arms"])
    for name in set(alone["arms"]) - {"align_pro"}:  # sums in another order end in other weights, and at times tokens
        assert found["arms"][name]["mean_reward"] == pytest.approx(alone["arms"][name]["mean_reward"], abs=1e-6)
    trained_arms = [one["arms"]["align_pro"] for one in (found, alone)]
    assert trained_arms[0]["frozen_calls"] == trained_arms[1]["frozen_calls"] > 0
    assert found["cost"] == alone["cost"]
    codes, output = launch_commands(workshop, 2, "run", *words)
    assert 0 not in codes
    assert output.count("holds another run") == 1, output


def test_a_launch_that_cannot_be_followed_is_refused(monkeypatch):
    monkeypatch.setenv("ACCELERATE_USE_CPU", "True")
    monkeypatch.setenv("MASTER_PORT", "29500")
    with pytest.raises(UsageError, match="--multi_gpu --num_processes"):
        processes.begin()
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    monkeypatch.setenv("FSDP_VERSION", "1")
    with pytest.raises(UsageError, match="fsdp_version 1, and only 2"):
        processes.begin()
    monkeypatch.setenv("ACCELERATE_USE_DEEPSPEED", "true")
    with pytest.raises(UsageError, match="splits the model by DEEPSPEED"):
        processes.begin()
