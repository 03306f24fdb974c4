"""comparison.json: finished runs side by side."""

from __future__ import annotations

from typing import Annotated, ClassVar

from alignpro.results.base import Document, Keys, Named, Number, Plain, Result, Rows, Text
from alignpro.results.estimate import Estimate
from alignpro.results.evaluation import Evaluation
from alignpro.results.show import Table


class RunDifference(Result):
    """Mean reward of an arm in run `b` less that in run `a`, under `reward`.

    Paired by prompt over the `prompts` that both were tested on, or, where `paired` is false, each run over its own.
    """

    arm: Text
    a: Text
    b: Text
    reward: Text
    paired: bool
    prompts: Number
    mean: Annotated[Estimate, Keys("mean_difference", "ci95")]


class SideBySide(Document):
    """Runs by name with what evaluation.json holds of each, the settings in which they differ (by dotted name, each
    run's value), how their arms differ from the first run's, and `notes` on what could not be compared."""

    again: ClassVar[str] = "make it again by `alignpro compare FOLDER FOLDER --out DIR`"

    runs: Named[Evaluation]
    settings: Named[Plain]
    differences: Rows[RunDifference]
    notes: list[str] = []

    @property
    def mean(self) -> str:
        """What the arms' means are called: accuracy where every run's rewards are 0 or 1."""
        shares = {run.shares(run.reward) for run in self.runs.values()}
        return "accuracy" if shares == {True} else "mean reward"

    def _table(self) -> Table:
        rows = [
            (f"{arm.name}, {run}", [arm.reward, arm.kl])
            for run, evaluation in self.runs.items()
            for arm in evaluation.arms.values()
        ]
        title = f"{len(self.runs)} runs side by side"
        return Table(title, ["arm, run", self.mean, "KL to reference, nats"], rows, " ".join(self.notes))
