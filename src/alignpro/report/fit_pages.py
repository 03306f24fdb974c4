"""The reports of what is fitted by itself: a reward, from reward.json, and a prompter, from sft.json."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from alignpro.errors import UsageError
from alignpro.report import fit_charts
from alignpro.report.drawing import Chart
from alignpro.report.making import making
from alignpro.report.records import Record, estimate, read_json, read_settings, records, text
from alignpro.report.templating import write_page
from alignpro.report.verdict import KeyFigure
from alignpro.report.words import count, number, percent, spoken
from alignpro.results import Estimate


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

    Raises UsageError where there is no reward.json.
    """
    found = _read(folder, "reward")
    accuracy, longer = _figure(found, "accuracy"), _figure(found, "longer_wins")
    pairs, length, scores = (_record(found, key) for key in ("pairs", "length", "scores"))
    title = (
        f"The reward agrees with {percent(accuracy)} of held-out preferences"
        if accuracy.defined
        else "No held-out preference could be scored"
    )
    beside = {
        1: ", more than always preferring the longer answer would",
        0: ", which cannot be told from always preferring the longer answer",
        -1: ", less than always preferring the longer answer would",
        None: "",
    }
    figures = [
        _key_figure("Held-out accuracy", percent(accuracy), f"{_counted(pairs, 'test')} pairs"),
        _key_figure("“The longer wins”", percent(longer), "accuracy of that rule on the same pairs"),
        _key_figure("Log loss", spoken(_figure(found, "log_loss")), "nats a pair; a coin has 0.693"),
        _key_figure("Temperature", spoken(_temperature(found)), "1 is calibrated, above 1 too sure"),
    ]
    prompts = _record(found, "prompts")
    lines = [
        f"Base {text(found.get('base'))}; preferences {text(found.get('preferences'))}: {_counted(pairs, 'train')}"
        f" training pairs of {_counted(prompts, 'train')} prompts, {_counted(pairs, 'test')} held-out pairs"
        f" of {_counted(prompts, 'test')} others.",
        f"Length bias: the score's correlation with the length of the answer in words is"
        f" {spoken(_figure(length, 'score'), signed=True)}; the model prefers the longer answer in"
        f" {percent(_figure(length, 'longer_chosen_by_model'))} of pairs.",
        f"Held-out answers score {number(_amount(scores, 'mean'))} on average, with a deviation of"
        f" {number(_amount(scores, 'deviation'))}: prices of KL are read against this.",
    ]
    if _amount(found, "unscored") > 0:
        lines.append(f"{_counted(found, 'unscored')} held-out pairs have no score and count for nothing here.")
    parts = [*_learning(found), *_calibration(found), *_by_strength(found)]
    title += beside[_figure(found, "over_longer").side()]
    return _write(folder, "reward", title, figures, [*lines, *_dropped(found)], parts)


def write_sft_report(folder: Path) -> Path:
    """Write `report.html` from sft.json, and return its path. The same files give the same bytes.

    Raises UsageError where there is no sft.json.
    """
    found = _read(folder, "sft")
    gain, pairs, prompts = _figure(found, "gain"), _record(found, "pairs"), _record(found, "prompts")
    title = {
        1: "The fitted prompter is likelier to write the better prompts than its base",
        0: "The fitted prompter cannot be told from its base on held-out pairs",
        -1: "The fitted prompter is less likely to write the better prompts than its base",
        None: "No held-out pair could be measured",
    }[gain.side()]
    held = f"{_counted(pairs, 'test')} held-out pairs"
    figures = [
        _key_figure("Held-out loss", spoken(_figure(found, "loss_per_token")), f"nats a token; {held}"),
        _key_figure("Before", spoken(_figure(found, "loss_before")), "the base on the same pairs"),
        _key_figure("Gain", spoken(gain, signed=True), "nats a token, paired"),
        _key_figure("Perplexity", spoken(_figure(found, "perplexity")), "of the fitted prompter"),
    ]
    lines = [
        f"Base {text(found.get('base'))}: {_counted(pairs, 'train')} training pairs of"
        f" {_counted(prompts, 'train')} prompts, {_counted(pairs, 'validation')} pairs of"
        f" {_counted(prompts, 'validation')} others that choose the epoch, {held} of"
        f" {_counted(prompts, 'test')} others yet, which chose nothing.",
        "A smaller loss says that a prompter writes more like these pairs, not that answers are better: alignpro run"
        " with train.steps=0 measures that.",
    ]
    return _write(folder, "sft", title, figures, [*lines, *_dropped(found)], _epochs(found))


def _read(folder: Path, job: str) -> Record:
    found = read_json(folder / f"{job}.json", [])
    if not found:
        raise UsageError(f"{folder} holds no {job}.json; give the folder that `alignpro {job}` wrote")
    return found


def _write(
    folder: Path, job: str, title: str, figures: list[KeyFigure], lines: list[str], parts: Sequence[Part]
) -> Path:
    settings = read_settings(folder / "config.yaml", [])
    environment = read_json(folder / "environment.json", [])
    made = making(folder.resolve().name, job, settings, environment)
    path = folder / "report.html"
    return write_page(path, "fit.html", title=title, figures=figures, lines=lines, parts=parts, making=made)


def _learning(found: Record) -> list[Part]:
    curve = [(_amount(row, "pairs"), estimate(row, "value")) for row in records(found.get("learning_curve"))]
    curve = [(pairs, value) for pairs, value in curve if value.defined and not math.isnan(pairs)]
    if not curve:
        return []
    told = (
        "Accuracy on the same held-out pairs after so many training pairs of one training. Its learning rate falls over"
        " the whole of it, so an early point may be below what a training of that length alone would reach."
    )
    chart = fit_charts.learning_curve(curve, _figure(found, "longer_wins"))
    rows = [(count(pairs), percent(value)) for pairs, value in curve]
    return [Part("learning", "Learning curve", told, ("Pairs", "Accuracy"), rows, (chart,))]


def _calibration(found: Record) -> list[Part]:
    tree = _record(found, "calibration")
    bins = [
        (_amount(row, "confidence"), estimate(row, "accuracy"), _amount(row, "pairs"))
        for row in records(tree.get("bins"))
    ]
    if not bins:
        return []
    told = (
        "Of pairs for which the model gives its choice a like probability, the share where its choice was preferred. On"
        " the line the two are equal; below it the model is too sure."
    )
    lines = (
        f"Expected calibration error {percent(_figure(tree, 'error'))}; a perfectly calibrated model would show"
        f" {percent(Estimate(_amount(_record(tree, 'error'), 'if_calibrated')))} with as many pairs, by chance.",
        f"The likeliest temperature is {spoken(_temperature(found))}: divide differences of scores by it before reading"
        " them as log odds.",
    )
    chart = fit_charts.reliability([(at, value) for at, value, _ in bins])
    rows = [(percent(Estimate(at)), percent(value), count(pairs)) for at, value, pairs in bins]
    heads = ("Mean probability", "Preferred", "Pairs")
    return [Part("calibration", "Calibration", told, heads, rows, (chart,), lines)]


def _by_strength(found: Record) -> list[Part]:
    rows = []
    for row in records(found.get("by_strength")):
        low, high = (number(_amount(row, key)) for key in ("low", "high"))
        margin = low if row.get("low") == row.get("high") else f"{low} to {high}"
        rows.append((margin, percent(estimate(row, "value")), count(_amount(row, "pairs"))))
    told = "Held-out accuracy by how much higher the data scores the chosen answer."
    heads = ("Margin", "Accuracy", "Pairs")
    return [Part("strength", "By strength of the preference", told, heads, rows)] if rows else []


def _epochs(found: Record) -> list[Part]:
    losses = [(_amount(row, "epoch"), _amount(row, "validation_loss")) for row in records(found.get("epochs"))]
    losses = [(epoch, loss) for epoch, loss in losses if math.isfinite(epoch) and math.isfinite(loss)]
    if not losses:
        return []
    kept = _amount(found, "kept_epoch")
    told = f"Loss on validation pairs after each pass over the training pairs. Epoch {count(kept)} is kept."
    chart = fit_charts.epochs(losses, kept, _figure(found, "loss_per_token"))
    rows = [(count(epoch), number(loss)) for epoch, loss in losses]
    return [Part("epochs", "Epochs", told, ("Epoch", "Validation loss"), rows, (chart,))]


def _dropped(found: Record) -> list[str]:
    dropped = _record(found, "dropped")
    return [f"{_counted(dropped, reason)} left out: {reason}." for reason in dropped]


def _temperature(found: Record) -> Estimate:
    return _figure(_record(found, "calibration"), "temperature")


def _figure(tree: Record, key: str) -> Estimate:
    return estimate(tree.get(key), "value")


def _record(tree: Record, key: str) -> Record:
    value = tree.get(key)
    return value if isinstance(value, dict) else {}


def _amount(tree: Record, key: str) -> float:
    value = tree.get(key)
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else math.nan


def _counted(tree: Record, key: str) -> str:
    return count(_amount(tree, key))


def _key_figure(label: str, told: str, note: str) -> KeyFigure:
    value, _, bounds = told.partition(" ")
    return KeyFigure(label, value, bounds, note)
