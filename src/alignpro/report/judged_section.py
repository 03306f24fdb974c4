"""The section that shows judged comparisons: prompt, rewrites, both answers, the judge's scores and reasons."""

from __future__ import annotations

import math
from html import escape

from alignpro.report.estimate import number
from alignpro.report.judged import Judged, JudgedExamples, Order, Shown
from alignpro.report.markup import section
from alignpro.report.palette import Looks
from alignpro.results import Sample

LONGEST = 1500
"""Characters of one text before it is cut."""


def judged(found: JudgedExamples | None, looks: Looks) -> str:
    """Judged comparisons, from the largest win to the largest loss."""
    if found is None:
        return ""
    texts = (t for shown in found.shown for s in (shown.a, shown.b) for t in (s.prompt, s.rewrite, s.response))
    rule = found.rule
    if any(len(text) > LONGEST for text in texts):
        rule += f" Texts are cut after {LONGEST:,} characters; samples.jsonl holds them whole."
    return section("judged", "Judged comparisons", rule, "".join(_example(shown, looks) for shown in found.shown))


def _example(shown: Shown, looks: Looks) -> str:
    judged, label = shown.judged, looks[shown.judged.a].label
    said = {"a": f"{label} won", "b": f"{label} lost", "tie": "tied"}[judged.verdict]
    head = f"<header><span>{escape(shown.place)} · prompt {escape(judged.prompt_id)}</span>"
    head += f"<span><b>{escape(said)}</b> · margin {number(judged.margin, signed=True)}</span></header>"
    sides = "".join(_side(sample, judged, place, looks) for place, sample in enumerate((shown.a, shown.b)))
    reasons = "".join(_reason(judged, place, order, looks) for place, order in enumerate(judged.orders))
    prompt = _text(shown.a.prompt, "text prompt")
    return f'<article class="example">{head}{prompt}<div class="pair">{sides}</div>{reasons}</article>'


def _side(sample: Sample, judged: Judged, place: int, looks: Looks) -> str:
    look = looks[(judged.a, judged.b)[place]]
    scores = [order.scores[place] for order in judged.orders]
    if len(scores) == 2:
        first, second = scores if place == 0 else scores[::-1]
        told = f"score {_score(first)} when presented first, {_score(second)} when second"
    else:
        told = f"score {_score(scores[0])}"
    if not math.isfinite(sum(scores)):
        told = ""
    answer = "Answer y, cut off at its length limit" if sample.finish == "length" else "Answer y"
    rewrite = (
        '<p class="kind">Prompt sent as it is</p>'
        if sample.rewrite == sample.prompt
        else f'<p class="kind">Rewritten prompt x′</p>{_text(sample.rewrite)}'
    )
    name = f'<i class="mark">{look.glyph}</i>{escape(look.label)}'
    return (
        f'<section style="--arm:var(--{look.token})"><h4>{name}<span>{escape(told)}</span></h4>'
        f'{rewrite}<p class="kind">{answer}</p>{_text(sample.response)}</section>'
    )


def _reason(judged: Judged, place: int, order: Order, looks: Looks) -> str:
    if not order.reason:
        return ""
    first, second = (judged.a, judged.b) if place == 0 else (judged.b, judged.a)
    told = f"{judged.judge} on {looks[first].label} as answer A and {looks[second].label} as answer B"
    return f'<p class="kind">{escape(told)}</p>{_text(order.reason)}'


def _text(text: str, kind: str = "text") -> str:
    shown = text if len(text) <= LONGEST else f"{text[:LONGEST]} […]"
    return f'<div class="{kind}" dir="auto">{escape(shown)}</div>'


def _score(score: float) -> str:
    return number(score, 0 if score == round(score) else None)
