"""methods.json, agreement.json and paper.json: methods side by side, a judge beside people, the paper's tables."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import BeforeValidator, Field

from alignpro.results.base import Document, Figure, Keys, Named, Number, Numbers, Result, Rows, Text, number
from alignpro.results.estimate import Estimate
from alignpro.results.evaluation import JudgeCost, Spent
from alignpro.results.show import Table


def _numbers(value: object) -> tuple[float, ...]:
    return tuple(number(item) for item in value) if isinstance(value, (list, tuple)) else ()


class OverSeeds(Result):
    """A mean over seeds with Student's t interval, and the value of each seed."""

    mean: Annotated[Estimate, Keys("value", "ci95")]
    values: Annotated[tuple[float, ...], BeforeValidator(_numbers)]


class Method(Result):
    """What a method reached, and the answers of the frozen model it spent: in training, and for each prompt after."""

    method: Text
    training_calls: Number
    calls_per_prompt: Number
    reward: OverSeeds
    kl: OverSeeds
    objective: OverSeeds
    seconds: Number | None


class Methods(Document):
    """Methods over seeds on the same test prompts."""

    again: ClassVar[str] = "delete it and give the same `alignpro compare` command again"

    kl_coef: Number
    seeds: Number
    prompts: Number
    methods: Rows[Method]
    cost: Spent | None = None

    def _table(self) -> Table:
        rows = [(row.method, [row.objective.mean, row.reward.mean, row.kl.mean]) for row in self.methods]
        title = f"{self.seeds} seeds, kl_coef {self.kl_coef:g}, {self.prompts} test prompts"
        return Table(title, ["method", "objective", "reward", "KL, nats"], rows)


class Agreement(Result):
    """Share of verdicts that are the same, and Cohen's kappa, over so many that were compared."""

    agreement: Annotated[Estimate, Keys("agreement")]
    kappa: Annotated[Estimate, Keys("kappa")]
    compared: Number


class JudgeAgreement(Document):
    """How a judge agrees with people, beside how they agree with each other; `notes` are lines for the user."""

    again: ClassVar[str] = "delete it and give the same `alignpro judge --agreement` command again"

    judge: Text
    pairs: Number
    prompts: Number
    annotators: Number
    without_majority: Number
    unparsed: Number
    unparsed_reasons: Numbers
    verdicts: Numbers
    position_consistency: Annotated[Estimate, Keys("position_consistency")]
    with_majority: Agreement
    with_majority_where_neither_ties: Agreement
    with_one_person: Agreement
    people: Agreement
    cost: JudgeCost | None = None
    notes: tuple[str, ...] = Field(default=(), exclude=True)


class Wins(Result):
    """Table 1 of one cell: shares won, tied and lost by Align-Pro against no prompter."""

    judge: Text
    judged: Number
    unparsed: Number
    win: Figure | None = None
    tie: Figure | None = None
    loss: Figure | None = None
    win_rate: Figure


class Gains(Result):
    """Mean of Align-Pro less that of no prompter, paired by prompt, under both rewards."""

    reward: Figure | None
    second_reward: Figure | None


class PaperArm(Result):
    """A configuration of Figures 2 and 3, under both rewards."""

    reward: Figure
    variance: Figure
    second_reward: Figure
    second_variance: Figure


class CellCost(Result):
    """Answers asked of the frozen model, and seconds of training; an oracle that was taken costs nothing here."""

    frozen_calls: Number
    oracle_calls: Number
    training_seconds: Number
    oracle_taken: bool


class CellModel(Result):
    """A model of a cell, and what the grid calls it."""

    label: Text
    model: Text | None


class CellData(Result):
    """The data of a cell, and what the grid calls it."""

    label: Text
    prompts: Text | None


class Published(Result):
    """Percent won and lost by Align-Pro in the paper's Table 1."""

    win: Number
    loss: Number


class PaperCell(Result):
    """One cell of the grid, done or not: what is missing is None."""

    cell: Text
    state: Text
    prompter: CellModel
    frozen: CellModel
    data: CellData
    paper: Published
    reward: Text | None
    second_reward: Text | None
    prompts: Number | None
    table1: Wins | None
    gains: Gains | None
    arms: Named[PaperArm] | None
    cost: CellCost | None


class Claim(Result):
    """In how many cells a claim of the paper holds, in how many its interval says so, and of how many."""

    claim: Text
    holds: Number
    certain: Number | None
    of: Number


class GridCost(Result):
    """What the grid took: answers of frozen models and of oracles in training, and time."""

    frozen_calls: Number
    oracle_calls: Number
    seconds: Number | None
    cpu_seconds: Number | None
    sessions: Number


class Paper(Document):
    """The grid: shares and rates are between 0 and 1; intervals are 95%, over prompts."""

    again: ClassVar[str] = "give the same `alignpro paper` command again, which writes it anew"

    scale: Text
    cells: Rows[PaperCell]
    claims: Rows[Claim]
    cost: GridCost
