"""Call the command line as a user does: a process of its own, in a folder of its own; or, faster, in this process."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from forks import Forked

from alignpro import config
from alignpro.runtime import ownership
from alignpro.runtime.consent import consent

SMALL = (
    "--threads=1",
    "--train.steps=6",
    "--train.save_every=2",
    "--train.prompts_per_step=8",
    "--train.ppo.learning_rate=1e-3",
    "--prompter.template=Better: {prompt}",  # the meta-prompt is half a thousand of the tiny models' tokens
    "--prompter.sampling.max_new_tokens=6",
    "--frozen.sampling.max_new_tokens=8",
    "--evaluate.arms=[no_prompter,reference_prompter,align_pro,gibbs_2]",
    "--evaluate.responses=2",
    "--evaluate.bootstrap=100",
    "--evaluate.every=3",
    "--evaluate.monitor_prompts=2",
)
ESTIMATE = (
    "headroom.prompts=3",
    "headroom.rewrites=12",
    "headroom.responses=2",
    "headroom.answers=12",
    "headroom.chunk=1",
    "train.kl.coef=2",
    "rlhf.kl.coef=2",
)
REWARDS = """
import math, os, signal, sys, time

def length(prompts, responses):
    return [len(r) / 10 for r in responses]

def slow(prompts, responses):
    time.sleep(0.1)
    return length(prompts, responses)

calls = 0

def stops_second_process(prompts, responses):
    global calls
    calls += 1
    if calls == 3 and os.environ.get("RANK") == "1":
        signal.raise_signal(signal.SIGINT)
    return length(prompts, responses)

def sometimes(bad):
    def score(prompts, responses):
        return [bad if "7" in p else len(r) / 10 for p, r in zip(prompts, responses)]
    return score

none, nan = sometimes(None), sometimes(math.nan)

def raises(prompts, responses):
    if any("7" in p for p in prompts):
        raise RuntimeError("the scorer tripped")
    return length(prompts, responses)

def wrong_count(prompts, responses):
    return length(prompts, responses)[:-1] if len(prompts) > 1 or "7" in prompts[0] else length(prompts, responses)

def always_none(prompts, responses):
    return [None] * len(prompts)

def leaves(prompts, responses):
    sys.exit(0)
"""


def environment(**extra: str) -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_DISABLE_TELEMETRY": "1", **extra}


def start(folder: Path, *words: str, **extra: str) -> Forked:
    """A process of its own, forked where torch and most of alignpro are imported already; `extra` is set after that."""
    return Forked(folder, words, environment(**extra))


def start_anew(folder: Path, *words: str, **extra: str) -> subprocess.Popen[str]:
    """A new Python, which imports everything for itself."""
    return subprocess.Popen(
        [sys.executable, "-m", "alignpro", *words],
        cwd=folder,
        env=environment(**extra),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def call(folder: Path, *words: str, timeout: float = 120, **extra: str) -> tuple[int, str]:
    return ended(start(folder, *words, **extra), timeout)


def call_anew(folder: Path, *words: str, timeout: float = 120, **extra: str) -> tuple[int, str]:
    return ended(start_anew(folder, *words, **extra), timeout)


def ended(process: Forked | subprocess.Popen[str], timeout: float) -> tuple[int, str]:
    """Exit code, and all that it printed."""
    try:
        output, _ = process.communicate(timeout=timeout)
    finally:
        process.kill()
    return process.wait(), output


def models(folder: Path) -> list[str]:
    """Options that name the tiny models, the prompts, those to watch training by, and a reward in `folder`."""
    return [
        f"--prompter={folder / 'prompter'}",
        f"--frozen={folder / 'frozen'}",
        "--reward=python:rewards:length",
        f"--prompts={folder / 'prompts.txt'}",
        f"--data.validation={folder / 'watched.txt'}",
    ]


def settings(folder: Path, *more: str) -> config.Settings:
    """The same as settings of a small run, for calls within this process."""
    names = {
        "prompter": "prompter.model",
        "frozen": "frozen.model",
        "reward": "reward.model",
        "prompts": "data.prompts",
    }
    given = [word.removeprefix("--").split("=", 1) for word in models(folder)]
    small = [word.removeprefix("--") for word in SMALL]
    return config.load("local", [*(f"{names.get(name, name)}={value}" for name, value in given), *small, *more])


class Spy:
    """A reward by length that notes what it scores, and can ask the process to stop at one of its calls."""

    def __init__(self) -> None:
        self.scored: list[tuple[str, str]] = []
        self.calls = 0
        self.stop_at = 0

    def __call__(self, prompts: Sequence[str], responses: Sequence[str]) -> list[float]:
        self.scored += zip(prompts, responses, strict=True)
        self.calls += 1
        if self.calls == self.stop_at:
            signal.raise_signal(signal.SIGINT)
        return [len(response) / 10 for response in responses]

    @property
    def prompts(self) -> set[str]:
        return {prompt for prompt, _ in self.scored}


def copied(run: Path, to: Path) -> Path:
    """A copy of a run's folder that the user has said is his own too."""
    shutil.copytree(run, to)
    with consent(trust=True):
        ownership.check(to)
    return to
