"""The reports of what is fitted by itself: a reward, from reward.json, and a prompter, from sft.json."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from alignpro.errors import UsageError
from alignpro.report import fit_charts
from alignpro.report.drawing import Chart
from alignpro.report.making import making
from alignpro.report.reading import read_tree
from alignpro.report.templating import write_page
from alignpro.report.verdict import KeyFigure
from alignpro.results import Estimate, FittedPrompter, LearnedReward, read
from alignpro.results.words import count, number, percent, spoken

D = TypeVar("D", FittedPrompter, LearnedReward)


@dataclass(frozen=True, slots=True)
class Part:
    """A section of the page: charts and a table of figures, with what they show in words."""

    anchor: str
    title: str
    text: str
    heads: Sequence[str]
    rows: Sequence[Sequence[str]]
    charts: tuple[Chart, ...] = ()
    lines: tuple[str, ...] = ()


def write_reward_report(folder: Path) -> Path:
    """Write `report.html` from reward.json, and return its path. The same files give the same bytes.

    Raises UsageError where there is no reward.json, DamagedResult where it is torn.
    """
    found = _read(LearnedReward, folder, "reward")
    pairs, prompts = found.pairs, found.prompts
    title = (
        f"The reward agrees with {percent(found.accuracy)} of held-out preferences"
        if found.accuracy.defined
        else "No held-out preference could be scored"
    )
    beside = {
        1: ", more than always preferring the longer answer would",
        0: ", which cannot be told from always preferring the longer answer",
        -1: ", less than always preferring the longer answer would",
        None: "",
    }
    figures = [
        KeyFigure("Held-out accuracy", percent(found.accuracy), f"{count(pairs.test)} pairs"),
        KeyFigure("“The longer wins”", percent(found.longer_wins), "accuracy of that rule on the same pairs"),
        KeyFigure("Log loss", spoken(found.log_loss), "nats a pair; a coin has 0.693"),
        KeyFigure("Temperature", spoken(found.calibration.temperature), "1 is calibrated, above 1 too sure"),
    ]
    lines = [
        f"Base {found.base}; preferences {found.preferences}: {count(pairs.train)} training pairs of"
        f" {count(prompts.train)} prompts, {count(pairs.test)} held-out pairs of {count(prompts.test)} others.",
        f"Length bias: the score's correlation with the length of the answer in words is"
        f" {spoken(found.length.score, signed=True)}; the model prefers the longer answer in"
        f" {percent(found.length.longer_chosen_by_model)} of pairs.",
        f"Held-out answers score {number(found.scores.mean)} on average, with a deviation of"
        f" {number(found.scores.deviation)}: prices of KL are read against this.",
    ]
    if found.unscored > 0:
        lines.append(f"{count(found.unscored)} held-out pairs have no score and count for nothing here.")
    parts = [*_learning(found), *_calibration(found), *_by_strength(found)]
    title += beside[found.over_longer.side()]
    return _write(folder, "reward", title, figures, [*lines, *_dropped(found.dropped)], parts)


def write_sft_report(folder: Path) -> Path:
    """Write `report.html` from sft.json, and return its path. The same files give the same bytes.

    Raises UsageError where there is no sft.json, DamagedResult where it is torn.
    """
    found = _read(FittedPrompter, folder, "sft")
    pairs, prompts = found.pairs, found.prompts
    title = {
        1: "The fitted prompter is likelier to write the better prompts than its base",
        0: "The fitted prompter cannot be told from its base on held-out pairs",
        -1: "The fitted prompter is less likely to write the better prompts than its base",
        None: "No held-out pair could be measured",
    }[found.gain.side()]
    held = f"{count(pairs.test)} held-out pairs"
    figures = [
        KeyFigure("Held-out loss", spoken(found.loss_per_token), f"nats a token; {held}"),
        KeyFigure("Before", spoken(found.loss_before), "the base on the same pairs"),
        KeyFigure("Gain", spoken(found.gain, signed=True), "nats a token, paired"),
        KeyFigure("Perplexity", spoken(found.perplexity), "of the fitted prompter"),
    ]
    lines = [
        f"Base {found.base}: {count(pairs.train)} training pairs of {count(prompts.train)} prompts,"
        f" {count(pairs.validation)} pairs of {count(prompts.validation)} others that choose the epoch, {held} of"
        f" {count(prompts.test)} others yet, which chose nothing.",
        "A smaller loss says that a prompter writes more like these pairs, not that answers are better: alignpro run"
        " with train.steps=0 measures that.",
    ]
    return _write(folder, "sft", title, figures, [*lines, *_dropped(found.dropped)], _epochs(found))


def _read(kind: type[D], folder: Path, job: str) -> D:
    found = read(kind, folder / f"{job}.json")
    if found is None:
        raise UsageError(f"{folder} holds no {job}.json; give the folder that `alignpro {job}` wrote")
    return found


def _write(
    folder: Path, job: str, title: str, figures: list[KeyFigure], lines: list[str], parts: Sequence[Part]
) -> Path:
    settings = read_tree(folder / "config.yaml", [])
    environment = read_tree(folder / "environment.json", [])
    made = making(folder.resolve().name, job, settings, environment)
    path = folder / "report.html"
    return write_page(path, "fit.html", title=title, figures=figures, lines=lines, parts=parts, making=made)


def _learning(found: LearnedReward) -> list[Part]:
    curve = [row for row in found.learning_curve if row.accuracy.defined and not math.isnan(row.pairs)]
    if not curve:
        return []
    told = (
        "Accuracy on the same held-out pairs after so many training pairs of one training. Its learning rate falls over"
        " the whole of it, so an early point may be below what a training of that length alone would reach."
    )
    chart = fit_charts.learning_curve(curve, found.longer_wins)
    rows = [(count(row.pairs), percent(row.accuracy)) for row in curve]
    return [Part("learning", "Learning curve", told, ("Pairs", "Accuracy"), rows, (chart,))]


def _calibration(found: LearnedReward) -> list[Part]:
    tree = found.calibration
    if not tree.bins:
        return []
    told = (
        "Of pairs for which the model gives its choice a like probability, the share where its choice was preferred. On"
        " the line the two are equal; below it the model is too sure."
    )
    lines = (
        f"Expected calibration error {percent(tree.error.error)}; a perfectly calibrated model would show"
        f" {percent(Estimate(tree.error.if_calibrated))} with as many pairs, by chance.",
        f"The likeliest temperature is {spoken(tree.temperature)}: divide differences of scores by it before reading"
        " them as log odds.",
    )
    chart = fit_charts.reliability(tree.bins)
    rows = [(percent(Estimate(row.confidence)), percent(row.accuracy), count(row.pairs)) for row in tree.bins]
    heads = ("Mean probability", "Preferred", "Pairs")
    return [Part("calibration", "Calibration", told, heads, rows, (chart,), lines)]


def _by_strength(found: LearnedReward) -> list[Part]:
    rows = []
    for row in found.by_strength:
        margin = number(row.low) if row.low == row.high else f"{number(row.low)} to {number(row.high)}"
        rows.append((margin, percent(row.accuracy), count(row.pairs)))
    told = "Held-out accuracy by how much higher the data scores the chosen answer."
    heads = ("Margin", "Accuracy", "Pairs")
    return [Part("strength", "By strength of the preference", told, heads, rows)] if rows else []


def _epochs(found: FittedPrompter) -> list[Part]:
    epochs = [row for row in found.epochs if math.isfinite(row.epoch + row.validation_loss)]
    if not epochs:
        return []
    kept = found.kept_epoch
    told = f"Loss on validation pairs after each pass over the training pairs. Epoch {count(kept)} is kept."
    chart = fit_charts.epochs(epochs, kept, found.loss_per_token)
    rows = [(count(row.epoch), number(row.validation_loss)) for row in epochs]
    return [Part("epochs", "Epochs", told, ("Epoch", "Validation loss"), rows, (chart,))]


def _dropped(dropped: Mapping[str, float]) -> list[str]:
    return [f"{count(many)} left out: {reason}." for reason, many in dropped.items()]
