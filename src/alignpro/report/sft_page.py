"""The report of a fitted prompter: one HTML file, read from sft.json alone."""

from __future__ import annotations

import math
from html import escape
from pathlib import Path

from alignpro.errors import UsageError
from alignpro.report import sft_figures as figures
from alignpro.report.estimate import count, number, spoken
from alignpro.report.learned import amount, figure_of, in_two, record
from alignpro.report.markup import bullets, card, fold, grid, section, table, tiles
from alignpro.report.page import document
from alignpro.report.records import Record, read_json, read_settings, records, text
from alignpro.report.run_sections import making_of
from alignpro.report.verdict import KeyFigure


def write_sft_report(folder: Path) -> Path:
    """Write `report.html` from sft.json, and return its path. The same files give the same bytes.

    Raises UsageError where there is no sft.json.
    """
    notes: list[str] = []
    found = read_json(folder / "sft.json", notes)
    if not found:
        raise UsageError(f"{folder} holds no sft.json; give the folder that `alignpro sft` wrote")
    settings = read_settings(folder / "config.yaml", notes)
    environment = read_json(folder / "environment.json", notes)
    name = folder.resolve().name
    body = "".join([_summary(found), _epochs(found), making_of(name, "sft", settings, environment)])
    titles = {"epochs": "Epochs", "making": "How it was made"}
    links = "".join(f'<a href="#{a}">{t}</a>' for a, t in titles.items() if f'<section id="{a}">' in body)
    path = folder / "report.html"
    path.write_bytes(document(name, links, body).encode("utf-8", errors="replace"))
    return path


def _summary(found: Record) -> str:
    gain, pairs, prompts = figure_of(found, "gain"), record(found, "pairs"), record(found, "prompts")
    verdict = {
        1: "The fitted prompter is likelier to write the better prompts than its base",
        0: "The fitted prompter cannot be told from its base on held-out pairs",
        -1: "The fitted prompter is less likely to write the better prompts than its base",
        None: "No held-out pair could be measured",
    }[gain.side()]
    held = f"{count(amount(pairs, 'test'))} held-out pairs"
    tile = [
        KeyFigure("Held-out loss", *in_two(spoken(figure_of(found, "loss_per_token"))), f"nats a token; {held}"),
        KeyFigure("Before", *in_two(spoken(figure_of(found, "loss_before"))), "the base on the same pairs"),
        KeyFigure("Gain", *in_two(spoken(gain, signed=True)), "nats a token, paired"),
        KeyFigure("Perplexity", *in_two(spoken(figure_of(found, "perplexity"))), "of the fitted prompter"),
    ]
    lines = [
        f"Base {text(found.get('base'))}: {count(amount(pairs, 'train'))} training pairs of"
        f" {count(amount(prompts, 'train'))} prompts, {count(amount(pairs, 'validation'))} pairs of"
        f" {count(amount(prompts, 'validation'))} others that choose the epoch, {held} of"
        f" {count(amount(prompts, 'test'))} others yet, which chose nothing.",
        "A smaller loss says that a prompter writes more like these pairs, not that answers are better: alignpro run"
        " with train.steps=0 measures that.",
    ]
    dropped = record(found, "dropped")
    lines += [f"{count(amount(dropped, reason))} left out: {reason}." for reason in dropped]
    return (
        f'<section class="summary"><h1>{escape(verdict)}</h1>'
        '<p class="lead">Intervals are 95%, by bootstrap over prompts.</p>'
        f"{tiles(tile)}{bullets(lines)}</section>"
    )


def _epochs(found: Record) -> str:
    losses = [(amount(row, "epoch"), amount(row, "validation_loss")) for row in records(found.get("epochs"))]
    losses = [(epoch, loss) for epoch, loss in losses if math.isfinite(epoch) and math.isfinite(loss)]
    if not losses:
        return ""
    kept = amount(found, "kept_epoch")
    told = f"Loss on validation pairs after each pass over the training pairs. Epoch {count(kept)} is kept."
    svg = figures.epochs(losses, kept, figure_of(found, "loss_per_token"), "sft-epochs")
    legend = "Circles: validation pairs, the large one the epoch that is kept. Diamond: held-out pairs, 95% interval."
    rows = [[count(epoch), number(loss)] for epoch, loss in losses]
    shown = grid([card("Loss against epochs, nats a token", legend, svg)])
    return section("epochs", "Epochs", told, shown + fold("Figures", table(["Epoch", "Validation loss"], rows)))
