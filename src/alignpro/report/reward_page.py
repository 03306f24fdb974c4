"""The report of a learned reward: one HTML file, read from reward.json alone."""

from __future__ import annotations

import math
from html import escape
from pathlib import Path

from alignpro.errors import UsageError
from alignpro.report import reward_figures as figures
from alignpro.report.estimate import count, number, percent, spoken
from alignpro.report.learned import amount, figure_of, in_two, record
from alignpro.report.markup import bullets, card, fold, grid, section, table, tiles
from alignpro.report.page import document
from alignpro.report.records import Record, estimate, read_json, read_settings, records, text
from alignpro.report.run_sections import making_of
from alignpro.report.verdict import KeyFigure
from alignpro.results import Estimate


def write_reward_report(folder: Path) -> Path:
    """Write `report.html` from reward.json, and return its path. The same files give the same bytes.

    Raises UsageError where there is no reward.json.
    """
    notes: list[str] = []
    found = read_json(folder / "reward.json", notes)
    if not found:
        raise UsageError(f"{folder} holds no reward.json; give the folder that `alignpro reward` wrote")
    settings = read_settings(folder / "config.yaml", notes)
    environment = read_json(folder / "environment.json", notes)
    name = folder.resolve().name
    parts = [
        _summary(found),
        _learning(found),
        _calibration(found),
        _by_strength(found),
        making_of(name, "reward", settings, environment),
    ]
    titles = {"learning": "Learning curve", "calibration": "Calibration", "strength": "By strength"}
    titles["making"] = "How it was made"
    body = "".join(parts)
    links = "".join(f'<a href="#{a}">{t}</a>' for a, t in titles.items() if f'<section id="{a}">' in body)
    path = folder / "report.html"
    path.write_bytes(document(name, links, body).encode("utf-8", errors="replace"))
    return path


def _summary(found: Record) -> str:
    accuracy, longer = figure_of(found, "accuracy"), figure_of(found, "longer_wins")
    over = figure_of(found, "over_longer")
    pairs, prompts, dropped = (record(found, key) for key in ("pairs", "prompts", "dropped"))
    verdict = (
        f"The reward agrees with {percent(accuracy)} of held-out preferences"
        if accuracy.defined
        else "No held-out preference could be scored"
    )
    beside = {
        1: "more than always preferring the longer answer would",
        0: "which cannot be told from always preferring the longer answer",
        -1: "less than always preferring the longer answer would",
        None: "",
    }[over.side()]
    tile = [
        KeyFigure("Held-out accuracy", *in_two(percent(accuracy)), f"{count(amount(pairs, 'test'))} pairs"),
        KeyFigure("“The longer wins”", *in_two(percent(longer)), "accuracy of that rule on the same pairs"),
        KeyFigure("Log loss", *in_two(spoken(figure_of(found, "log_loss"))), "nats a pair; a coin has 0.693"),
        KeyFigure("Temperature", *in_two(spoken(_temperature(found))), "1 is calibrated, above 1 too sure"),
    ]
    length = record(found, "length")
    lines = [
        f"Base {text(found.get('base'))}; preferences {text(found.get('preferences'))}: {count(amount(pairs, 'train'))}"
        f" training pairs of {count(amount(prompts, 'train'))} prompts, {count(amount(pairs, 'test'))} held-out pairs"
        f" of {count(amount(prompts, 'test'))} others.",
        f"Length bias: the score's correlation with the length of the answer in words is"
        f" {spoken(figure_of(length, 'score'), signed=True)}; the model prefers the longer answer in"
        f" {percent(figure_of(length, 'longer_chosen_by_model'))} of pairs.",
        f"Held-out answers score {number(amount(record(found, 'scores'), 'mean'))} on average, with a deviation of"
        f" {number(amount(record(found, 'scores'), 'deviation'))}: prices of KL are read against this.",
    ]
    if unscored := amount(found, "unscored"):
        lines.append(f"{count(unscored)} held-out pairs have no score and count for nothing here.")
    lines += [f"{count(amount(dropped, reason))} left out: {reason}." for reason in dropped]
    return (
        f'<section class="summary"><h1>{escape(verdict)}{", " + beside if beside else ""}</h1>'
        '<p class="lead">Intervals are 95%, by bootstrap over prompts.</p>'
        f"{tiles(tile)}{bullets(lines)}</section>"
    )


def _learning(found: Record) -> str:
    curve = [(amount(row, "pairs"), estimate(row, "value")) for row in records(found.get("learning_curve"))]
    curve = [(pairs, value) for pairs, value in curve if value.defined and not math.isnan(pairs)]
    if not curve:
        return ""
    told = (
        "Accuracy on the same held-out pairs after so many training pairs of one training. Its learning rate falls over"
        " the whole of it, so an early point may be below what a training of that length alone would reach."
    )
    svg = figures.learning_curve(curve, figure_of(found, "longer_wins"), "reward-learning")
    rows = [[count(pairs), percent(value)] for pairs, value in curve]
    shown = grid([card("Accuracy against training pairs", "Dashed: the longer answer wins.", svg)])
    return section("learning", "Learning curve", told, shown + fold("Figures", table(["Pairs", "Accuracy"], rows)))


def _calibration(found: Record) -> str:
    tree = record(found, "calibration")
    bins = [
        (amount(row, "confidence"), estimate(row, "accuracy"), amount(row, "pairs"))
        for row in records(tree.get("bins"))
    ]
    if not bins:
        return ""
    error = record(tree, "error")
    told = (
        "Of pairs for which the model gives its choice a like probability, the share where its choice was preferred. On"
        " the line the two are equal; below it the model is too sure."
    )
    svg = figures.reliability([(at, value) for at, value, _ in bins], "reward-calibration")
    lines = [
        f"Expected calibration error {percent(figure_of(tree, 'error'))}; a perfectly calibrated model would show"
        f" {percent(Estimate(amount(error, 'if_calibrated')))} with as many pairs, by chance.",
        f"The likeliest temperature is {spoken(_temperature(found))}: divide differences of scores by it before reading"
        " them as log odds.",
    ]
    rows = [[percent(Estimate(at)), percent(value), count(pairs)] for at, value, pairs in bins]
    shown = grid([card("Reliability", "Markers: bins of like size, with 95% intervals.", svg)]) + bullets(lines)
    return section(
        "calibration",
        "Calibration",
        told,
        shown + fold("Figures", table(["Mean probability", "Preferred", "Pairs"], rows)),
    )


def _by_strength(found: Record) -> str:
    groups = [
        (_range(amount(row, "low"), amount(row, "high")), estimate(row, "value"), amount(row, "pairs"))
        for row in records(found.get("by_strength"))
    ]
    if not groups:
        return ""
    told = "Held-out accuracy by how much higher the data scores the chosen answer."
    rows = [[escape(name), percent(value), count(pairs)] for name, value, pairs in groups]
    return section("strength", "By strength of the preference", told, table(["Margin", "Accuracy", "Pairs"], rows))


def _range(low: float, high: float) -> str:
    return number(low) if low == high else f"{number(low)} to {number(high)}"


def _temperature(found: Record) -> Estimate:
    return figure_of(record(found, "calibration"), "temperature")
