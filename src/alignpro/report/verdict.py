"""The answer in words: did the prompter beat no prompter, by how much, judged by whom; and what was not shown."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from alignpro.evaluate.arms import AlignPro, BestTemplate, Gibbs, NoPrompter, ReferencePrompter, Rlhf, known
from alignpro.maths.stats import FEWEST
from alignpro.report.palette import Looks
from alignpro.report.reading import Run
from alignpro.report.standing import Part, part_of_reward
from alignpro.results import UNKNOWN, Arm, Estimate, Evaluation, Headroom, WinRate
from alignpro.results.words import count, number, percent, spoken
from alignpro.types import FloatArray

BASELINE = NoPrompter.written
NEAREST = (AlignPro, Gibbs, ReferencePrompter, Rlhf, BestTemplate)
"""The kinds of arm that the page is about, the first that was measured."""
ADVISED = {
    "fix": "Put one template around every prompt: it has most of what there is to gain",
    "train": "Train a prompter: there is something to gain",
    "sample": "Sample rewrites: that needs no training",
    "keep": "Keep the trained prompter: it has most of what there is to gain",
    "more": "The trained prompter leaves something to gain",
    "neither": "Neither train nor sample: there is little to gain",
    "unsure": "Too uncertain to say whether training would pay",
}
"""Verdict of headroom.json -> what it advises, in words."""


@dataclass(frozen=True, slots=True)
class KeyFigure:
    """A number that stands out: what it is, the number with its interval, and how to take it."""

    label: str
    told: str
    note: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the top of the page says; the first line leads."""

    title: str
    lines: tuple[str, ...]
    figures: tuple[KeyFigure, ...] = ()


@dataclass(frozen=True, slots=True)
class Witness:
    """What judged without having been trained on, and the side it takes: 1 for the subject, 0 for neither."""

    name: str
    side: int


def verdict(run: Run, looks: Looks) -> Verdict:
    """The verdict of a run, whole or stopped half way."""
    evaluation = run.evaluation
    if evaluation is None:
        return _before_training(run.headroom) if run.headroom and not run.begun else _without_comparison(run)
    subject, baseline = _subject(evaluation), evaluation.arms.get(BASELINE)
    if subject is None or baseline is None:
        return _without_pair(evaluation, looks, subject or next(iter(evaluation.arms.values())))
    return _compared(evaluation, run.headroom, looks, subject, baseline)


def key_figures(headroom: Headroom) -> tuple[KeyFigure, ...]:
    """What there is to gain, and how much of it a trained prompter gained; a figure that was withheld has no place."""
    at_price = _priced("at kl_coef", headroom.kl_coef)
    found = [
        (headroom.d2 and headroom.d2.mirrored(), "the best prompter's gain", f"over no prompter, in reward{at_price}"),
        (headroom.d1, "fine-tuning's gain", f"over no prompter, in reward{_priced('at beta', headroom.beta)}"),
        (headroom.gap, "out of the best prompter's reach", "in reward: what fine-tuning would gain beyond it"),
    ]
    figures = [
        KeyFigure(label, spoken(gain, signed=True), note) for gain, label, note in found if gain and gain.defined
    ]
    trained = headroom.trained_prompter
    figures += _share_of_gain(headroom)
    if trained and trained.distance and trained.distance.defined:
        note = "in reward with KL paid for at its price: what training left to gain"
        figures.append(KeyFigure("short of the best prompter", spoken(trained.distance), note))
    if trained and trained.share_at_kl and trained.share_at_kl.defined:
        note = f"that any prompter could make at the trained one's KL, {spoken(trained.kl)} nats"
        figures.append(KeyFigure("of the most gain", percent(trained.share_at_kl), note))
    return tuple(figures)


def _share_of_gain(headroom: Headroom) -> list[KeyFigure]:
    share = headroom.trained_prompter.share_of_gain if headroom.trained_prompter else None
    if share is None or not share.defined:
        return []
    note = "made by training; 100% is the best prompter's at this price of KL"
    return [KeyFigure("of the possible gain", percent(share), note)]


def _priced(name: str, value: float) -> str:
    return "" if math.isnan(value) else f" {name} {value:g}"


def _subject(evaluation: Evaluation) -> Arm | None:
    """The arm the page is about: the trained prompter, or else the nearest thing to it that was measured."""
    names = [name for name in evaluation.arms if name != BASELINE]
    wanted = [name for kind in NEAREST for name in names if isinstance(known(name), kind)]
    return evaluation.arms[(wanted or names)[0]] if names else None


def _compared(evaluation: Evaluation, headroom: Headroom | None, looks: Looks, subject: Arm, baseline: Arm) -> Verdict:
    reward, second, part = evaluation.reward, evaluation.second_reward, part_of_reward(evaluation)
    who = "the trained prompter" if subject.name == AlignPro.written else looks[subject.name].label
    gain = evaluation.difference(subject.name, BASELINE, reward)
    mean = "Accuracy" if evaluation.shares(reward) else "Mean reward"
    lines = [
        f"{mean} ({reward}) was {spoken(subject.reward)} with {who} and {spoken(baseline.reward)} with no"
        f" prompter, over {_scale(evaluation)}. {_gain_in_words(gain)}"
    ]
    tiles = [
        KeyFigure(
            "accuracy gained" if evaluation.shares(reward) else "reward gained",
            spoken(gain, signed=True),
            f"over no prompter, by {reward}, which {part.did}",
        )
    ]
    witnesses = []
    other = evaluation.difference(subject.name, BASELINE, second) if second else UNKNOWN
    if second and other.defined:
        witnesses += _witness(second, other.side())
        told, tile = _gained_by(second, other, "accuracy" if evaluation.shares(second) else "second reward", part)
        lines.append(told)
        tiles.append(tile)
    for wr in evaluation.wins_over(subject.name, BASELINE):
        if wr.accuracy and wr.judge in (reward, second):
            continue  # its gain in accuracy is told already
        if wr.judge != reward:
            witnesses += _witness(wr.judge, wr.accuracy.side() if wr.accuracy else wr.rate.side(of=0.5))
        if wr.accuracy:
            told, tile = _gained_by(wr.judge, wr.accuracy, "accuracy", part)
        else:
            by = "" if wr.judge == reward else f"{wr.judge}, "
            note = f"against no prompter, by {by}{part.of(wr.judge, evaluation)}"
            told = _wins_in_words(wr, who, part if wr.judge == reward else None)
            tile = KeyFigure("comparisons won", percent(wr.rate), note)
        lines.append(told)
        tiles.append(tile)
    few = evaluation.prompts < FEWEST and not evaluation.shares(reward)
    if few:
        lines.append(f"Means over fewer than {FEWEST} prompts have no interval: nothing can be concluded.")
    if not witnesses:
        ending = " is partial." if part.partial else " judged alone."
        lines.append(f"Nothing that {part.did_not} judged these answers with an interval: {reward}{ending}")
    oracle = evaluation.difference(subject.name, Rlhf.written, reward)
    if oracle.defined:
        lines.append(
            f"Against fine-tuning the answering model itself (RLHF), the reward of {who} differs by"
            f" {spoken(oracle, signed=True)}{_caveat(oracle)}"
        )
    if headroom and subject.name == AlignPro.written:
        tiles += _share_of_gain(headroom)
    lines += _advice(headroom)
    too_few = f"too few prompts to say whether {who} beat no prompter"
    title = too_few if few else _title(gain.side(), witnesses, who, part)
    return Verdict(title[:1].upper() + title[1:], tuple(lines), tuple(tiles))


def _title(side: int | None, witnesses: Sequence[Witness], who: str, part: Part) -> str:
    if side is None:
        return f"whether {who} beat no prompter cannot be said: the comparison has no interval"
    trained_on = {
        1: f"{who} raised the reward it was trained on"
        if who == "the trained prompter"
        else f"{who} raised the reward",
        0: "no difference in reward was shown",
        -1: f"{who} lowered the reward",
    }[side]
    if not witnesses:
        return {0: f"no difference between {who} and no prompter was shown"}.get(side, f"{trained_on}, its only judge")
    first = witnesses[0]
    if any(witness.side != first.side for witness in witnesses):
        return f"{trained_on}; judges that {part.did_not.replace('was', 'were')} disagree"
    agreed = {
        1: f"{who} beat no prompter",
        0: f"no difference between {who} and no prompter was shown",
        -1: f"{who} did worse than no prompter",
    }
    if side == first.side:
        return agreed[side]
    saw = {1: "found a gain", 0: "showed no difference", -1: "found a loss"}[first.side]
    short = re.split("[:/]", first.name)[-1]  # python:module:function and paths are too long for a title
    return f"{trained_on}; {short}, which {part.did_not}, {saw}"


def _witness(name: str, side: int | None) -> list[Witness]:
    return [] if side is None else [Witness(name, side)]


def _scale(evaluation: Evaluation) -> str:
    return f"{count(evaluation.prompts)} prompts with {count(evaluation.responses_per_prompt)} answers each"


def _gain_in_words(gain: Estimate) -> str:
    if not gain.defined:
        return "No paired difference was recorded, so these figures do not show which was better."
    return f"The difference, paired by prompt, is {spoken(gain, signed=True)}{_caveat(gain)}"


def _caveat(gain: Estimate) -> str:
    endings = {
        None: "; without an interval chance is not ruled out.",
        0: "; the interval spans zero: none was shown.",
    }
    return endings.get(gain.side(), ".")


def _gained_by(judge: str, gain: Estimate, what: str, part: Part) -> tuple[str, KeyFigure]:
    """A gain by a reward that had no part in it, in a sentence and as a number that stands out."""
    of = " in accuracy" if what == "accuracy" else ""
    line = f"By {judge}, which {part.did_not}, the gain{of} is {spoken(gain, signed=True)}{_caveat(gain)}"
    note = f"over no prompter, by {judge}, {part.briefly}"
    return line, KeyFigure(f"{what} gained", spoken(gain, signed=True), note)


def _wins_in_words(wr: WinRate, who: str, part: Part | None) -> str:
    """`part` is what the judge did, None where it had none."""
    said = f"Judged by {wr.judge}, {who} won {percent(wr.rate)} of comparisons with no prompter"
    if wr.rate.side(of=0.5) == 0:
        said += "; the interval spans 50%: no preference was shown"
    if part is None:
        return f"{said}."
    return f"{said}. That judge is the reward that {part.did}{', so it is not impartial' if part.partial else ''}."


def _without_pair(evaluation: Evaluation, looks: Looks, arm: Arm) -> Verdict:
    label = looks[arm.name].label
    alone = len(evaluation.arms) == 1
    mean = "accuracy" if evaluation.shares(evaluation.reward) else "mean reward"
    lines = (
        f"{mean.capitalize()} ({evaluation.reward}) of {label} was {spoken(arm.reward)}, over {_scale(evaluation)}.",
        f"A gain needs two arms; the comparison holds {f'{label} alone' if alone else 'no arm without a prompter'}.",
    )
    title = (
        f"{label} was measured, with nothing to compare it to" if alone else "No arm without a prompter was measured"
    )
    return Verdict(title, lines, (KeyFigure(mean, spoken(arm.reward), f"{label}, by {evaluation.reward}"),))


def _without_comparison(run: Run) -> Verdict:
    lines = [
        "Whether the prompter beats no prompter is not known: evaluation.json, the final comparison, is not there."
    ]
    reward = run.training.get("reward")
    if reward is not None:
        tail = max(1, len(reward) // 10)
        steps = "step" if tail == 1 else f"{tail} steps"
        train = run.settings.get("train")
        planned = train.get("steps") if isinstance(train, dict) else None
        of = f" of {planned}" if isinstance(planned, int) else ""
        lines.append(
            f"{len(reward)}{of} training steps are recorded. Mean reward of the first {steps}:"
            f" {number(_mean(reward[:tail]))}; of the last {steps}: {number(_mean(reward[-tail:]))}. These are samples"
            " of training, without an interval, and no comparison with no prompter."
        )
    return Verdict("This run has no final comparison", (*lines, *_advice(run.headroom)))


def _advice(headroom: Headroom | None) -> list[str]:
    return [f"Headroom: {headroom.advice.text}"] if headroom and headroom.advice and headroom.advice.text else []


def _before_training(headroom: Headroom) -> Verdict:
    advice = headroom.advice
    title = ADVISED.get(advice.verdict, "") if advice else ""
    lines = [advice.text] if advice and advice.text else []
    lines.append(
        "There is no final comparison: these are estimates from samples of the prompters and of the frozen model."
        if headroom.trained_prompter
        else "Nothing is trained or compared yet: these are estimates from samples of the reference prompter and of the"
        " frozen model."
    )
    if headroom.withheld:
        many = len(headroom.withheld)
        lines.append(
            f"{many} figure{'s were' if many > 1 else ' was'} withheld for want of samples; they are listed below."
        )
    return Verdict(title or "How much there is to gain", tuple(lines), key_figures(headroom))


def _mean(values: FloatArray) -> float:
    # A step of which every sample failed has no reward.
    present = values[np.isfinite(values)]
    return float(present.mean()) if len(present) else math.nan
