"""Reads headroom.json, the estimate of how much there is to gain and by what, into plain data.

The file is optional. A figure that it gives as null was withheld or is undefined, and reads as nan or None.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from alignpro.report.records import Record, estimate, number, read_json, records, spent, text
from alignpro.results import Estimate


@dataclass(frozen=True, slots=True)
class FrontierPoint:
    """Reward that the best prompter reaches at one price of KL (B6); `ess` is the effective sample size behind it."""

    kl_coef: float
    kl: Estimate
    reward: Estimate
    ess: float
    uncorrected: float

    @property
    def placed(self) -> bool:
        """Whether it has a place in the plane of reward against KL."""
        return self.reward.defined and self.kl.defined


@dataclass(frozen=True, slots=True)
class Optimum:
    """The best prompter at the run's kl_coef (10): a point of the frontier, its objective and log Z."""

    point: FrontierPoint
    objective: Estimate
    log_z: float


@dataclass(frozen=True, slots=True)
class Trained:
    """The trained prompter, beside the best one.

    `distance` (B4): objective of the best less its own; `share_of_gain`: of the best one's gain in objective over the
    reference. `frontier_at_kl` and `share_at_kl`: the most reward at its own KL, and its share of that gain.
    """

    reward: Estimate
    kl: Estimate
    kl_k3: float
    objective: Estimate
    distance: Estimate
    share_of_gain: Estimate
    frontier_at_kl: Estimate
    share_at_kl: Estimate
    d2: Estimate
    gap: Estimate

    @property
    def placed(self) -> bool:
        """Whether it has a place in the plane of reward against KL."""
        return self.reward.defined and self.kl.defined


@dataclass(frozen=True, slots=True)
class FineTuned:
    """What fine-tuning the frozen model would reach (4), without doing it; its KL is one of answers."""

    beta: float
    reward: Estimate
    ess: float
    kl: float
    log_z: float


@dataclass(frozen=True, slots=True)
class GibbsPoint:
    """`draws` rewrites of the reference, one kept by its reward (B7): no training, more calls for each prompt."""

    draws: float
    reward: Estimate
    kl: float
    calls: float

    @property
    def placed(self) -> bool:
        """Whether it has a place in the plane of reward against KL."""
        return self.reward.defined and not math.isnan(self.kl)


@dataclass(frozen=True, slots=True)
class Bounds:
    """Upper bounds on the optimal prompter's gap, (11) and (B5), and the terms they are made of."""

    theorem: Estimate
    sharper: Estimate
    span: float
    tv_measured: bool
    fine_tuning: Estimate
    paraphrasing: Estimate
    optimising_kl: Estimate
    optimising_jeffreys: Estimate


@dataclass(frozen=True, slots=True)
class Noise:
    """Rewards under one kind of noise in the frozen model, in the order of NOISE_ARMS."""

    noise: str
    rewards: tuple[Estimate, ...]


@dataclass(frozen=True, slots=True)
class Withheld:
    """A figure left out because too few samples stand behind it, and what it would need."""

    figure: str
    why: str
    rewrites: float
    frozen_calls: float


@dataclass(frozen=True, slots=True)
class Need:
    """What it would take to bring a figure's interval from `half_width` to `target`."""

    figure: str
    half_width: float
    target: float
    prompts: float
    frozen_calls: float


@dataclass(frozen=True, slots=True)
class Advice:
    """What to do: `verdict` is train, sample, keep, more, neither or unsure; `text` says why."""

    verdict: str
    text: str


@dataclass(frozen=True, slots=True)
class Headroom:
    """Everything in headroom.json that the report shows."""

    reward: str
    kl_coef: float
    beta: float
    prompts: float
    rewrites: float
    responses: float
    min_ess: float
    no_prompter: Estimate
    reference: Estimate
    optimum: Optimum | None
    trained: Trained | None
    fine_tuned: FineTuned | None
    frontier: tuple[FrontierPoint, ...]
    gibbs: tuple[GibbsPoint, ...]
    d1: Estimate
    d2: Estimate
    gap: Estimate
    bounds: Bounds | None
    noise: tuple[Noise, ...]
    withheld: tuple[Withheld, ...]
    needs: tuple[Need, ...]
    frozen_calls: float
    spent: str
    advice: Advice | None

    @property
    def in_plane(self) -> bool:
        """Whether anything has a place in the plane of reward against KL, besides the reference, whose KL is 0."""
        best, trained = self.optimum, self.trained
        placed = [bool(best and best.point.placed), bool(trained and trained.placed), bool(self.frontier)]
        return any(placed) or any(drawn.placed for drawn in self.gibbs)


NOISE_ARMS = ("no_prompter", "reference_prompter", "optimum", "trained_prompter")


def headroom(path: Path, notes: list[str]) -> Headroom | None:
    """What headroom.json holds; None, with a note where it is broken, where it holds no figure and no advice."""
    before = len(notes)
    tree = read_json(path, notes)
    if any(tree.get(key) for key in ("no_prompter", "reference_prompter", "frontier", "optimum", "advice")):
        return _headroom(tree)
    if path.exists() and len(notes) == before:
        notes.append("headroom.json holds no figure, so what there was to gain is not shown.")
    return None


def _headroom(tree: Record) -> Headroom:
    optimum, trained, fine_tuned, bounds, advice = (
        found if isinstance(found := tree.get(key), dict) else None
        for key in ("optimum", "trained_prompter", "rlhf_optimum", "bounds", "advice")
    )
    frontier = [_point(record) for record in records(tree.get("frontier"))]
    return Headroom(
        reward=text(tree.get("reward")) or "training reward",
        kl_coef=number(tree.get("kl_coef")),
        beta=number(tree.get("beta")),
        prompts=number(tree.get("prompts")),
        rewrites=number(tree.get("rewrites")),
        responses=number(tree.get("responses")),
        min_ess=number(tree.get("min_ess")),
        no_prompter=estimate(tree.get("no_prompter"), "reward"),
        reference=estimate(tree.get("reference_prompter"), "reward"),
        optimum=Optimum(_point(optimum), _objective(optimum), number(optimum.get("log_z"))) if optimum else None,
        trained=_trained(trained) if trained else None,
        fine_tuned=_fine_tuned(fine_tuned) if fine_tuned else None,
        frontier=tuple(sorted((point for point in frontier if point.placed), key=lambda point: point.kl.value)),
        gibbs=tuple(
            GibbsPoint(
                number(record.get("n")),
                estimate(record, "reward"),
                number(record.get("kl")),
                number(record.get("frozen_calls_per_prompt")),
            )
            for record in records(tree.get("gibbs"))
        ),
        d1=estimate(tree.get("d1"), "value"),
        d2=estimate(tree.get("d2"), "value"),
        gap=estimate(tree.get("gap"), "value"),
        bounds=_bounds(bounds) if bounds else None,
        noise=tuple(
            Noise(text(record.get("noise")), tuple(estimate(record.get(arm), "reward") for arm in NOISE_ARMS))
            for record in records(tree.get("noise"))
        ),
        withheld=tuple(_withheld(record) for record in records(tree.get("withheld"))),
        needs=tuple(
            Need(
                text(record.get("figure")),
                number(record.get("half_width")),
                number(record.get("target")),
                number(record.get("prompts")),
                number(record.get("frozen_calls")),
            )
            for record in records(tree.get("needs"))
        ),
        frozen_calls=number(tree.get("frozen_calls")),
        spent=spent(tree.get("cost") or {}),
        advice=Advice(text(advice.get("verdict")), text(advice.get("text"))) if advice else None,
    )


def _point(record: Record) -> FrontierPoint:
    return FrontierPoint(
        kl_coef=number(record.get("kl_coef")),
        kl=estimate(record, "kl", "kl_ci95"),
        reward=estimate(record, "reward"),
        ess=number(record.get("ess")),
        uncorrected=number(record.get("reward_uncorrected")),
    )


def _objective(record: Record) -> Estimate:
    return estimate(record, "objective", "objective_ci95")


def _trained(record: Record) -> Trained:
    distance, share_of_gain, share_at_kl, d2, gap = (
        estimate(record.get(key), "value") for key in ("distance", "share_of_gain", "share_at_kl", "d2", "gap")
    )
    return Trained(
        reward=estimate(record, "reward"),
        kl=estimate(record, "kl", "kl_ci95"),
        kl_k3=number(record.get("kl_k3")),
        objective=_objective(record),
        distance=distance,
        share_of_gain=share_of_gain,
        frontier_at_kl=estimate(record.get("frontier_at_kl"), "reward"),
        share_at_kl=share_at_kl,
        d2=d2,
        gap=gap,
    )


def _fine_tuned(record: Record) -> FineTuned:
    return FineTuned(
        beta=number(record.get("beta")),
        reward=estimate(record, "reward"),
        ess=number(record.get("ess")),
        kl=number(record.get("kl")),
        log_z=number(record.get("log_z")),
    )


def _bounds(record: Record) -> Bounds:
    terms = record.get("terms")
    terms = terms if isinstance(terms, dict) else {}
    fine_tuning, paraphrasing, optimising_kl, optimising_jeffreys = (
        estimate(terms.get(key), "value")
        for key in ("fine_tuning", "paraphrasing", "optimising_kl", "optimising_jeffreys")
    )
    return Bounds(
        theorem=estimate(record.get("theorem"), "value"),
        sharper=estimate(record.get("sharper"), "value"),
        span=number(record.get("span")),
        tv_measured=record.get("tv_measured") is True,
        fine_tuning=fine_tuning,
        paraphrasing=paraphrasing,
        optimising_kl=optimising_kl,
        optimising_jeffreys=optimising_jeffreys,
    )


def _withheld(record: Record) -> Withheld:
    needs = record.get("needs")
    needs = needs if isinstance(needs, dict) else {}
    return Withheld(
        figure=text(record.get("figure")),
        why=text(record.get("why")),
        rewrites=number(needs.get("rewrites")),
        frozen_calls=number(needs.get("frozen_calls")),
    )
