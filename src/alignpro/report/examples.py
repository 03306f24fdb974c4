"""Which answers the page shows, and how: one rule, stated on the page, that does not pick."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from markupsafe import Markup

from alignpro.report.palette import Looks
from alignpro.report.templating import cut
from alignpro.results import Sample
from alignpro.results.words import Form, form_for

BUDGET = 4_200_000
"""Bytes of examples in the page."""
LONGEST = 4_000
"""Characters of one text before it is cut."""


@dataclass(frozen=True, slots=True)
class Examples:
    """`payload` is JSON that may stand inside a script element; `rule` says in words what it holds."""

    payload: Markup
    rule: str
    prompts: int


def examples(
    samples: Sequence[Sample], looks: Looks, reward: str, second_reward: str | None, budget: int = BUDGET
) -> Examples:
    """The first recorded answer of each arm to each prompt, beside the mean over all its answers.

    Past `budget` bytes, prompts are left out at even distances, so that wins and losses stay in proportion.
    """
    by_prompt: dict[str, dict[str, list[Sample]]] = {}
    for sample in samples:
        by_prompt.setdefault(str(sample.prompt_id), {}).setdefault(sample.arm, []).append(sample)
    entries = [_dumped(_entry(prompt_id, arms)) for prompt_id, arms in by_prompt.items()]
    kept = entries
    while kept and sum(len(entry.encode()) for entry in kept) > budget:
        size = sum(len(entry.encode()) for entry in kept)
        places = np.linspace(0, len(entries) - 1, min(len(kept) - 1, len(kept) * budget // size)).round().astype(int)
        kept = [entries[place] for place in places]
    head = {
        "arms": [
            {"name": arm, "label": look.label, "token": look.token, "glyph": look.glyph} for arm, look in looks.items()
        ],
        "reward": reward,
        "second": second_reward,
        "forms": [_form([s.reward for s in samples]), _form([s.second_reward for s in samples])],
    }
    payload = f'{{"head":{_dumped(head)},"prompts":[{",".join(kept)}]}}'
    rule = (
        "Shown is the first recorded answer of each arm to each prompt, not a chosen one; means are over all recorded"
        " answers of that arm to that prompt, and sorting uses them."
    )
    if len(kept) < len(entries):
        rule += (
            f" To keep the page small it holds {len(kept)} of {len(entries)} prompts, at even distances in the file."
        )
    if any(len(text) > LONGEST for sample in samples for text in (sample.prompt, sample.rewrite, sample.response)):
        rule += f" Texts are cut after {LONGEST} characters."
    return Examples(Markup(payload), rule, len(kept))


def _entry(prompt_id: str, arms: dict[str, list[Sample]]) -> dict[str, Any]:
    first = next(iter(arms.values()))[0]
    told: dict[str, Any] = {"id": prompt_id, "x": cut(first.prompt, LONGEST)}
    told |= {name: cut(text, LONGEST) for name, text in (("before", first.before), ("row", first.columns)) if text}
    return told | {"arms": {arm: _answer(found) for arm, found in arms.items()}}


def _answer(samples: list[Sample]) -> dict[str, Any]:
    shown = samples[0]
    return {
        "rewrite": None if shown.rewrite == shown.prompt else cut(shown.rewrite, LONGEST),
        "y": cut(shown.response, LONGEST),
        "r": _rounded(shown.reward),
        "s": _rounded(shown.second_reward),
        "mean": _mean([sample.reward for sample in samples]),
        "smean": _mean([sample.second_reward for sample in samples]),
        "n": len(samples),
        "cut": shown.finish == "length",
        "failure": shown.failure or None,
    }


def _form(values: list[float]) -> Form:
    """How rewards, and their differences, are told: by how much they vary."""
    present = [value for value in values if math.isfinite(value)]
    return form_for(max(map(abs, present), default=0.0), float(np.std(present)) if present else 0.0)


def _mean(values: list[float]) -> float | None:
    present = [value for value in values if math.isfinite(value)]
    return _rounded(math.fsum(present) / len(present)) if present else None


def _rounded(value: float) -> float | None:
    return float(f"{value:.12g}") if math.isfinite(value) else None  # equal but for rounding is equal


def _dumped(value: object) -> str:
    """JSON that no HTML parser can read as markup, whatever the texts hold."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return (
        text.replace("&", "\\u0026")
        .replace("<", "\\u003c")
        .replace(">", "\\u003e")
        .replace("\u2028", "\\u2028")
        .replace("\u2029", "\\u2029")
    )
