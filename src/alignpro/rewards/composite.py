"""A reward that is a weighted sum of others, each normalised by fixed statistics, then clipped; and what gates it."""

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
_BELOW = (
    "reward.gate: with what {} may add, the reward can be below 0, and a gate of 0 makes it 0: failing could be worth"
    " more than passing. Keep it at 0 or more by a term's clip, or by normalise: {{mean: LOWEST, std: 1}}"
)
TOO_LARGE, NO_FACTOR = "the weighted sum is not finite", "no factor from 0 to 1"
GATE, UNGATED = "gate", "ungated"
"""Parts beside those of terms: the product of the factors, and the sum that it scales."""
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

    @property
    def lowest(self) -> float:
        """The least that it can add, by its clip and by what is known of its reward's scores."""
        scores = bounds_of(self.reward) if self.scale else UNKNOWN
        return float(min(self.worth(np.array(scores)))) if self.weight else 0.0


@dataclass(frozen=True)
class Gate:
    """A factor from 0 to 1: the score itself, or 1 where it is within [at_least, at_most] and 0 elsewhere."""

    name: str
    reward: Reward
    at_least: float | None = None
    at_most: float | None = None

    @classmethod
    def of(cls, name: str, reward: Reward, at_least: float | None, at_most: float | None, setting: str) -> Gate:
        """Raises SettingsError for a score that is known to leave 0 to 1, without a bound to pass."""
        low, high = bounds_of(reward)
        gate = cls(name, reward, at_least, at_most)
        if not gate.passes and (low, high) != UNKNOWN and not 0 <= low <= high <= 1:
            raise SettingsError(
                f"{setting}: {name} is from {low:g} to {high:g}, and a factor is from 0 to 1; say what passes, by"
                " at_least or at_most"
            )
        return gate

    @property
    def passes(self) -> bool:
        """Whether it asks for a score to pass, so that its factor is 0 or 1."""
        return self.at_least is not None or self.at_most is not None

    def factor(self, values: FloatArray) -> FloatArray:
        """Factors of raw scores [N]; nan where there is none, or where one that is a factor leaves 0 to 1."""
        low = (-np.inf if self.at_least is None else self.at_least) if self.passes else 0.0
        high = (np.inf if self.at_most is None else self.at_most) if self.passes else 1.0
        within = (values >= low) & (values <= high)
        if self.passes:
            return np.where(np.isnan(values), np.nan, within.astype(np.float64))
        return np.where(within, values, np.nan)


UNKNOWN = (-np.inf, np.inf)


def bounds_of(reward: Reward) -> tuple[float, float]:
    """The least and the greatest score that a reward can give, where it tells them."""
    low, high = getattr(reward, "bounds", UNKNOWN)
    return float(low), float(high)


@dataclass(frozen=True)
class CompositeReward:
    """r(x, y) as the sum of its terms, times the factors of its gates.

    A pair that any of them cannot score has no reward, with the term named; but where every gate has a factor and one
    of them is 0, the reward is 0, whatever the terms are.
    """

    terms: tuple[Term, ...]
    gates: tuple[Gate, ...] = ()

    def __post_init__(self) -> None:
        names = [term.name for term in self.terms]
        if self.gates:
            names += [*(gate.name for gate in self.gates), GATE, UNGATED]
        if twice := next((name for name in names if names.count(name) > 1), None):
            raise SettingsError(f"reward.terms: two terms are called {twice}; give each a name of its own")

    @property
    def name(self) -> str:
        total = " + ".join(f"{term.weight:g} {term.name}" for term in self.terms).replace("+ -", "- ")
        if not self.gates:
            return total
        return " * ".join([*map(_written, self.gates), f"({total})" if self._sums else self.terms[0].name])

    @property
    def _sums(self) -> bool:
        """Whether what is gated is another figure than the raw score of a single term."""
        (first, *others) = self.terms
        return bool(others) or (first.weight, first.clip, first.scale) != (1, None, AS_IT_IS)

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
        reasons = _first(reasons, [TOO_LARGE if not np.isfinite(value) else None for value in total])
        if self.gates:
            total, reasons, passed = self._gated(total, reasons, prompts, responses)
            parts |= passed
        return RewardResult(np.where([reason is None for reason in reasons], total, np.nan), reasons, parts)

    def _gated(
        self,
        total: FloatArray,
        reasons: Sequence[str | None],
        prompts: Sequence[str | Prompt],
        responses: Sequence[str | Response],
    ) -> tuple[FloatArray, tuple[str | None, ...], dict[str, FloatArray]]:
        """The sum [N] times the factors, reasons, and what stands beside the terms' raw scores: the gates' raw scores,
        their product where it is another figure, and the sum before it where that is."""
        parts, why = _scored(self.gates, prompts, responses)
        factors = [gate.factor(parts[gate.name]) for gate in self.gates]
        for gate, factor in zip(self.gates, factors, strict=True):
            why = _first(why, [f"{gate.name}: {NO_FACTOR}" if np.isnan(one) else None for one in factor])
        product = np.prod(factors, axis=0)
        if len(self.gates) > 1 or self.gates[0].passes:
            parts[GATE] = product
        if self._sums:
            parts[UNGATED] = np.where(np.isfinite(total), total, np.nan)
        shut = product == 0
        with np.errstate(invalid="ignore"):
            total = np.where(shut, 0.0, product * total)
        left = tuple(None if closed else reason for closed, reason in zip(shut, reasons, strict=True))
        return total, _first(why, left), parts

    def check(self, prompts: Sequence[Prompt]) -> list[str]:
        """What its terms and gates will lack in the prompts, and whether failing may pay. Raises as they do."""
        rewards = [*(term.reward for term in self.terms), *(gate.reward for gate in self.gates)]
        lines = [line for reward in rewards if isinstance(reward, ReadsRows) for line in reward.check(prompts)]
        if self.gates and sum(term.lowest for term in self.terms) < 0:
            lines.append(_BELOW.format(", ".join(term.name for term in self.terms if term.lowest < 0)))
        return list(dict.fromkeys(lines))

    def parts(
        self, prompts: Sequence[str | Prompt], responses: Sequence[str | Response]
    ) -> tuple[dict[str, FloatArray], tuple[str | None, ...]]:
        """Raw scores [N] by term, and why a pair lacks one."""
        return _scored(self.terms, prompts, responses)

    def scaled(self, scales: Mapping[str, Scale]) -> CompositeReward:
        """With these statistics for the terms that lack theirs."""
        terms = tuple(replace(t, scale=scales[t.name]) if t.scale is None else t for t in self.terms)
        return replace(self, terms=terms)

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


def _scored(
    sources: Sequence[Term] | Sequence[Gate], prompts: Sequence[str | Prompt], responses: Sequence[str | Response]
) -> tuple[dict[str, FloatArray], tuple[str | None, ...]]:
    """Raw scores [N] by name, and the first reason why a pair lacks one."""
    prompts, responses = as_prompts(prompts), as_responses(responses)
    parts: dict[str, FloatArray] = {}
    reasons: tuple[str | None, ...] = (None,) * len(prompts)
    for one in sources:
        scored = one.reward.score(prompts, responses)
        parts[one.name] = scored.values
        reasons = _first(reasons, [None if why is None else f"{one.name}: {why}" for why in scored.reasons])
    return parts, reasons


def _first(reasons: Sequence[str | None], others: Sequence[str | None]) -> tuple[str | None, ...]:
    return tuple(other if reason is None else reason for reason, other in zip(reasons, others, strict=True))


def _written(gate: Gate) -> str:
    """A gate in the reward's name."""
    low = "" if gate.at_least is None else f"{gate.at_least:g} <= "
    high = "" if gate.at_most is None else f" <= {gate.at_most:g}"
    return f"({low}{gate.name}{high})" if low or high else gate.name


def scale_of(spec: RewardTerm) -> Scale | None:
    """A term's statistics, None where the reference's answers are to give them."""
    if isinstance(spec.normalise, Scale):
        return spec.normalise
    return None if spec.normalise == "reference" else AS_IT_IS


def check_scales(settings: RewardSettings) -> None:
    """Raise SettingsError where a term is to be normalised by what only a run's folder can keep."""
    if waiting := [term.name or str(term.model) for term in settings.terms if term.normalise == "reference"]:
        raise SettingsError(_UNSCALED.format(", ".join(waiting)))
