"""The report of a run, read from its folder alone."""

from __future__ import annotations

from pathlib import Path

from markupsafe import Markup

from alignpro.report import comparison_sections, headroom_sections, run_sections
from alignpro.report.examples import examples
from alignpro.report.judged_examples import judged_examples
from alignpro.report.making import making
from alignpro.report.palette import looks
from alignpro.report.run_folder import read_run
from alignpro.report.templating import write_page
from alignpro.report.verdict import BASELINE, verdict


def write_report(run_dir: Path) -> Path:
    """Write `report.html` into a run's folder, from what the folder holds alone, and return its path.

    The same files give the same bytes. Raises UsageError where the folder holds nothing to report.
    """
    run = read_run(run_dir)
    evaluation = run.evaluation
    compared = (
        {name for found in (evaluation.differences, evaluation.win_rates) for d in found for name in (d.a, d.b)}
        if evaluation
        else set()
    )
    named = set(evaluation.arms) if evaluation else set()
    look = looks({sample.arm for sample in (*run.samples, *run.monitor)} | named | compared)
    answered = {sample.arm for sample in run.samples}
    reward = evaluation.reward if evaluation else "reward"
    second = evaluation.second_reward if evaluation else None
    parts = [comparison_sections.summary(run, look, verdict(run, look))]
    if evaluation:
        parts += [comparison_sections.arms(evaluation, look), comparison_sections.terms(evaluation, look)]
        parts.append(comparison_sections.differences(evaluation, look))
    parts += [headroom_sections.headroom(run), comparison_sections.spread(run, look)]
    if evaluation:
        parts.append(comparison_sections.win_rates(evaluation, look))
        if not headroom_sections.places_arms(run):
            parts.append(comparison_sections.reward_kl(evaluation, look))
    return write_page(
        run_dir / "report.html",
        "run.html",
        parts=Markup("".join(parts)),
        training=Markup(run_sections.training(run, look)),
        judged=judged_examples(run.judgements, run.samples, BASELINE),
        examples=examples(run.samples, {arm: look[arm] for arm in look if arm in answered}, reward, second),
        looks=look,
        making=making(run.name, "run", run.settings, run.environment),
    )
