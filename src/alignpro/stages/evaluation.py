"""The comparison at the end: every arm on the held-out prompts."""

from __future__ import annotations

from typing import Any

from alignpro import folder as files
from alignpro.assemble import load_other_frozen, load_trained
from alignpro.config import Settings
from alignpro.evaluate.arms import ArmResult, answering_by, run_arm, sample_rows
from alignpro.evaluate.summary import summarise
from alignpro.rng import derive
from alignpro.stages.judging import judge
from alignpro.stages.run import Run
from alignpro.train.collected import check_failures


def evaluate(run: Run) -> dict[str, Any]:
    """Run every arm on the held-out prompts with the models as saved, and write evaluation.json and samples.jsonl."""
    settings, pieces, folder = run.settings, run.pieces, run.folder
    trained = load_trained(settings, folder.prompter) if folder.trained else None
    oracle = folder.rlhf / "model"
    models = pieces.models(trained, load_other_frozen(settings, oracle) if files.holds_model(oracle) else None)
    if settings.evaluate.sampling is not None:
        models = answering_by(models, settings.evaluate.sampling)
    prompts = pieces.prompts.test[: settings.evaluate.prompts]
    seed = derive(settings.seed, "evaluate")
    files.keep_rows(folder.samples, lambda row: row["stage"] == "monitor")
    names = [n for n in arm_names(settings) if not (n == "align_pro" and trained is None)]
    arms: list[ArmResult] = []
    with run.progress.task("evaluating", len(names)) as advance:
        for number, name in enumerate(names):
            advance(number, name)
            arm = run_arm(name, models, prompts, settings, seed, settings.evaluate.responses)
            files.append_jsonl(folder.samples, sample_rows(arm, "evaluation", settings.train.steps))
            check_failures(arm.rewards, arm.failures, settings.reward.max_failed, f"arm {name}")
            arms.append(arm)
            run.stop.check()
        second = pieces.second_reward.name if pieces.second_reward else None
        summary = summarise(
            arms,
            pieces.reward.name,
            second,
            settings.evaluate.bootstrap,
            derive(seed, "bootstrap"),
        )
        advance(len(names), "")
    summary["settings"] = settings.evaluate.model_dump(mode="json")
    summary |= judge(folder, settings, pieces.judge, arms, run.progress, run.stop, summary)
    summary["cost"] |= endpoint_costs(run)
    files.write_json(folder.evaluation, summary)
    return summary


def endpoint_costs(run: Run) -> dict[str, Any]:
    """What models behind URLs have cost in this run so far, by model; nothing where there is none."""
    found = run.pieces.endpoints.report()
    return {"endpoints": found} if found else {}


def arm_names(settings: Settings) -> list[str]:
    """The arms of the settings, and of a chain every pass before the last."""
    passes = [f"pass_{number + 1}" for number in range(len(settings.prompter.before))]
    arms = settings.evaluate.arms
    return [*arms, *(name for name in passes if name not in arms)]
