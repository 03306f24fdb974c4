"""headroom.json: what there is to gain, by what, and how sure that is. None is a figure that was withheld."""

from __future__ import annotations

import math
from typing import Annotated, ClassVar

from alignpro.results.base import Document, Figure, Flag, Keys, Named, Number, Result, RewardName, Rows, Text
from alignpro.results.estimate import Estimate
from alignpro.results.evaluation import SHARE, Cost, Mean
from alignpro.results.show import Row, Table


class Reward(Result):
    """Mean reward of a prompter."""

    reward: Annotated[Estimate, Keys("reward", "ci95")]


class Sampled(Reward):
    """Of a prompter that is sampled: also the means of the terms that its reward is made of."""

    reward_terms: Named[Mean] = {}


class Placed(Reward):
    """A prompter with a place in the plane of reward against KL to the reference, in nats."""

    kl: Annotated[Estimate, Keys("kl")]

    @property
    def placed(self) -> bool:
        """Whether it has one: both figures are defined."""
        return self.reward.defined and self.kl.defined


class Point(Placed):
    """Reward that the best prompter reaches at one price of KL (B6); `ess` is the effective sample size behind it."""

    kl_coef: Number
    gain: Figure
    ess: Number
    noise: Number
    objective: Annotated[Estimate, Keys("objective")]
    log_z: Number
    log_z_uncorrected: Number
    reward_uncorrected: Number


class Trained(Placed, Sampled):
    """The trained prompter, beside the best one.

    `distance` (B4): objective of the best less its own; `share_of_gain`: of the best one's gain in objective over the
    reference. `frontier_at_kl` and `share_at_kl`: the most reward at its own KL, and its share of that gain.
    """

    kl_k3: Number
    objective: Annotated[Estimate, Keys("objective")]
    distance: Figure | None
    share_of_gain: Figure | None
    frontier_at_kl: Reward | None
    share_at_kl: Figure | None
    d2: Figure
    gap: Figure | None


class FineTuned(Placed):
    """What fine-tuning the frozen model would reach (4), without doing it; its KL is one of answers."""

    beta: Number
    ess: Number
    log_z: Number


class GibbsPoint(Reward):
    """`n` rewrites of the reference, one kept by its reward (B7): no training, more calls for each prompt."""

    n: Number
    kl: Number
    gain: Figure
    share_of_reward_gain: Figure | None
    frozen_calls_per_prompt: Number

    @property
    def placed(self) -> bool:
        """Whether it has a place in the plane of reward against KL."""
        return self.reward.defined and not math.isnan(self.kl)


class BoundTerms(Result):
    """What the bounds are made of."""

    fine_tuning: Figure | None
    paraphrasing: Figure
    optimising_kl: Figure | None
    optimising_jeffreys: Figure | None


class Bounds(Result):
    """Upper bounds on the optimal prompter's gap, (11) and (B5); `span` is that of the rewards."""

    theorem: Figure | None
    sharper: Figure | None
    span: Number
    tv_measured: Flag
    terms: BoundTerms


class UnderNoise(Reward):
    """A prompter's reward under noise, and its paired change from that without."""

    change: Annotated[Estimate, Keys("change")]


class Noise(Result):
    """Every prompter under one kind of noise in the frozen model; None for one that is not there."""

    noise: Text
    frozen_calls: Number
    no_prompter: UnderNoise | None
    reference_prompter: UnderNoise | None
    optimum: UnderNoise | None
    trained_prompter: UnderNoise | None

    @property
    def rewards(self) -> tuple[Estimate | None, ...]:
        """Of no prompter, the reference, the best prompter and the trained one."""
        four = (self.no_prompter, self.reference_prompter, self.optimum, self.trained_prompter)
        return tuple(one.reward if one else None for one in four)


class Needed(Result):
    """What a withheld figure would need: rewrites and responses, or answers, and the calls that these are."""

    rewrites: Number | None = None
    responses: Number | None = None
    answers: Number | None = None
    frozen_calls: Number


class Withheld(Result):
    """A figure left out because too few samples stand behind it, and what it would need."""

    figure: Text
    why: Text
    needs: Needed


class Need(Result):
    """What it would take to bring a figure's interval from `half_width` to `target`."""

    figure: Text
    half_width: Number
    target: Number
    prompts: Number
    frozen_calls: Number


class Framed(Reward):
    """A template around every prompt, and its gain over the bare prompt, paired by prompt."""

    called: Text
    text: Text
    gain: Figure


class ChosenPerPrompt(Result):
    """What choosing each prompt's template on so many answers adds to the best single one."""

    chosen_on: Number
    gain: Figure


class Templates(Result):
    """A crossed design of prompts, templates and answers, `per_cell` of those each.

    `gain` is that of the best single template, chosen on other prompts than judge it, of `rivals` that may be the best.
    What choosing per prompt could add lies between `surely_added` and `added_at_most`; `learned` is what choosing by a
    prompt's length and words adds. `surplus` is the best template's gain less 80% of all there is to gain: the
    frontier's, which is `frontier_ahead` of it, or where `beside_frontier` is not set, its own and the most that
    choosing could add. `framed` are the templates from the best on; `unanswered` counts prompts left out.
    """

    listed: Text
    prompts: Number
    unanswered: Number
    per_cell: Number
    best_called: Text
    best_text: Text
    gain: Figure
    rivals: Number
    variance_of_template: Figure
    variance_of_interaction: Figure
    variance_of_noise: Figure
    chosen_per_prompt: Rows[ChosenPerPrompt]
    learned: Figure
    surely_added: Number
    added_at_most: Number
    beside_frontier: Flag
    frontier_ahead: Figure
    surplus: Figure
    framed: Rows[Framed]
    frozen_calls: Number

    @property
    def bracket(self) -> tuple[float, float]:
        """What choosing per prompt could add, at least and at most."""
        return (self.surely_added, self.added_at_most)


class Advice(Result):
    """What to do, and why: fix (one template), train, sample, neither or unsure; of a trained prompter keep or more."""

    verdict: Text
    text: Text


class Headroom(Document):
    """The estimate, from samples of the reference and the trained prompter and of the frozen model; `kind` is "share"
    where all rewards are 0 or 1."""

    again: ClassVar[str] = "delete it and estimate again by `alignpro headroom FOLDER`"

    reward: RewardName
    kind: Text = ""
    kl_coef: Number
    beta: Number
    prompts: Number
    rewrites: Number
    responses: Number
    answers: Number
    min_ess: Number
    max_noise: Number
    no_prompter: Sampled
    reference_prompter: Sampled
    optimum: Point | None
    trained_prompter: Trained | None
    rlhf_optimum: FineTuned | None
    frontier: Rows[Point]
    gibbs: Rows[GibbsPoint]
    d1: Figure | None
    d2: Figure | None
    gap: Figure | None
    bounds: Bounds | None
    withheld: Rows[Withheld]
    noise: Rows[Noise] | None
    frozen_calls: Number
    needs: Rows[Need]
    advice: Advice | None
    left_out: tuple[str, ...] = ()
    templates: Templates | None = None
    cost: Cost | None = None

    @property
    def mean(self) -> str:
        """What a mean of its rewards is called."""
        return "accuracy" if self.kind == SHARE else "mean reward"

    @property
    def curve(self) -> list[Point]:
        """The points of the frontier that have a place, from the least KL."""
        return sorted((point for point in self.frontier if point.placed), key=lambda point: point.kl.value)

    @property
    def in_plane(self) -> bool:
        """Whether anything has a place in the plane of reward against KL, besides the reference, whose KL is 0."""
        best, trained = self.optimum, self.trained_prompter
        placed = [bool(best and best.placed), bool(trained and trained.placed), bool(self.curve)]
        return any(placed) or any(drawn.placed for drawn in self.gibbs)

    def __repr__(self) -> str:
        return (
            f"Headroom({self.prompts} prompts, kl_coef {self.kl_coef}: {self.advice.verdict if self.advice else '-'})"
        )

    def _table(self) -> Table:
        rows: list[Row] = [
            ("no prompter", [self.no_prompter.reward, None]),
            ("reference prompter", [self.reference_prompter.reward, None]),
        ]
        if self.trained_prompter:
            rows.append(("trained prompter", [self.trained_prompter.reward, self.trained_prompter.kl]))
        rows += [(f"gibbs_{drawn.n}", [drawn.reward, Estimate(drawn.kl)]) for drawn in self.gibbs]
        rows += [(f"optimum at kl_coef {point.kl_coef:g}", [point.reward, point.kl]) for point in self.frontier]
        if self.rlhf_optimum:
            rows.append((f"RLHF optimum at beta {self.beta:g}", [self.rlhf_optimum.reward, self.rlhf_optimum.kl]))
        title, said = f"{self.prompts} prompts", self.advice.text if self.advice else ""
        return Table(title, ["", f"{self.mean} ({self.reward})", "KL, nats"], rows, said)

    @property
    def empty(self) -> bool:
        """Whether it has no figure and no advice, as a file that holds something else."""
        parts = (self.optimum, self.frontier, self.advice and (self.advice.text or self.advice.verdict))
        return not any((*parts, self.no_prompter.reward.defined, self.reference_prompter.reward.defined))
