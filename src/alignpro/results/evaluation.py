"""evaluation.json: the comparison of arms, and the rows of the files beside it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

from pydantic import Field, field_validator

from alignpro.remote import accounting
from alignpro.results.asked import Asked
from alignpro.results.base import (
    Document,
    Interval,
    Keys,
    Named,
    Number,
    Numbers,
    Plain,
    PromptId,
    Result,
    RewardName,
    Rows,
    Text,
    number,
)
from alignpro.results.estimate import UNKNOWN, Estimate
from alignpro.results.show import Table
from alignpro.results.words import told

SHARE = "share"
"""The kind of a mean of rewards that are 0 or 1 in all arms."""


class Mean(Result):
    """Mean over prompts; `kind` is "share" where it is one."""

    kind: Text = ""
    mean: Annotated[Estimate, Keys("mean", "ci95")]


class SecondReward(Mean):
    """An arm under the reward that training did not see."""

    variance: Annotated[Estimate, Keys("variance")]


class Arm(Result):
    """One way of answering the prompts; `kl` is None for an arm that has none, `name` is its key in the file, `kind` is
    "share" where its rewards are 0 or 1, and `template` the text around every prompt, if there is one. `rejected` is
    the share of its rewrites that guards reject, None where it writes none, and `rejected_by` how many each does."""

    name: Text = Field(default="", exclude=True)
    kind: Text = ""
    template: Text = ""
    reward: Annotated[Estimate, Keys("mean_reward", "ci95")]
    variance: Annotated[Estimate, Keys("reward_variance")]
    variance_between: Annotated[Estimate, Keys("variance_between_prompts")]
    variance_within: Annotated[Estimate, Keys("variance_within_prompts")]
    kl: Annotated[Estimate | None, Keys("kl_to_reference")]
    frozen_calls: Number
    failed: Number
    failures: Numbers = {}
    reward_terms: Named[Mean] = {}
    prompt_terms: Named[Mean] = {}
    prompt_bonus: Annotated[Estimate | None, Keys("prompt_bonus")] = None
    second_reward: SecondReward | None
    response_words: Annotated[Estimate, Keys("mean_response_words")]
    rewrite_words: Annotated[Estimate | None, Keys("mean_rewrite_words")]
    rejected: Annotated[Estimate | None, Keys("rejected_share")] = None
    rejected_by: Numbers = {}

    @property
    def second(self) -> Estimate:
        """Mean second reward."""
        return self.second_reward.mean if self.second_reward else UNKNOWN


class Difference(Result):
    """Mean of `a` minus mean of `b` under `reward`, paired by prompt; `kind` is "share" for one of shares."""

    a: Text
    b: Text
    reward: Text
    kind: Text = ""
    mean: Annotated[Estimate, Keys("mean_difference", "ci95")]


class Group(Result):
    """An arm on those test prompts whose column `by` holds `group`; `gain` over the first arm is paired by prompt, and
    None for that arm itself."""

    by: Text
    group: Text
    prompts: Number
    arm: Text
    kind: Text = ""
    reward: Annotated[Estimate, Keys("mean_reward", "ci95")]
    gain: Annotated[Estimate | None, Keys("gain_over_first", "gain_over_first_ci95")] = None


class LengthControlled(Result):
    """The win rate at equal length in characters; `withheld` says why there is none."""

    rate: Annotated[Estimate, Keys("win_rate", "ci95")]
    withheld: Text | None


class WinRate(Result):
    """`a` against `b` before `judge`: counts won, tied and lost, with intervals of their shares; lengths in words.

    `accuracy` is the paired difference of their shares of right answers before a judge that scores 0 or 1, of whom most
    comparisons tie.
    """

    a: Text
    b: Text
    judge: Text
    win: Number
    tie: Number
    loss: Number
    rate: Annotated[Estimate, Keys("win_rate", "ci95")]
    win_ci95: Interval
    tie_ci95: Interval
    loss_ci95: Interval
    length_controlled: LengthControlled
    order_consistency: Annotated[Estimate, Keys("order_consistency")]
    unparsed: Number
    unparsed_reasons: Numbers = {}
    length_difference: Annotated[Estimate, Keys("mean_length_difference")]
    accuracy: Annotated[Estimate | None, Keys("accuracy_difference")] = None

    @property
    def judged(self) -> float:
        """Comparisons that have a verdict."""
        return self.win + self.tie + self.loss

    @property
    def shares(self) -> tuple[Estimate, Estimate, Estimate]:
        """Won, tied and lost, as shares of what was judged."""
        counts = ((self.win, self.win_ci95), (self.tie, self.tie_ci95), (self.loss, self.loss_ci95))
        won, tied, lost = (Estimate(count / (self.judged or math.nan), *ci95) for count, ci95 in counts)
        return won, tied, lost

    def mirrored(self) -> WinRate:
        """The same comparison with `b` first."""
        controlled = self.length_controlled
        return WinRate(
            a=self.b,
            b=self.a,
            judge=self.judge,
            win=self.loss,
            tie=self.tie,
            loss=self.win,
            rate=self.rate.mirrored(total=1.0),
            win_ci95=self.loss_ci95,
            tie_ci95=self.tie_ci95,
            loss_ci95=self.win_ci95,
            length_controlled=LengthControlled(rate=controlled.rate.mirrored(total=1.0), withheld=controlled.withheld),
            order_consistency=self.order_consistency,
            unparsed=self.unparsed,
            unparsed_reasons=self.unparsed_reasons,
            length_difference=self.length_difference.mirrored(),
            accuracy=self.accuracy and self.accuracy.mirrored(),
        )


class JudgeCost(Result):
    """Replies of a language model that judged, and their tokens."""

    answers: Number
    input_tokens: Number
    output_tokens: Number


class Spent(Result):
    """The accounts of models behind URLs."""

    endpoints: Named[Plain] = {}

    @property
    def spent(self) -> str:
        """In words, what they have cost; empty where there was none."""
        return accounting.costs_in_words({model: _known(books) for model, books in self.endpoints.items()})


class Cost(Spent):
    """Answers asked of the frozen model besides, and what a language model that judged has answered."""

    frozen_calls: Number
    judge: JudgeCost | None = None
    seconds: Number = math.nan


def _known(books: Mapping[str, Any]) -> dict[str, float | None]:
    told = {name: number(books.get(name)) for name in accounting.TOLD}
    return {name: None if math.isnan(amount) else amount for name, amount in told.items()}


class Evaluation(Document):
    """The comparison of arms on held-out prompts; every interval is one over prompts, at 95%.

    `training_prompts` are the different prompts that trained the prompter, nan where none was trained; `judges` holds
    by name what each judge was asked with, and `settings` what the comparison was made with.
    """

    again: ClassVar[str] = "sample its answers again by `alignpro evaluate FOLDER`"

    reward: RewardName
    second_reward: Text | None
    prompts: Number
    responses_per_prompt: Number
    training_prompts: Number
    arms: Named[Arm]
    differences: Rows[Difference]
    win_rates: Rows[WinRate]
    groups: Rows[Group] = ()
    cost: Cost
    settings: Plain = {}
    judges: Named[Plain] = {}

    @field_validator("arms")
    @classmethod
    def _each_arm_has_its_name(cls, arms: dict[str, Arm]) -> dict[str, Arm]:
        for name, arm in arms.items():
            arm.name = name
        return arms

    def difference(self, a: str, b: str, reward: str) -> Estimate:
        """Mean of `a` minus mean of `b` under `reward`, whichever way round it was written; nan where it was not."""
        for row in self.differences:
            if row.reward == reward and {row.a, row.b} == {a, b}:
                return row.mean if row.a == a else row.mean.mirrored()
        return UNKNOWN

    def shares(self, reward: str | None) -> bool:
        """Whether means of `reward` are shares of right answers."""
        first = reward == self.reward
        kinds = [
            arm.kind if first else arm.second_reward.kind if arm.second_reward else "" for arm in self.arms.values()
        ]
        return SHARE in kinds

    def heading(self, reward: str) -> str:
        """What stands over the arms' means of `reward`."""
        name = "mean reward" if reward == self.reward else "second reward"
        return f"{'accuracy' if self.shares(reward) else name} ({reward})"

    def wins_over(self, a: str, b: str) -> list[WinRate]:
        """Win rates of `a` over `b`, those of a judge other than the training reward first."""
        rows = [row if row.a == a else row.mirrored() for row in self.win_rates if {row.a, row.b} == {a, b}]
        return sorted(rows, key=lambda row: row.judge == self.reward)

    def __repr__(self) -> str:
        means = ", ".join(f"{name} {told(arm.reward)}" for name, arm in self.arms.items())
        return f"Evaluation({self.prompts} prompts; {self.reward}: {means})"

    def _table(self) -> Table:
        heads = ["arm", self.heading(self.reward), "KL to reference, nats", "words of an answer"]
        heads += [self.heading(self.second_reward)] if self.second_reward else []
        rows = [
            (name, [arm.reward, arm.kl, arm.response_words, *([arm.second] if self.second_reward else [])])
            for name, arm in self.arms.items()
        ]
        return Table(f"{self.prompts} test prompts, {self.responses_per_prompt} answers each", heads, rows)

    def figures(self) -> dict[str, float]:
        """Every number of the arms, and the win rates, by name, for trackers."""
        numbers = {f"{name}/{key}": value for name, arm in self.arms.items() for key, value in arm.tree().items()}
        numbers |= {f"{row.a}/win_rate_over_{row.b}": row.rate.value for row in self.win_rates}
        numbers |= {f"{row.a}/accuracy_over_{row.b}": row.accuracy.value for row in self.win_rates if row.accuracy}
        return {name: float(value) for name, value in numbers.items() if math.isfinite(number(value))}


class Sample(Asked):
    """A row of samples.jsonl: x, x', y and its rewards at a stage (evaluation, or monitor in training); where x has
    them, its system message, earlier turns and the other columns of its row."""

    stage: Text
    step: Number
    arm: Text
    prompt_id: PromptId
    rewrite: Text
    response: Text
    reward: Number
    second_reward: Number
    finish: Text
    failure: Text | None
    reward_terms: Numbers = {}
    prompt_terms: Numbers = {}


class Step(Result):
    """A row of metrics.jsonl; its further columns are the method's."""

    step: Number
    frozen_calls: Number
    seconds: Number
