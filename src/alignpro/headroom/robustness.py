"""How the rewards decay when the frozen model is not what the prompter was made for."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from alignpro.evaluate.models import Models
from alignpro.flow.rollout import answer
from alignpro.headroom.estimates import Estimator
from alignpro.headroom.samples import Samples
from alignpro.maths import stats
from alignpro.models.perturb import Load, perturbed
from alignpro.results import Noise, UnderNoise
from alignpro.rng import derive
from alignpro.types import FloatArray, Generation


def robustness(
    estimator: Estimator,
    models: Models,
    specs: Sequence[str],
    load: Load,
    seed: int,
    on_kind: Callable[[int, str], None],
) -> list[Noise]:
    """Rewards of each prompter under each kind of noise, the clean model first, and their paired change from it.

    The optimal prompter is the clean model's: rewrites resampled by its weights (10). Every figure rests on answers
    drawn anew, so that no luck of the sampling is counted as reward. Each row holds the calls it took.
    """
    samples, count = estimator.samples, estimator.settings.noise_samples
    chosen = _prompters(estimator, count, seed)
    clean: dict[str, FloatArray] = {}
    rows = []
    for number, spec in enumerate(["none", *specs]):
        on_kind(number, spec)
        frozen = models.frozen if spec == "none" else perturbed(models.frozen, spec, load, derive(seed, "noise", spec))
        calls = 0
        under: dict[str, UnderNoise] = {}
        for name, texts in chosen.items():
            if texts is None:
                continue
            made = answer(
                samples.prompts,
                [[Generation(text, "given") for text in line] for line in texts],
                frozen,
                models.reward,
                seed=derive(seed, "noise", spec, name),
            )
            mine = stats.prompt_means(made.rewards[:, :, 0])
            clean.setdefault(name, mine)
            under[name] = UnderNoise(
                reward=estimator.mean(made.rewards[:, :, 0]), change=estimator.value(mine - clean[name])
            )
            calls += made.frozen_calls
        rows.append(
            Noise(
                noise=spec,
                frozen_calls=calls,
                no_prompter=under["no_prompter"],
                reference_prompter=under["reference_prompter"],
                optimum=under.get("optimum"),
                trained_prompter=under.get("trained_prompter"),
            )
        )
    return rows


def _prompters(estimator: Estimator, count: int, seed: int) -> dict[str, list[list[str]] | None]:
    """For each prompter, `count` rewrites of every prompt."""
    samples = estimator.samples
    best = estimator.best
    rng = np.random.default_rng(derive(seed, "resample"))
    trained = samples.from_reference < samples.rewards.shape[1]
    return {
        "no_prompter": [[prompt.text] * count for prompt in samples.prompts],
        "reference_prompter": _first(samples, slice(None, samples.from_reference), count),
        "optimum": None
        if best.why_withheld
        else [
            [row[i] for i in rng.choice(len(row), count, p=weights / weights.sum())]
            if weights.sum() > 0  # nan where no rewrite of the prompt has a reward
            else [prompt.text] * count
            for prompt, row, weights in zip(samples.prompts, samples.texts, best.weights, strict=True)
        ],
        "trained_prompter": _first(samples, slice(samples.from_reference, None), count) if trained else None,
    }


def _first(samples: Samples, own: slice, count: int) -> list[list[str]]:
    """The first draws of a prompter that have a reward, repeated where there are too few; the prompt where none has."""
    usable = np.isfinite(samples.rewards).sum(-1) > 0
    rows = []
    for prompt, texts, fine in zip(samples.prompts, samples.texts, usable, strict=True):
        kept = [text for text, ok in zip(texts[own], fine[own].tolist(), strict=True) if ok] or [prompt.text]
        rows.append([kept[i % len(kept)] for i in range(count)])
    return rows
