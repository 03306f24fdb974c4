"""Terms on the rewrite itself: they see x and x', never an answer, and stand beside the reward, not in it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from alignpro.config import PromptTerm
from alignpro.errors import SettingsError
from alignpro.maths import lengths
from alignpro.models.language_model import LanguageModel
from alignpro.models.logprobs import score
from alignpro.rewards.functions import FunctionReward, load_function
from alignpro.rewards.guards import Guards
from alignpro.rewards.spans import lost
from alignpro.types import FloatArray, Prompt, PromptResult, Response, as_prompts

Measure = Callable[[Sequence[Prompt], Sequence[str]], tuple[FloatArray, tuple[str | None, ...]]]
"""(prompts, rewrites) -> values [N], nan where there is none, and why."""


@dataclass(frozen=True)
class PromptTerms:
    """Named terms with weights; their weighted sum joins R(x, x') in the objective."""

    names: tuple[str, ...]
    weights: tuple[float, ...]
    measures: tuple[Measure, ...]

    def check(self, prompts: Sequence[Prompt]) -> list[str]:
        """What terms of the user's own will lack in the prompts. Raises SettingsError where that is all."""
        return [line for measure in self.measures if isinstance(measure, _Own) for line in measure.check(prompts)]

    def score(self, prompts: Sequence[str | Prompt], rewrites: Sequence[str]) -> PromptResult:
        """Each term's values and the weighted sum [N]; equal pairs are measured once."""
        index: dict[tuple[Prompt, str], int] = {}
        where = [index.setdefault(both, len(index)) for both in zip(as_prompts(prompts), rewrites, strict=True)]
        xs, texts = [x for x, _ in index], [text for _, text in index]
        parts: dict[str, FloatArray] = {}
        total = np.zeros(len(index))
        reasons: list[str | None] = [None] * len(index)
        for name, weight, measure in zip(self.names, self.weights, self.measures, strict=True):
            values, why = measure(xs, texts)
            parts[name] = values[where]
            total = total + weight * values
            for i, reason in enumerate(why):
                if reason is not None and reasons[i] is None:
                    reasons[i] = f"prompt term {name}: {reason.removeprefix('reward ')}"
        return PromptResult(parts, total[where], tuple(reasons[i] for i in where))


@dataclass(frozen=True)
class _Own:
    """A term by a function of the user's, of (prompts, rewrites) and the columns that it names."""

    function: FunctionReward

    def __call__(self, prompts: Sequence[Prompt], rewrites: Sequence[str]) -> tuple[FloatArray, tuple[str | None, ...]]:
        scored = self.function.score(prompts, [Response(text) for text in rewrites])
        return scored.values, scored.reasons

    def check(self, prompts: Sequence[Prompt]) -> list[str]:
        return self.function.check(prompts)


def reads_reference(spec: PromptTerm) -> bool:
    """Whether the term is measured by the reference prompter's model or in its tokens."""
    return spec.term == "fluency" or (spec.term == "length" and spec.unit == "tokens")


def load_prompt_terms(
    specs: Sequence[PromptTerm], reference: LanguageModel | None, guards: Guards | None = None
) -> PromptTerms | None:
    """The terms of the settings; None where there are none. The reference may be None where none of them reads it;
    guards are those of default settings where none are given.

    Raises SettingsError for a function that is not there.
    """
    if not specs:
        return None
    measures = tuple(
        _measure(spec, reference, guards or Guards(), f"prompt_terms.{number}.term")
        for number, spec in enumerate(specs)
    )
    return PromptTerms(tuple(spec.called for spec in specs), tuple(spec.weight for spec in specs), measures)


def excess(count: Callable[[str], int], limit: int) -> Measure:
    """Less 1 for every word or token of x' past the limit; 0 within it."""
    return lambda prompts, rewrites: _certain([-float(max(0, count(text) - limit)) for text in rewrites])


def kept(kinds: Sequence[str]) -> Measure:
    """Share of what x has of each kind that stands in x' (`rewards.spans`); 1 where x has nothing of them."""
    return lambda prompts, rewrites: _certain(
        [_kept(x.text, text, kinds) for x, text in zip(prompts, rewrites, strict=True)]
    )


def _kept(prompt: str, rewrite: str, kinds: Sequence[str]) -> float:
    found = [lost(kind, prompt, rewrite) for kind in kinds]
    wanted = sum(count for _, count in found)
    return 1 - sum(len(gone) for gone, _ in found) / wanted if wanted else 1.0


def guarded(guards: Guards) -> Measure:
    """-1 for a rewrite that any of the guards rejects, 0 for another."""
    return lambda prompts, rewrites: _certain(
        [-1.0 if guards(x, text) else 0.0 for x, text in zip(prompts, rewrites, strict=True)]
    )


def fluency(lm: LanguageModel) -> Measure:
    """Mean log-probability a token of x' under the reference prompter's model, in nats, with nothing before it but a
    beginning (or, without one, an end) of text."""

    def measure(prompts: Sequence[Prompt], rewrites: Sequence[str]) -> tuple[FloatArray, tuple[str | None, ...]]:
        start = lm.tokenizer.bos_token_id
        start = start if start is not None else next(iter(lm.eos_ids), lm.pad_id)
        texts = list(dict.fromkeys(rewrites))
        rows = [np.array(lm.frame.tokens(text)[: lm.context - 1], dtype=np.int64) for text in texts]
        scored = score(lm.model, [[start]] * len(rows), rows, lm.pad_id, 1.0, lm.batch_size)
        mean = {
            text: float(row.mean(dtype=np.float64)) if len(row) else np.nan
            for text, row in zip(texts, scored, strict=True)
        }
        values = np.array([mean[text] for text in rewrites], dtype=np.float64)
        return values, tuple(None if np.isfinite(value) else "no tokens" for value in values)

    return measure


def _measure(spec: PromptTerm, reference: LanguageModel | None, guards: Guards, setting: str) -> Measure:
    if reads_reference(spec):
        if reference is None:
            raise SettingsError(f"{setting} {spec.term} reads the reference prompter, and none is loaded")
        lm = reference
        return fluency(lm) if spec.term == "fluency" else excess(lambda text: len(lm.frame.tokens(text)), spec.limit)
    if spec.term == "length":
        return excess(lengths.words, spec.limit)
    if spec.term == "kept":
        return kept(spec.keep)
    if spec.term == "guards":
        return guarded(guards)
    return _Own(load_function(spec.term, setting, spec.arguments))


def _certain(values: Sequence[float]) -> tuple[FloatArray, tuple[str | None, ...]]:
    return np.array(values, dtype=np.float64), (None,) * len(values)
