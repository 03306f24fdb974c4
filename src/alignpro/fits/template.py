"""`alignpro template`: the one template to put around every prompt, and what it gains."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from alignpro.config import TEMPLATE, Settings
from alignpro.evaluate.arms import BestTemplate, NoPrompter
from alignpro.report import write_report
from alignpro.results import Evaluation, TemplateChoice, read
from alignpro.running import stages
from alignpro.running.checks import check_named
from alignpro.running.load import load
from alignpro.running.opening import open_run
from alignpro.running.pieces import EVERYTHING, Pieces
from alignpro.runtime.run_folder import RunFolder

NEEDED = {"frozen.model": "--frozen MODEL", "reward.model": "--reward MODEL", "data.prompts": "--prompts FILE"}


def find_template(
    settings: Settings | None, out: str | Path, *, resume: bool = False
) -> tuple[TemplateChoice, Evaluation]:
    """Choose a template of evaluate.templates on training prompts, and set it beside the bare prompt on test prompts,
    in `out`; no prompter is asked. What template.json and evaluation.json hold. Raises as `alignpro.run`.
    """
    if settings is not None:
        settings = alone(settings)
    stopping = "stopping after these prompts; what was sampled is kept"
    with open_run(settings, Path(out), _load, resume=resume, stopping=stopping) as run:
        run.progress.say(
            f"{run.pieces.prompts.counted}; frozen model {run.pieces.frozen.name}, reward {run.pieces.reward.name};"
            f" writing to {run.folder.path}"
        )
        summary = stages.evaluate(run)
        write_report(run.folder.path)
    found = found_in(run.folder)
    assert found is not None
    return found[0], summary


def found_in(folder: RunFolder) -> tuple[TemplateChoice, Evaluation] | None:
    """What a run has found of templates; None where it did not set the best beside the bare prompt."""
    choice, summary = read(TemplateChoice, folder.template), read(Evaluation, folder.evaluation)
    if choice is None or summary is None or not {BestTemplate.written, NoPrompter.written} <= set(summary.arms):
        return None
    return choice, summary


def alone(settings: Settings) -> Settings:
    """The settings of the choice by itself: nothing is trained, and the arms are the bare prompt and the best."""
    arms = [NoPrompter.written, f"{TEMPLATE}best"]
    return settings.model_copy(
        update={
            "train": settings.train.model_copy(update={"steps": 0}),
            "rlhf": settings.rlhf.model_copy(update={"enabled": False}),
            "headroom": settings.headroom.model_copy(update={"after_training": False}),
            "evaluate": settings.evaluate.model_copy(
                update={"arms": arms, "templates": settings.evaluate.templates_file}
            ),
        }
    )


def _load(settings: Settings, say: Callable[[str], None], kept: Path | None) -> Pieces:
    check_named(settings, NEEDED, "template", kept)
    return load(settings, EVERYTHING - {"passes", "prompter"}, say, kept=kept, for_run=True)
