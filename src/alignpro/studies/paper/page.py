"""paper.html: Table 1, Figures 2 and 3, the paper's claims and the cost, from what paper.json holds."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from importlib import resources
from pathlib import Path
from typing import Any

from alignpro.report.estimate import NOTHING, count, number, percent, spoken
from alignpro.report.markup import bullets, card, chip, fold, grid, legend, section, table, tiles
from alignpro.report.palette import css_variables
from alignpro.report.verdict import KeyFigure
from alignpro.runtime import files as files
from alignpro.studies.paper.figures import LOOKS, architecture, card_figure, figure_file, figure_of
from alignpro.studies.paper.published import DATA
from alignpro.studies.paper.results import read

Tree = Mapping[str, Any]
STAND_INS = (
    "Stand-ins: two prompters, two frozen models, one reward model and three kinds of prompts of the embedded lab take"
    " the places of the paper's. This page proves that the machinery works from end to end. Its numbers say nothing"
    " about the paper's, which stand beside them only because a full run has them there."
)
IN_TEXT = (
    "The paper's figure has no numbers in its text, so there are none to set beside these; what its text says of the"
    " figure stands under Claims."
)


def write(found: Tree, out: Path) -> Path:
    """Write paper.json, paper.html, figure2.svg and figure3.svg into the grid's folder; returns the page's path.

    The same figures give the same bytes.
    """
    files.write_json(out / "paper.json", found)
    rows = found["cells"]
    note = " (stand-ins)" if found["scale"] == "tiny" else ""
    files.write_text(out / "figure2.svg", figure_file(rows, "reward", "mean reward", f"Mean rewards{note}"))
    files.write_text(out / "figure3.svg", figure_file(rows, "variance", "variance", f"Reward variances{note}"))
    path = out / "paper.html"
    files.write_text(path, page(found, out))
    return path


def page(found: Tree, out: Path) -> str:
    """The page; cells whose report lies in `out` are linked to it."""
    rows: Sequence[Tree] = found["cells"]
    names = _data_names(found)
    body = _summary(found, rows) + _table1(rows, names, out)
    body += _figure("figure2", "Figure 2: mean rewards", rows, names, ("reward", "second_reward"), "mean reward")
    both = ("variance", "second_variance")
    body += _figure("figure3", "Figure 3: reward variances", rows, names, both, "variance of the reward")
    body += _claims(found["claims"]) + _cost(found, rows)
    css = (resources.files("alignpro.report") / "page.css").read_text(encoding="utf-8")
    anchors = {"table1": "Table 1", "figure2": "Figure 2", "figure3": "Figure 3", "claims": "Claims", "cost": "Cost"}
    links = "".join(f'<a href="#{anchor}">{name}</a>' for anchor, name in anchors.items())
    policy = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>alignpro: the paper's experiments, {escape(found['scale'])}</title>\n"
        f"<style>\n{css_variables()}{css}</style>\n</head>\n<body>\n"
        f'<header class="top"><p><b>alignpro</b> paper <span>scale {escape(found["scale"])}</span></p>'
        f'<nav aria-label="Sections">{links}</nav></header>\n<main>{body}</main>\n</body>\n</html>\n'
    )


def _summary(found: Tree, rows: Sequence[Tree]) -> str:
    finished = [row for row in rows if row["state"] == "finished"]
    title = "The paper's experiments" + (" on lab-size stand-ins" if found["scale"] == "tiny" else "")
    lead = (
        STAND_INS
        if found["scale"] == "tiny"
        else (
            "The grid of section 7: two prompters before two frozen models on three data sets, each against no prompter"
            " and against the frozen model fine-tuned by RLHF."
        )
    )
    cost = found["cost"]
    figures = [
        KeyFigure("cells finished", f"{len(finished)} of {len(rows)}", "", "each an ordinary run"),
        *(
            KeyFigure(_short(claim["claim"]), f"{claim['holds']} of {claim['of']}", "", "cells in which this holds")
            for claim in found["claims"]
            if claim["of"]
        ),
        KeyFigure("wall clock", _minutes(cost["seconds"]), "", f"{_minutes(cost['cpu_seconds'])} of processor time"),
    ]
    left = [f"{row['cell']} is {row['state']}." for row in rows if row["state"] != "finished"]
    notes = f'<aside class="notes"><h2>Not finished</h2>{bullets(left)}</aside>' if left else ""
    return (
        f'<section class="summary"><h1>{title}</h1><p class="lead">{escape(lead)}</p>{tiles(figures)}{notes}</section>'
    )


def _table1(rows: Sequence[Tree], data: Mapping[str, str], out: Path) -> str:
    heads = ["", "Align-Pro wins", "Ties", "No prompter wins", "Win rate, ties half"]
    heads += ["Judged", "Paper: A, B", "Gain in the reward; in the second"]
    told = []
    for row in rows:
        wins = row["table1"] or {}
        gains = row["gains"] or {}
        shares = [_share(wins.get(name)) for name in ("win", "tie", "loss", "win_rate")]
        judged = (
            f"{count(_nan(wins.get('judged')))}<small>on {count(_nan(row['prompts']))} prompts</small>"
            if wins
            else escape(row["state"])
        )
        if wins.get("unparsed"):
            judged += f"<small>{wins['unparsed']} unparsed</small>"
        paper = f"{row['paper']['win']}, {row['paper']['loss']}"
        first, second = (spoken(read(gains.get(kind)), signed=True) for kind in ("reward", "second_reward"))
        told.append([_cell(row, data, out), *shares, judged, paper, f"{first}<br>{second}" if gains else NOTHING])
    names = _names(rows)
    text = (
        "Answers of Align-Pro (A) against answers with no prompter (B) to the same held-out prompts, each pair judged"
        f" in both orders. Judge here: {names['judge']}; in the paper, GPT-4. Brackets are 95% intervals, by resampling"
        " prompts. The paper's Table 1 states no number of prompts, no interval and no ties; the extracted text lost"
        " the headings of its rows and columns, taken here in the order in which 7.1 names models and data sets."
        f" Gains are Align-Pro less no prompter, paired by prompt, in the reward trained on ({names['reward']}) and in"
        f" one that training did not see ({names['second_reward']})."
    )
    return section("table1", "Table 1: win rates", text, table(heads, told))


def _figure(
    anchor: str, title: str, rows: Sequence[Tree], data: Mapping[str, str], keys: tuple[str, str], axis: str
) -> str:
    names = _names(rows)
    cards = []
    for key, kind in zip(keys, ("reward", "second_reward"), strict=True):
        for label, shown in data.items():
            if mine := [row for row in rows if row["data"]["label"] == label]:
                svg = card_figure(mine, key, axis, f"{anchor}-{key}-{label}")
                told = f"by {names[kind]}" + (", which training did not see" if kind == "second_reward" else "")
                cards.append(card(shown[0].upper() + shown[1:], f"{mine[0]['data']['prompts']}; {told}", svg))
    marks = legend(f"{chip(look)}: {escape(look.meaning)}" for look in LOOKS.values())
    whiskers = "Whiskers are 95% intervals, by resampling prompts. "
    numbers = fold("The numbers", _numbers(rows, data, keys))
    return section(anchor, title, f"{whiskers}{IN_TEXT}", marks + grid(cards, "thirds") + numbers)


def _numbers(rows: Sequence[Tree], data: Mapping[str, str], keys: tuple[str, str]) -> str:
    """A figure as a table: in each cell of it the reward, and below it the second reward."""
    told = []
    for row in rows:
        arms = row["arms"] or {}
        name = f"{architecture(row)}, {data[row['data']['label']]}"
        told.append(
            [escape(name), *("<br>".join(spoken(figure_of(arms.get(arm), key)) for key in keys) for arm in LOOKS)]
        )
    return table(["Reward, below it the second reward", *(look.label for look in LOOKS.values())], told)


def _claims(claims: Sequence[Tree]) -> str:
    rows = [
        [
            escape(claim["claim"]),
            f"{claim['holds']} of {claim['of']} cells" if claim["of"] else NOTHING,
            NOTHING if claim["certain"] is None or not claim["of"] else f"{claim['certain']} of {claim['of']} cells",
        ]
        for claim in claims
    ]
    text = "What the paper's text says of its table and figures, and in how many cells of this run the same holds."
    heads = ["The paper says", "Holds here in", "Its 95% interval says so in"]
    return section("claims", "Claims", text, table(heads, rows))


def _cost(found: Tree, rows: Sequence[Tree]) -> str:
    told = []
    for row in rows:
        cost = row["cost"]
        oracle = NOTHING if not cost else "taken" if cost["oracle_taken"] else count(cost["oracle_calls"])
        calls, seconds = (count(cost[key]) if cost else NOTHING for key in ("frozen_calls", "training_seconds"))
        told.append([escape(row["cell"]), calls, oracle, seconds])
    cost = found["cost"]
    sittings = f"{cost['sessions']} sitting{'s' * (cost['sessions'] != 1)}"
    text = (
        f"{count(cost['frozen_calls'])} answers of frozen models, {count(cost['oracle_calls'])} of oracles in training;"
        f" {_minutes(cost['seconds'])} by the clock in {sittings}, {_minutes(cost['cpu_seconds'])} of processor time."
        " The oracle depends on the frozen model and the data alone: it is trained in one cell and taken by the other"
        " prompter's."
    )
    heads = ["Cell", "Answers: training, comparison", "Answers: the oracle's training", "Seconds of training"]
    return section("cost", "Cost", text, table(heads, told))


def _cell(row: Tree, data: Mapping[str, str], out: Path) -> str:
    name = f"{architecture(row)}, {data[row['data']['label']]}"
    report = out / row["cell"] / "report.html"
    name = f'<a href="{escape(row["cell"])}/report.html">{escape(name)}</a>' if report.is_file() else escape(name)
    models = f"{row['prompter']['model']} before {row['frozen']['model']} on {row['data']['prompts']}"
    return f"{name}<small>{escape(models)}</small>"


def _data_names(found: Tree) -> Mapping[str, str]:
    """Data set -> its name, or what stands in for it."""
    stand_ins = found["scale"] == "tiny"
    return {data: f"stand-in for {name}" if stand_ins else name for data, name in DATA.items()}


def _names(rows: Sequence[Tree]) -> dict[str, str]:
    """Reward, second reward and judge of the finished cells; several by commas."""
    found: dict[str, str] = {}
    for kind in ("reward", "second_reward", "judge"):
        values = [(row["table1"] or {}).get("judge") if kind == "judge" else row[kind] for row in rows]
        found[kind] = ", ".join(dict.fromkeys(str(value) for value in values if value)) or "not known yet"
    return found


def _share(figure: object) -> str:
    return percent(read(figure))


def _short(claim: str) -> str:
    return claim.partition(" (")[0]


def _minutes(seconds: float | None) -> str:
    return NOTHING if seconds is None else f"{number(seconds / 60, 1)} min"


def _nan(value: float | None) -> float:
    return math.nan if value is None else float(value)
