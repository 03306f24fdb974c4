"""Puts the report together: one HTML file that loads nothing from anywhere."""

from __future__ import annotations

import base64
import hashlib
from html import escape
from importlib import resources
from pathlib import Path

from alignpro.report import comparison_sections, headroom_sections, judged_section, run_sections
from alignpro.report.examples import examples
from alignpro.report.judged import judged_examples
from alignpro.report.palette import css_variables, looks
from alignpro.report.run_folder import Run, read_run
from alignpro.report.verdict import BASELINE, verdict

_NAVIGATION = {
    "arms": "Arms",
    "terms": "Terms",
    "differences": "Differences",
    "headroom": "Headroom",
    "spread": "Spread",
    "wins": "Win rates",
    "judged": "Judged",
    "kl": "Reward and KL",
    "training": "Training",
    "examples": "Examples",
    "making": "How it was made",
}


def write_report(run_dir: Path) -> Path:
    """Write `report.html` into a run's folder, from what the folder holds alone, and return its path.

    The same files give the same bytes. Raises UsageError where the folder holds nothing to report.
    """
    path = run_dir / "report.html"
    path.write_bytes(_page(read_run(run_dir)).encode("utf-8", errors="replace"))
    return path


def _page(run: Run) -> str:
    evaluation = run.evaluation
    compared = (
        {name for found in (evaluation.differences, evaluation.win_rates) for d in found for name in (d.a, d.b)}
        if evaluation
        else set()
    )
    named = set(evaluation.arms) if evaluation else set()
    look = looks({sample.arm for sample in (*run.samples, *run.monitor)} | named | compared)
    answered = {sample.arm for sample in run.samples}
    reward = evaluation.reward if evaluation else "reward"
    second = evaluation.second_reward if evaluation else None
    shown = examples(run.samples, {arm: look[arm] for arm in look if arm in answered}, reward, second)
    parts = []
    if evaluation:
        parts += [comparison_sections.arms(evaluation, look), comparison_sections.terms(evaluation, look)]
        parts.append(comparison_sections.differences(evaluation, look))
    parts += [headroom_sections.headroom(run), comparison_sections.spread(run, look)]
    if evaluation:
        parts.append(comparison_sections.win_rates(evaluation, look))
        if not headroom_sections.places_arms(run):
            parts.append(comparison_sections.reward_kl(evaluation, look))
    judged = judged_examples(run.judgements, run.samples, BASELINE)
    parts += [judged_section.judged(judged, look), run_sections.training(run, look), run_sections.browser(shown)]
    parts.append(run_sections.making(run))
    body = comparison_sections.summary(run, look, verdict(run, look)) + "".join(parts)
    links = "".join(f'<a href="#{a}">{text}</a>' for a, text in _NAVIGATION.items() if f'<section id="{a}">' in body)
    return document(run.name, links, body)


def document(name: str, links: str, body: str) -> str:
    """The page around a body: its style, its one script, and a policy that lets it load nothing from anywhere."""
    name = escape(name)
    script = _asset("page.js")
    allowed = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    # The policy lets this one script run and nothing be fetched, whatever a prompt may contain.
    policy = (
        f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{allowed}';"
        " base-uri 'none'; form-action 'none'"
    )
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{name}: alignpro"
        f" report</title>\n<style>\n{css_variables()}{_asset('page.css')}</style>\n</head>\n<body>\n"
        f'<header class="top"><p><b>alignpro</b> report <span>{name}</span></p><nav aria-label="Sections">{links}</nav>'
        '<button type="button" id="theme" hidden></button></header>\n'
        f"<main>{body}</main>\n<script>{script}</script>\n</body>\n</html>\n"
    )


def _asset(name: str) -> str:
    return (resources.files("alignpro.report") / name).read_text(encoding="utf-8")
