"""The report of a run, read from its folder alone."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from markupsafe import Markup

from alignpro.report import arm_charts
from alignpro.report.drawing import Chart
from alignpro.report.examples import examples
from alignpro.report.headroom_charts import MARKS, HeadroomCharts, gibbs_look, headroom_charts, places_arms
from alignpro.report.judged_examples import judged_examples
from alignpro.report.making import making
from alignpro.report.palette import Looks, looks
from alignpro.report.reading import Run, read_run
from alignpro.report.standing import standing
from alignpro.report.templating import write_page
from alignpro.report.training_charts import TrainingCharts, training_charts
from alignpro.report.verdict import ADVISED, BASELINE, key_figures, verdict
from alignpro.results import Evaluation


@dataclass(frozen=True, slots=True)
class Charts:
    """The charts of the page, by where they stand; what there is nothing to draw of is empty."""

    summary: list[Chart] = field(default_factory=list)
    second: list[Chart] = field(default_factory=list)
    differences: list[Chart] = field(default_factory=list)
    spread: list[Chart] = field(default_factory=list)
    other_wins: list[Chart] = field(default_factory=list)
    plane: Markup | None = None
    headroom: HeadroomCharts | None = None
    training: TrainingCharts | None = None
    oracle: TrainingCharts | None = None


def write_report(run_dir: Path) -> Path:
    """Write `report.html` into a run's folder, from what the folder holds alone, and return its path.

    The same files give the same bytes. Raises UsageError where the folder holds nothing to report.
    """
    run = read_run(run_dir)
    evaluation = run.evaluation
    arms = _looks(run)
    answered = {sample.arm for sample in run.samples}
    return write_page(
        run_dir / "report.html",
        "run.html",
        run=run,
        evaluation=evaluation,
        looks=arms,
        arms=arm_charts.in_order(evaluation, arms) if evaluation else [],
        on_plane=[arm.name for arm, _ in arm_charts.placed_on_kl(evaluation)] if evaluation else [],
        levels=[arm.name for arm in arm_charts.level_lines(evaluation)] if evaluation else [],
        verdict=verdict(run, arms),
        charts=_charts(run, evaluation, arms),
        headroom=run.headroom,
        headroom_figures=key_figures(run.headroom) if run.headroom else (),
        advised=ADVISED,
        marks=MARKS,
        gibbs_look=gibbs_look,
        judged=judged_examples(run.judgements, run.samples, BASELINE),
        examples=examples(
            run.samples,
            {arm: look for arm, look in arms.items() if arm in answered},
            evaluation.reward if evaluation else "reward",
            evaluation.second_reward if evaluation else None,
        ),
        making=making(run.name, "run", run.settings, run.environment),
        standing=standing,
    )


def _looks(run: Run) -> Looks:
    """Looks of all arms that the folder names anywhere."""
    named = {sample.arm for sample in (*run.samples, *run.monitor)}
    named |= {arm for arm, seen in (("align_pro", run.validation), ("rlhf", run.oracle_validation)) if seen}
    if run.evaluation:
        named |= set(run.evaluation.arms)
        named |= {name for row in run.evaluation.differences for name in (row.a, row.b)}
        named |= {name for row in run.evaluation.win_rates for name in (row.a, row.b)}
    return looks(named)


def _charts(run: Run, evaluation: Evaluation | None, arms: Looks) -> Charts:
    training = training_charts(run.training, "train", "align-pro", arms, run.validation, run.monitor)
    oracle = training_charts(run.oracle_training, "rlhf", "rlhf", arms, run.oracle_validation)
    shares = evaluation is not None and evaluation.shares(evaluation.reward)
    spread = [] if shares else arm_charts.distributions(run.samples, arms)
    estimated = headroom_charts(run.headroom) if run.headroom else None
    if evaluation is None:
        return Charts(spread=spread, headroom=estimated, training=training, oracle=oracle)
    # Where an estimate of the headroom places the arms, its plane shows them.
    alone = arm_charts.placed_on_kl(evaluation) and not (run.headroom and places_arms(run.headroom, evaluation))
    return Charts(
        summary=[arm_charts.rewards(evaluation, arms), *arm_charts.wins_over_baseline(evaluation, arms)],
        second=arm_charts.second_rewards(evaluation, arms),
        differences=arm_charts.differences(evaluation, arms),
        spread=[*spread, *arm_charts.variances(evaluation, arms)],
        other_wins=arm_charts.other_wins(evaluation, arms),
        plane=arm_charts.plane(evaluation, arms) if alone else None,
        headroom=estimated,
        training=training,
        oracle=oracle,
    )
