"""A reward that is a weighted sum of others, each normalised by fixed statistics, then clipped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from alignpro.config import RewardSettings, RewardTerm, Scale
from alignpro.errors import RewardFailure, SettingsError
from alignpro.maths.rounding import DOUBLE
from alignpro.types import FloatArray, Prompt, ReadsRows, Response, Reward, RewardResult, as_prompts, as_responses

_UNSCALED = (
    "reward.terms: {} is normalised by the reference's answers, whose statistics a run measures and keeps in its"
    " reward_scales.json; this is no such run, so write them: normalise: {{mean: M, std: S}}"
)
TOO_LARGE = "the weighted sum is not finite"
AS_IT_IS = Scale(mean=0.0, std=1.0)


@dataclass(frozen=True)
class Term:
    """weight * clip((score - mean) / std); `scale` None: its statistics are to be taken first."""

    name: str
    reward: Reward
    weight: float
    clip: tuple[float, float] | None
    scale: Scale | None

    def worth(self, values: FloatArray) -> FloatArray:
        """What raw scores [N] add to the sum."""
        scale = self.scale or AS_IT_IS
        scaled = (values - scale.mean) / scale.std
        return np.asarray(self.weight * (np.clip(scaled, *self.clip) if self.clip else scaled))


@dataclass(frozen=True)
class CompositeReward:
    """r(x, y) as the sum of its terms. A pair that any term cannot score has no reward, with the term named."""

    terms: tuple[Term, ...]

    def __post_init__(self) -> None:
        names = [term.name for term in self.terms]
        if twice := next((name for name in names if names.count(name) > 1), None):
            raise SettingsError(f"reward.terms: two terms are called {twice}; give each a name of its own")

    @property
    def name(self) -> str:
        return " + ".join(f"{term.weight:g} {term.name}" for term in self.terms).replace("+ -", "- ")

    @property
    def unscaled(self) -> tuple[str, ...]:
        """Terms whose statistics are still to be taken."""
        return tuple(term.name for term in self.terms if term.scale is None)

    def score(self, prompts: Sequence[str | Prompt], responses: Sequence[str | Response]) -> RewardResult:
        """One reward a pair; `parts` has every term's raw scores. Raises SettingsError where a scale is missing."""
        if self.unscaled:
            raise SettingsError(_UNSCALED.format(", ".join(self.unscaled)))
        parts, reasons = self.parts(prompts, responses)
        with np.errstate(over="ignore", invalid="ignore"):
            total = sum((term.worth(parts[term.name]) for term in self.terms), np.zeros(len(prompts)))
        sums = np.where(np.isfinite(total), total, np.nan)
        reasons = tuple(
            TOO_LARGE if reason is None and np.isnan(value) else reason
            for value, reason in zip(sums, reasons, strict=True)
        )
        return RewardResult(sums, reasons, parts)

    def check(self, prompts: Sequence[Prompt]) -> list[str]:
        """What its terms will lack in the prompts. Raises as they do."""
        readers = (term.reward for term in self.terms if isinstance(term.reward, ReadsRows))
        return list(dict.fromkeys(line for reader in readers for line in reader.check(prompts)))

    def parts(
        self, prompts: Sequence[str | Prompt], responses: Sequence[str | Response]
    ) -> tuple[dict[str, FloatArray], tuple[str | None, ...]]:
        """Raw scores [N] by term, and why a pair lacks one."""
        prompts, responses = as_prompts(prompts), as_responses(responses)
        parts: dict[str, FloatArray] = {}
        reasons: list[str | None] = [None] * len(prompts)
        for term in self.terms:
            scored = term.reward.score(prompts, responses)
            parts[term.name] = scored.values
            for i, reason in enumerate(scored.reasons):
                if reason is not None and reasons[i] is None:
                    reasons[i] = f"{term.name}: {reason}"
        return parts, tuple(reasons)

    def scaled(self, scales: Mapping[str, Scale]) -> CompositeReward:
        """With these statistics for the terms that lack theirs."""
        return CompositeReward(tuple(replace(t, scale=scales[t.name]) if t.scale is None else t for t in self.terms))

    def measure(self, prompts: Sequence[str | Prompt], responses: Sequence[str | Response]) -> dict[str, Scale]:
        """Mean and deviation over these pairs of each term that lacks its scale.

        Raises RewardFailure where a term scored fewer than two of them, or all alike.
        """
        parts, _ = self.parts(prompts, responses)
        scales = {}
        for name in self.unscaled:
            known = parts[name][np.isfinite(parts[name])]
            spread = float(known.std(ddof=1)) if len(known) > 1 else 0.0
            if not spread > DOUBLE * float(np.abs(known).max(initial=0.0)):
                raise RewardFailure(
                    f"reward term {name} gave {len(known)} scores to {len(prompts)} answers of the reference, and"
                    f" {'all are equal' if len(known) > 1 else 'that is too few'}, so there is nothing to normalise"
                    " by; look at the term, or write normalise: {mean: M, std: S}"
                )
            scales[name] = Scale(mean=float(known.mean()), std=spread)
        return scales


def scale_of(spec: RewardTerm) -> Scale | None:
    """A term's statistics, None where the reference's answers are to give them."""
    if isinstance(spec.normalise, Scale):
        return spec.normalise
    return None if spec.normalise == "reference" else AS_IT_IS


def check_scales(settings: RewardSettings) -> None:
    """Raise SettingsError where a term is to be normalised by what only a run's folder can keep."""
    if waiting := [term.name or str(term.model) for term in settings.terms if term.normalise == "reference"]:
        raise SettingsError(_UNSCALED.format(", ".join(waiting)))
