"""`alignpro rlhf`: the oracle by itself, the frozen model fine-tuned on the same reward, with no prompter at all."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from alignpro.config import Settings
from alignpro.errors import SettingsError
from alignpro.remote.address import is_elsewhere
from alignpro.report import write_report
from alignpro.results import Evaluation, Step, read_rows
from alignpro.running import stages
from alignpro.running.checks import check_named
from alignpro.running.load import load
from alignpro.running.opening import open_run
from alignpro.running.pieces import EVERYTHING, Pieces
from alignpro.runtime.trackers import tracking

NEEDED = {"frozen.model": "--frozen MODEL", "reward.model": "--reward MODEL", "data.prompts": "--prompts FILE"}
ARMS = ["no_prompter", "rlhf"]


def fine_tune(settings: Settings | None, out: str | Path, *, resume: bool = False) -> Evaluation:
    """Train the oracle in `out`, compare it with the frozen model as it is, report; returns what evaluation.json holds.

    The model is rlhf/model/, a plain Hugging Face model; its metrics and checkpoints lie beside it. Raises as
    `alignpro.run`.
    """
    begun = time.perf_counter()
    if settings is not None:
        settings = alone(settings)
    with open_run(settings, Path(out), _load, resume=resume, stopping="finishing this step and saving") as run:
        run.progress.say(
            f"{run.pieces.prompts.counted}; frozen model {run.pieces.frozen.name}, reward {run.pieces.reward.name};"
            f" writing to {run.folder.path}"
        )
        with tracking(run.settings, run.folder.path, run.progress.say) as track:
            stages.train_rlhf(run, track.log)
            summary = stages.evaluate(run)
            track.summary = summary.figures()
            write_report(run.folder.path)
    asked = int(read_rows(Step, run.folder.rlhf / "metrics.jsonl")[-1].frozen_calls)
    run.progress.say(
        f"done in {time.perf_counter() - begun:.0f} s; cost: {asked:,} answers in training,"
        f" {int(summary.cost.frozen_calls):,} in evaluation"
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


def _load(settings: Settings, say: Callable[[str], None], kept: Path | None) -> Pieces:
    check_named(settings, NEEDED, "rlhf", kept)
    if not settings.rlhf.steps:
        raise SettingsError("rlhf.steps is 0, so that nothing would be fine-tuned; set it to 1 or more")
    if is_elsewhere(str(settings.frozen.model)):
        raise SettingsError(
            f"frozen.model {settings.frozen.model}: the oracle is fine-tuned, so its weights must be here"
        )
    return load(settings, EVERYTHING - {"passes", "prompter", "prompt_terms"}, say, kept=kept, for_run=True)
