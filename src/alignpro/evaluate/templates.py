"""Which template of a file is best around every prompt, by answers to training prompts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np

from alignpro.data.templates import Template
from alignpro.flow.failures import check_failures
from alignpro.flow.objective import objective
from alignpro.flow.rollout import answer
from alignpro.maths import stats
from alignpro.results import Estimate, TemplateChoice, TriedTemplate
from alignpro.rng import derive
from alignpro.runtime.progress import Advance, expect
from alignpro.types import FloatArray, FrozenModel, Generation, Prompt, Reward, RewriteTerms

CHUNK = 16
"""Prompts answered at a time."""


def choose(
    templates: Sequence[Template],
    prompts: Sequence[Prompt],
    frozen: FrozenModel,
    reward: Reward,
    *,
    file: str,
    responses: int,
    seed: int,
    max_failed: float,
    prompt_terms: RewriteTerms | None = None,
    advance: Advance = lambda done, note: None,
    check: Callable[[], None] = lambda: None,
) -> TemplateChoice:
    """Answer every prompt in each of J templates, the bare prompt first, K times, and choose by the mean gain over the
    bare prompt.

    Equal framed texts share no answer. Gains are paired over the prompts that have a value in both; terms on the
    rewrite count. The first of equals is chosen, so the bare prompt where none gains. Raises RewardFailure where too
    many samples failed.
    """
    parts: list[FloatArray] = []
    rewards: list[FloatArray] = []
    failures, calls = Counter[str](), 0
    for start in range(0, len(prompts), CHUNK):
        chunk = prompts[start : start + CHUNK]
        advance(start, "")
        expect(len(chunk), len(chunk) * len(templates) * responses)
        check()
        made = answer(
            chunk,
            [[Generation(template.frame(prompt), "given") for template in templates] for prompt in chunk],
            frozen,
            reward,
            responses=responses,
            seed=derive(seed, start),
            prompt_terms=prompt_terms,
        )
        parts.append(objective(made))
        rewards.append(made.rewards)
        failures += made.failures
        calls += made.frozen_calls
    advance(len(prompts), "")
    check_failures(np.concatenate(rewards), failures, max_failed, "choosing a template")
    tried = tried_on(templates, np.concatenate(parts))
    gains = [row.gain.value for row in tried]
    return TemplateChoice(
        file=file,
        reward=reward.name,
        best=tried[int(np.nanargmax(gains))].name,
        prompts=len(prompts),
        responses=responses,
        frozen_calls=calls,
        failures=dict(failures),
        templates=tuple(tried),
    )


def tried_on(templates: Sequence[Template], worth: FloatArray) -> list[TriedTemplate]:
    """A row for each of J templates from what the answers to each prompt are worth [B, J], nan where all failed."""
    rows = []
    for j, template in enumerate(templates):
        own = worth[:, [j]]
        gain = Estimate.of(*stats.paired_difference(own, worth[:, [0]])) if j else Estimate(0.0, 0.0, 0.0)
        mean = Estimate.of(stats.mean(own), stats.mean_interval(own[:, 0]))
        rows.append(TriedTemplate(name=template.name, text=template.text, reward=mean, gain=gain))
    return rows
