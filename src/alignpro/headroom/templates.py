"""One template for all, or one for each: prompts x templates x answers within a budget, and what they tell."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from alignpro.config import HeadroomSettings
from alignpro.data.templates import Template
from alignpro.errors import SettingsError
from alignpro.flow.failures import check_failures
from alignpro.flow.rollout import answer
from alignpro.headroom.advice import ENOUGH
from alignpro.maths import crossed, policy, rounding, stats
from alignpro.maths.stats import FEWEST
from alignpro.results import UNKNOWN, ChosenPerPrompt, Estimate, Framed, Templates
from alignpro.rng import derive
from alignpro.runtime import files
from alignpro.runtime.interrupt import StopRequest
from alignpro.runtime.progress import Advance
from alignpro.types import FloatArray, FrozenModel, Generation, Prompt, Reward

LEAST = 2
"""Answers to a cell, without which noise cannot be told from interaction."""


@dataclass(frozen=True, slots=True)
class Design:
    """What is asked: every one of the prompts under every template, `answers` times."""

    templates: tuple[Template, ...]
    prompts: tuple[Prompt, ...]
    answers: int

    @property
    def frozen_calls(self) -> int:
        return len(self.templates) * len(self.prompts) * self.answers


def planned(templates: Sequence[Template], prompts: Sequence[Prompt], settings: HeadroomSettings) -> Design:
    """The design that the budget allows: all templates, fewer answers a cell before fewer prompts, of which it takes
    the first.

    Raises SettingsError where it is too small for two answers to five prompts under each.
    """
    budget, cells = settings.template_budget, LEAST * len(templates)
    count = min(len(prompts), budget // cells)
    if count < min(FEWEST, len(prompts)):
        raise SettingsError(
            f"headroom.template_budget {budget:,}: {len(templates)} templates take at least {FEWEST * cells:,} answers,"
            f" {LEAST} to each of {FEWEST} prompts; raise it, or give fewer templates"
        )
    answers = min(settings.template_answers, budget // count // len(templates))
    return Design(tuple(templates), tuple(prompts[:count]), answers)


def in_words(design: Design, wanted: int, settings: HeadroomSettings) -> str:
    """What will be asked, and what of it the budget left out."""
    told = (
        f"templates: {len(design.templates)} x {len(design.prompts)} prompts x {design.answers} answers ="
        f" {design.frozen_calls:,} answers of the frozen model"
    )
    budget = f"headroom.template_budget {settings.template_budget:,}"
    if len(design.prompts) < wanted:
        return f"{told}; {budget} leaves out {wanted - len(design.prompts)} of {wanted} prompts, those drawn last"
    if design.answers < settings.template_answers:
        return f"{told}; {budget} allows no more to each"
    return told


def ask(
    design: Design,
    frozen: FrozenModel,
    reward: Reward,
    chunk: int,
    *,
    path: Path,
    identity: str,
    seed: int,
    max_failed: float,
    stop: StopRequest,
    advance: Advance,
    written: Callable[[], None] = lambda: None,
) -> FloatArray:
    """Rewards [P, J, R] of the design, nan where one failed; prompts that `path` has rows of are not asked again.

    Equal texts of two templates are asked apart. `identity` names the models: rows of others are dropped. Raises
    RewardFailure, Interrupted; rows so far are kept.
    """
    decides = [identity, seed, design.answers, [template.text for template in design.templates]]
    key = hashlib.blake2b(json.dumps(decides).encode(), digest_size=8).hexdigest()
    files.keep_rows(path, lambda row: row.get("key") == key)
    rows = dict(files.parsed_rows(path, _whole, "delete that line, and its prompt is asked again"))
    left = [prompt for prompt in design.prompts if prompt.key not in rows]
    failures: Counter[str] = Counter()
    for start in range(0, len(left), chunk):
        advance(len(design.prompts) - len(left) + start, "")
        stop.check()
        part = left[start : start + chunk]
        framed = [[Generation(template.frame(prompt), "given") for template in design.templates] for prompt in part]
        answered = answer(part, framed, frozen, reward, responses=design.answers, seed=derive(seed, part[0].key))
        failures += answered.failures
        made = dict(zip((prompt.key for prompt in part), answered.rewards, strict=True))
        rows |= made
        check_failures(np.array(list(rows.values())), failures, max_failed, "headroom, templates")
        written()
        told = [{"key": key, "prompt": name, "rewards": _listed(rewards)} for name, rewards in made.items()]
        files.append_jsonl(path, told, checked=True)
    advance(len(design.prompts), "")
    return np.array([rows[prompt.key] for prompt in design.prompts])


def report(
    listed: str,
    design: Design,
    scores: FloatArray,
    frontier: Mapping[str, float] | None,
    vectors: FloatArray | None = None,
) -> Templates:
    """What the design's scores [P, J, R] say. `frontier` has the gain of the best prompter by the prompt's key, None
    where that was withheld: then one template is held against all that choosing per prompt could gain. `vectors` [P, D]
    are those of the prompts by a sentence encoder, from which a policy may learn too.

    Prompts for which every cell failed are left out.
    """
    answered = np.asarray(np.isfinite(scores).any((1, 2)))
    scores = scores[answered]
    prompts = [prompt for prompt, told in zip(design.prompts, answered.tolist(), strict=True) if told]
    parts, best = crossed.variances(scores), crossed.best_template(scores)
    between = crossed.bracket(scores, best, parts.interaction[1])
    seen = policy.features([prompt.text for prompt in prompts], None if vectors is None else vectors[answered])
    learned = policy.learned(scores, seen, best)
    (gain, (low, high)), share, ahead = best.gain, ENOUGH, UNKNOWN
    if frontier is not None:
        most = np.array([frontier.get(prompt.key, np.nan) for prompt in prompts])
        surplus = Estimate.of(*crossed.widened(best.each - share * most, best.rivals))
        ahead = Estimate.of(*crossed.widened(rounding.difference(most, best.each), best.rivals))
    else:
        surplus = Estimate(
            (1 - share) * gain - share * between.above,
            crossed.sure_surplus((low, high), between.above, share),
            (1 - share) * high - share * between.low,
        )
    rows = [
        Framed(
            called=template.name if template.number else "no template",
            text=template.text,
            reward=Estimate.of(stats.mean(scores[:, j]), stats.mean_interval(stats.prompt_means(scores[:, j]))),
            gain=Estimate.of(*told),
        )
        for j, (template, told) in enumerate(zip(design.templates, crossed.gains(scores), strict=True))
    ]
    return Templates(
        listed=listed,
        prompts=len(prompts),
        unanswered=int((~answered).sum()),
        per_cell=design.answers,
        best_called=rows[best.template].called if best.template >= 0 else "",
        best_text=rows[best.template].text if best.template >= 0 else "",
        gain=Estimate.of(*best.gain),
        rivals=best.rivals,
        variance_of_template=Estimate.of(*parts.template),
        variance_of_interaction=Estimate.of(*parts.interaction),
        variance_of_noise=Estimate.of(*parts.noise),
        chosen_per_prompt=tuple(
            ChosenPerPrompt(chosen_on=k, gain=Estimate.of(*told)) for k, told in between.below.items()
        ),
        learned=Estimate.of(*learned),
        surely_added=between.low,
        added_at_most=between.above,
        beside_frontier=frontier is not None,
        frontier_ahead=ahead,
        surplus=surplus,
        framed=tuple(sorted(rows, key=lambda row: row.gain.value, reverse=True)),
        frozen_calls=design.frozen_calls,
    )


def _whole(row: dict[str, Any]) -> tuple[str, FloatArray]:
    """Prompt.key of a row that can be used, and its rewards [J, R]. Raises KeyError, TypeError, ValueError."""
    rewards = np.array(row["rewards"], dtype=np.float64)  # None becomes nan
    if rewards.ndim != 2:
        raise ValueError("rewards are no table")
    return row["prompt"], rewards


def _listed(rewards: FloatArray) -> list[list[float | None]]:
    return [[float(r) if np.isfinite(r) else None for r in row] for row in rewards]
