"""The comparison at the end: every arm on the held-out prompts."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

from alignpro.evaluate import arms
from alignpro.evaluate.models import answering_by
from alignpro.evaluate.sampling import ArmResult, run_arm, sample_rows
from alignpro.evaluate.summary import summarise
from alignpro.flow.failures import check_failures
from alignpro.models import batches
from alignpro.models.fingerprint import fingerprint
from alignpro.models.local import LocalFrozenModel, LocalPrompter
from alignpro.results import Evaluation, append_rows, write
from alignpro.rng import derive
from alignpro.running.load import load_other_frozen, load_trained
from alignpro.running.opening import Run
from alignpro.running.pieces import Pieces
from alignpro.running.stages.judging import judge
from alignpro.running.stages.kept_arms import KeptArms, identity
from alignpro.running.stages.templates import best_template
from alignpro.running.stages.training import training_prompts
from alignpro.runtime import files, run_folder
from alignpro.runtime.progress import expect


def evaluate(run: Run) -> Evaluation:
    """Run every arm on the held-out prompts with the models as saved, and write evaluation.json and samples.jsonl.

    Each finished arm is kept in arms/ at once, and taken from there where a comparison by the same settings and weights
    goes on.
    """
    settings, pieces, folder = run.settings, run.pieces, run.folder
    trained = load_trained(settings, folder.prompter) if folder.trained else None
    tuned = folder.rlhf / "model"
    oracle = load_other_frozen(settings, tuned) if run_folder.holds_model(tuned) else None
    models, weights = pieces.models(trained, oracle), _weights(pieces, trained, oracle)
    if settings.evaluate.sampling is not None:
        models = answering_by(models, settings.evaluate.sampling)
    prompts = pieces.prompts.test[: settings.evaluate.prompts]
    seed = derive(settings.seed, "evaluate")
    if lost := files.keep_rows(folder.samples, lambda row: row["stage"] == "monitor", drop_damaged=True):
        run.progress.say(f"{folder.samples}: {lost} damaged lines were left out")
    wanted = [arm for arm in arms.compared(settings) if trained or not arm.trained]
    templates = arms.templates(settings)
    weights += [template.text for template in templates]
    if any(isinstance(arm, arms.BestTemplate) for arm in wanted):
        models = replace(models, best_template=best_template(run, models, templates, weights))
    kept = KeptArms(folder.arms, identity(settings, prompts, weights))
    results: list[ArmResult] = []
    keep = batches.keeping(folder.batches)
    samples = len(prompts) * settings.evaluate.responses
    texts = [samples * (1 + arm.rewrites + 2 * arm.extra_calls(settings.evaluate)) for arm in wanted]
    before = sum(1 for _ in itertools.takewhile(lambda arm: kept.get(arm.name, prompts) is not None, wanted))
    with keep as written, run.progress.task("evaluating", len(wanted), before, texts) as advance:
        for number, arm in enumerate(wanted):
            advance(number, arm.name)
            expect(1, texts[number])
            finished = kept.get(arm.name, prompts)
            sampled = finished or run_arm(arm, models, prompts, settings, seed, settings.evaluate.responses)
            append_rows(folder.samples, sample_rows(sampled, "evaluation", settings.train.steps))
            if finished is None:  # one with too many failures is not kept: it may fare better when the run goes on
                check_failures(sampled.rewards, sampled.failures, settings.reward.max_failed, f"arm {arm.name}")
            results.append(finished or kept.put(sampled))
            written()
            run.stop.check()
        second = pieces.second_reward.name if pieces.second_reward else None
        summary = summarise(
            results,
            pieces.reward.name,
            second,
            training_prompts=training_prompts(run) if trained else math.nan,
            guards=pieces.guards,
            by=settings.evaluate.by,
        )
        advance(len(wanted), "")
    summary.settings = settings.evaluate.model_dump(mode="json")
    summary = judge(run, results, summary)
    summary.cost.endpoints = dict(pieces.endpoints.report())
    write(folder.evaluation, summary)
    kept.done()
    return summary


def _weights(pieces: Pieces, trained: LocalPrompter | None, oracle: LocalFrozenModel | None) -> list[str]:
    """Digests of the models that arms are put together from; of one behind URLs its name."""
    local = [one.lm for one in (*pieces.prompters, trained, oracle) if one]
    return [pieces.frozen_weights or str(pieces.settings.frozen.model), *(fingerprint(lm.model) for lm in local)]
