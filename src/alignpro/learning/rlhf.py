"""`alignpro rlhf`: the oracle by itself, the frozen model fine-tuned on the same reward, with no prompter at all."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from alignpro import folder as files
from alignpro import stages
from alignpro.assemble import Pieces, check_lengths, prompts_of
from alignpro.config import Settings
from alignpro.interrupt import StopRequest
from alignpro.learning.opening import open_job
from alignpro.models.local import LocalPrompter, device_of, load_frozen
from alignpro.report import write_report
from alignpro.rewards import load_reward
from alignpro.rewards.functions import load_function
from alignpro.stages import Run

NEEDED = {"frozen.model": "--frozen MODEL", "reward.model": "--reward MODEL", "data.prompts": "--prompts FILE"}
ARMS = ["no_prompter", "rlhf"]


def fine_tune(settings: Settings | None, out: str | Path, *, resume: bool = False) -> dict[str, Any]:
    """Train the oracle in `out`, compare it with the frozen model as it is, report; returns what evaluation.json holds.

    The model is rlhf/model/, a plain Hugging Face model; its metrics and checkpoints lie beside it. Raises as
    `alignpro.run`.
    """
    begun = time.perf_counter()
    if settings is not None:
        settings = alone(settings)
    opened = open_job(settings, Path(out), resume, "rlhf", NEEDED, _load)
    opened.progress.say(
        f"{len(opened.loaded.prompts.train)} training and {len(opened.loaded.prompts.test)} test prompts; frozen model"
        f" {opened.loaded.frozen.name}, reward {opened.loaded.reward.name}; writing to {opened.folder.path}"
    )
    with StopRequest("finishing this step and saving") as stop:
        run = Run(opened.folder, opened.loaded, opened.progress, stop)
        stages.train_rlhf(run)
        summary = stages.evaluate(run)
        write_report(opened.folder.path)
    asked = int(files.read_jsonl(opened.folder.rlhf / "metrics.jsonl")[-1]["frozen_calls"])
    opened.progress.say(
        f"done in {time.perf_counter() - begun:.0f} s; cost: {asked:,} answers in training,"
        f" {int(summary['cost']['frozen_calls']):,} in evaluation"
    )
    return summary


def alone(settings: Settings) -> Settings:
    """The settings of the oracle by itself: it is enabled, and the arms are those that need no prompter."""
    return settings.model_copy(
        update={
            "prompter": settings.prompter.model_copy(update={"model": None, "before": []}),
            "rlhf": settings.rlhf.model_copy(update={"enabled": True}),
            "evaluate": settings.evaluate.model_copy(update={"arms": ARMS}),
        }
    )


def _load(settings: Settings, say: Callable[[str], None]) -> Pieces:
    prompts = prompts_of(settings.data, settings.seed)
    judge = settings.evaluate.judge
    second = load_function(judge, "evaluate.judge") if judge else None
    device = device_of(settings.device)
    reward = load_reward(settings.reward, device, settings.dtype)
    frozen = load_frozen(settings.frozen, device, settings.dtype)
    check_lengths(frozen.lm, (*prompts.train, *prompts.test), "frozen", say)
    for reason, count in prompts.dropped.items():
        say(f"{count} prompts left out: {reason}")
    unused = LocalPrompter(frozen.lm)  # no arm asks for it
    return Pieces(settings, prompts, unused, (), frozen, reward, second)
