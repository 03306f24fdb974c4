"""The sections that show the run itself: its training, its texts, and how it was made."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from html import escape

import yaml

from alignpro.report import curves
from alignpro.report.examples import Examples
from alignpro.report.markup import card, fold, grid, section, table
from alignpro.report.palette import Looks
from alignpro.report.run_folder import Curves, Run

MAIN = {
    "reward": ("Reward", "Mean reward of the step's samples."),
    "kl": ("KL", "How far the trained policy left its reference, in nats a sample."),
    "objective": ("Objective", "What training maximises: the reward less the KL at its price, kl_coef."),
}
DIAGNOSTICS = {
    "approx_kl": "How far the step's updates moved the policy, in nats a token.",
    "clip_share": "Share of tokens at which PPO's clip held the update back.",
    "explained_variance": "Share of the returns' variance that the value head foresees; 1 is all, 0 none.",
    "policy_loss": "PPO's clipped surrogate loss.",
    "value_loss": "Squared error of the value head.",
    "grad_norm": "Length of the gradient before clipping.",
    "learning_rate": "Size of the optimiser's steps.",
    "kl_coef": "The price of KL in the objective.",
    "reward_std": "Standard deviation of the rewards within the step.",
    "action_tokens": "Mean length of what the policy wrote, in tokens.",
    "cut_off": "Share of what the policy wrote that was cut off at the length limit.",
    "failed": "Samples of the step without a reward.",
    "frozen_calls": "Responses asked of the frozen model so far.",
    "seconds": "Seconds of training so far.",
}

TERMS = {
    "reward.": "A term of the reward: mean raw score of the step.",
    "prompt_term.": "A term on the rewrite: mean raw value of the step.",
}


def training(run: Run, looks: Looks) -> str:
    """Training curves of the prompter, and of the RLHF oracle where it was trained."""
    html = _curve_cards(run.training, "train", "align-pro", curves.monitor_means(run.monitor), looks)
    oracle = _curve_cards(run.oracle_training, "rlhf", "rlhf", {}, looks)
    if oracle:
        html += "<h3>Training of the RLHF oracle</h3>"
        html += f'<p class="note">The answering model itself, fine-tuned by the same PPO.</p>{oracle}'
    text = (
        "Pale: every step. Bold: centred mean over a tenth of the steps. These are the samples of training, not the"
        " comparison above."
    )
    return section("training", "Training", text, html) if html else ""


def _curve_cards(columns: Curves, name: str, token: str, points: curves.Points, looks: Looks) -> str:
    def drawn(column: str, title: str, meaning: str) -> str:
        upon = points if column == "reward" else {}
        if upon:
            marks = ", ".join(f"{looks[arm].label} {looks[arm].glyph}" for arm in upon)
            meaning += f" Markers: small evaluations on held-out prompts ({marks})."
        svg = curves.over_steps(columns, column, f"{name}-{column}", token, f"{title} over training steps", upon, looks)
        return card(title, meaning, svg)

    main = [drawn(column, *told) for column, told in MAIN.items() if column in columns]
    more = [drawn(column, column, meaning) for column, meaning in DIAGNOSTICS.items() if column in columns]
    more += [
        drawn(column, column.removeprefix(prefix), meaning)
        for prefix, meaning in TERMS.items()
        for column in columns
        if column.startswith(prefix)
    ]
    return grid(main, "thirds") + fold("Further diagnostics", grid(more, "thirds"))


def browser(found: Examples) -> str:
    """The table of prompts, rewrites and answers; page.js fills it from the JSON beside it."""
    if not found.prompts:
        return ""
    body = (
        '<form class="controls" id="controls">'
        '<label>Search<input id="search" type="search" placeholder="prompts, rewrites, answers"></label>'
        '<label>Arm A<select id="arm-a"></select></label><label>Arm B<select id="arm-b"></select></label>'
        '<label>Sort<select id="sort"></select></label>'
        '<fieldset id="filters"><legend>Show</legend></fieldset></form>'
        '<p class="note" id="status" aria-live="polite"></p><div id="rows"></div>'
        '<nav class="paging" aria-label="Pages of examples"><button type="button" id="previous">Previous</button>'
        '<span id="page"></span><button type="button" id="next">Next</button></nav>'
        "<noscript><p>These need JavaScript; samples.jsonl in the run's folder holds them all.</p></noscript>"
        f'<script type="application/json" id="examples-data">{found.payload}</script>'
    )
    return section("examples", "Prompts, rewrites and answers", found.rule, body)


def making(run: Run) -> str:
    """The command, the resolved settings and the environment."""
    return making_of(run.name, "run", run.settings, run.environment)


def making_of(name: str, job: str, settings: Mapping[str, object], environment: Mapping[str, object]) -> str:
    """How the folder `name` was made by `alignpro job`."""
    command = environment.get("command")
    if command:
        made = shlex.join(map(str, command)) if isinstance(command, list) else str(command)
        made = made if made.startswith("alignpro") else f"alignpro {made}"
        html = f"<p>The command that made it:</p><pre>{escape(made)}</pre>"
    else:
        again = f"alignpro {job} {shlex.quote(f'{name}/config.yaml')} --out NEW_DIR"
        html = f"<p>To make it again from its resolved settings:</p><pre>{escape(again)}</pre>"
    report = f"alignpro report {shlex.quote(name)}"
    html += f"<p>To make this page again from the folder:</p><pre>{escape(report)}</pre>"
    return section("making", "How it was made", "", html + _settings(settings) + _environment(environment))


def _settings(tree: Mapping[str, object]) -> str:
    text = yaml.safe_dump(dict(tree), sort_keys=False, allow_unicode=True) if tree else ""
    return fold("Settings", f"<pre>{escape(text)}</pre>" if text else "")


def _environment(tree: Mapping[str, object]) -> str:
    rows = [
        [escape(str(key)), escape(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))]
        for key, value in tree.items()
    ]
    return fold("Environment", table(["Name", "Value"], rows, "plain") if rows else "")
