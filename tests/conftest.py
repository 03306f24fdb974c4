"""Fixtures that several rooms share."""

from __future__ import annotations

import functools
import importlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

os.environ["ALIGNPRO_STATE"] = tempfile.mkdtemp(prefix="alignpro-state-")  # of the tests alone, workers have their own
os.environ["ALIGNPRO_CACHE"] = tempfile.mkdtemp(prefix="alignpro-cache-")
os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"  # transformers' bars over shards too, here and in processes begun
os.environ["OMP_NUM_THREADS"] = "1"

import forks
import pytest
from markupsafe import Markup

if TYPE_CHECKING:  # imported where they are used, since the process that hands tests to workers runs none
    import torch
    from cli import Spy

LONGEST = (
    "test_methods.py",
    "test_processes.py",
    "test_bad_input.py",
    "test_api.py",
    "test_cli.py",
    "test_paper_run.py",
    "test_own_models.py",
)
"""Files that take longest, which begin first, so that several workers end together."""

DRAWING = {"report", "paper", "theory", "test_shares_in_a_run.py"}
"""Folders and files whose tests look at what is drawn."""

DRAWS = (("drawing", "_svg", "<svg ></svg>"), ("training_charts", "_over_steps", Markup("<svg ></svg>")))
"""Modules of the report, their functions that draw, and what those give elsewhere."""


def pytest_configure(config: pytest.Config) -> None:
    if hasattr(config.option, "loadscopereorder"):
        config.option.loadscopereorder = False  # xdist would begin with the files of most tests
    if not hasattr(config, "workerinput"):
        at = Path(tempfile.mkdtemp(prefix="alignpro-forks-")) / "socket"
        os.environ[forks.AT] = str(at)  # for the workers too
        server = subprocess.Popen([sys.executable, forks.__file__, str(at)])
        config.add_cleanup(lambda: (server.kill(), server.wait(), shutil.rmtree(at.parent)))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    import torch

    torch.set_num_threads(1)
    rank = {name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: rank.get(item.path.name, len(LONGEST)))


@pytest.hookimpl(tryfirst=True)  # before fixtures of modules and of the session too
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Charts of runs in this process are made and not drawn, those of training not even made, half of a small run's
    time: tests/report draws every kind of them, and runs in processes of their own draw theirs."""
    for where, name, nothing in DRAWS:
        if module := sys.modules.get(f"alignpro.report.{where}"):
            drawn = _drawn(module, name)
            module.__dict__[name] = (lambda *_, n=nothing: n) if DRAWING.isdisjoint(item.path.parts) else drawn


@functools.cache
def _drawn(module: ModuleType, name: str) -> Callable[..., str]:
    """What draws, as it is first seen."""
    drawn: Callable[..., str] = module.__dict__[name]
    return drawn


@pytest.fixture(params=["gemma", "llama", "phi3", "qwen2"])
def any_model(request: pytest.FixtureRequest) -> torch.nn.Module:
    from tiny import make_model

    return make_model(request.param)


@pytest.fixture(scope="session")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two tiny models of different classes, prompts, and rewards of every temper."""
    from cli import REWARDS
    from tiny import save_model

    folder = tmp_path_factory.mktemp("workshop")
    save_model(folder / "prompter", "llama", seed=1)
    save_model(folder / "frozen", "qwen2", seed=2)
    numbers = (*range(8), 17, 37, 47, 57, 67, 70, 71, 72, 10, 27, 46, 52)  # seed 0 holds out the last four
    (folder / "prompts.txt").write_text("".join(f"tell me about thing {i}\n" for i in numbers))
    (folder / "watched.txt").write_text("".join(f"tell me about thing {i}\n" for i in range(80, 85)))
    (folder / "rewards.py").write_text(REWARDS)
    return folder


@pytest.fixture(scope="session")
def trained(workshop: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of six steps; tests that change it take a copy."""
    from cli import SMALL, call, models

    out = tmp_path_factory.mktemp("trained") / "run"
    code, output = call(workshop, "run", *models(workshop), *SMALL, f"--out={out}")
    assert code == 0, output
    return out


@pytest.fixture
def spy(workshop: Path, monkeypatch: pytest.MonkeyPatch) -> Spy:
    """The reward `python:rewards:spy`, with the workshop as the working folder."""
    from cli import Spy

    found = Spy()
    monkeypatch.chdir(workshop)
    monkeypatch.syspath_prepend(workshop)
    monkeypatch.setattr(importlib.import_module("rewards"), "spy", found, raising=False)
    return found


@pytest.fixture
def inside(
    workshop: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str]]:
    """Call the command line within this process, from the workshop: exit code, and what it printed."""
    from alignpro import cli
    from alignpro.runtime.interrupt import SIGNALS

    monkeypatch.chdir(workshop)

    def call(*words: str) -> tuple[int, str]:
        capfd.readouterr()
        monkeypatch.setattr(sys, "argv", ["alignpro", *words])
        own = {number: signal.getsignal(number) for number in SIGNALS}
        with pytest.raises(SystemExit) as ended:
            cli.main()
        for number, handler in own.items():  # those of a command that failed end its process
            signal.signal(number, handler)
        printed = capfd.readouterr()
        code = ended.value.code
        return (code if isinstance(code, int) else 0), printed.out + printed.err

    return call
