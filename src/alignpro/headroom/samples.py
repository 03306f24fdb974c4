"""What the estimates rest on: for each prompt, rewrites with rewards, plain answers with rewards, and likelihoods.

Each prompt's row is written as it comes, so that a stopped estimate goes on where it was and no answer of the frozen
model is paid for twice.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from alignpro.config import HeadroomSettings
from alignpro.evaluate.models import Models, log_ratios
from alignpro.flow.failures import check_failures
from alignpro.flow.objective import score_rewrites
from alignpro.flow.prompters import IdentityPrompter
from alignpro.flow.rollout import rollout
from alignpro.models.language_model import LanguageModel
from alignpro.models.local import LocalFrozenModel
from alignpro.rng import derive
from alignpro.runtime import files, progress
from alignpro.runtime.interrupt import StopRequest
from alignpro.runtime.progress import Advance
from alignpro.types import FloatArray, Generation, Prompt

TV_REWRITES, TV_RESPONSES = 8, 8
"""Rewrites and answers of a prompt between which the frozen model's likelihoods are compared."""


@dataclass(frozen=True, slots=True)
class Samples:
    """Of B prompts: N rewrites each, the first `from_reference` of them the reference's and the rest the trained
    prompter's, with K rewards each that equal rewrites share.

    `texts` [B][N], `rewards` [B, N, K] and `raw` [B, M] (answers to the prompt itself), nan where failed; `same` [B, N]
    numbers a prompt's different rewrites. `log_ratio` [B, N] is log trained - log reference in nats, 0 without a
    trained prompter. `distance` [B] estimates E TV(pi_F(.|x), pi_F(.|x')) over the reference's x', nan where the frozen
    model tells no likelihoods. `parts` [B, N, K] and `raw_parts` [B, M] by name are raw scores of a composite reward's
    terms, nan in rows without them.
    """

    prompts: tuple[Prompt, ...]
    from_reference: int
    texts: tuple[tuple[str, ...], ...]
    rewards: FloatArray
    raw: FloatArray
    same: npt.NDArray[np.int64]
    log_ratio: FloatArray
    distance: FloatArray
    frozen_calls: int
    parts: Mapping[str, FloatArray] = field(default_factory=dict)
    raw_parts: Mapping[str, FloatArray] = field(default_factory=dict)

    @property
    def log_base(self) -> FloatArray:
        """log(reference / proposal) of each draw [B, N], the proposal being the mixture that was sampled from."""
        share = self.from_reference / self.log_ratio.shape[1]
        with np.errstate(divide="ignore"):
            return np.asarray(-np.logaddexp(np.log(share), np.log(1 - share) + self.log_ratio))


def gather(
    prompts: Sequence[Prompt],
    models: Models,
    trained_lm: LanguageModel | None,
    settings: HeadroomSettings,
    *,
    path: Path,
    identity: str,
    seed: int,
    max_failed: float,
    stop: StopRequest,
    advance: Advance,
    written: Callable[[], None] = lambda: None,
) -> Samples:
    """Sample every prompt that `path` has no row of yet. `identity` names the models: rows of others are dropped.
    `written` is called whenever rows are.

    Raises RewardFailure, Interrupted; rows so far are kept.
    """
    key = hashlib.blake2b(
        json.dumps([identity, seed, settings.rewrites, settings.responses, settings.answers]).encode(), digest_size=8
    ).hexdigest()
    files.keep_rows(path, lambda row: row.get("key") == key)
    rows = dict(files.parsed_rows(path, _whole, "delete that line, and its prompt is sampled again"))
    left = [prompt for prompt in prompts if prompt.key not in rows]
    failures: Counter[str] = Counter()

    def table(which: Sequence[Prompt]) -> Samples:
        return _table(which, [rows[prompt.key] for prompt in which], settings, trained_lm is not None)

    for start in range(0, len(left), settings.chunk):
        done = len(prompts) - len(left) + start
        advance(done, f"{sum(row['frozen_calls'] for row in rows.values()):,} answers asked")
        stop.check()
        chunk = left[start : start + settings.chunk]
        here = settings.rewrites * settings.responses + settings.answers
        here = here if isinstance(models.frozen, LocalFrozenModel) else 0
        progress.expect(len(chunk), len(chunk) * (settings.rewrites + here))
        sampled, why = _sample(chunk, models, trained_lm, settings, derive(seed, chunk[0].key))
        made = [{"key": key, **row} for row in sampled]
        failures += why
        rows |= {row["prompt"]: row for row in made}
        so_far = table(
            [prompt for prompt in prompts if prompt.key in rows]
        )  # all of it, since the last few prompts alone say little about the reward
        check_failures(so_far.rewards, failures, max_failed, "headroom, rewrites")
        check_failures(so_far.raw, failures, max_failed, "headroom, plain answers")
        # after the check: rows that failed are sampled again once the reward is mended
        written()
        files.append_jsonl(path, made, checked=True)
    advance(len(prompts), "")
    return table(prompts)


def _whole(row: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """Prompt.key of a row that can be used, and the row. Raises KeyError, TypeError, ValueError, IndexError."""
    for name in ("rewards", "log_ratio", "answers", "distance"):
        np.array(row[name], dtype=np.float64)
    [row["texts"][i] for i in row["which"]]
    row["failed"], int(row["frozen_calls"])
    return row["prompt"], row


def _sample(
    prompts: Sequence[Prompt],
    models: Models,
    trained_lm: LanguageModel | None,
    settings: HeadroomSettings,
    seed: int,
) -> tuple[list[dict[str, Any]], Counter[str]]:
    """A row for each prompt, and the reasons of failures."""
    ours = settings.rewrites // 2 if models.trained else 0
    reference = models.known_reference()
    rewrites = reference.prompter.rewrite(prompts, settings.rewrites - ours, derive(seed, "reference"))
    ratios = np.zeros((len(prompts), settings.rewrites))
    if models.trained and trained_lm:
        drawn = models.trained.rewrite(prompts, ours, derive(seed, "trained"))
        ratios = np.concatenate([-log_ratios(trained_lm, rewrites), log_ratios(reference.lm, drawn)], axis=1)
        rewrites = [[*a, *b] for a, b in zip(rewrites, drawn, strict=True)]
    made = score_rewrites(
        prompts, rewrites, models.frozen, models.reward, responses=settings.responses, seed=derive(seed, "rewrites")
    )
    plain = rollout(
        prompts,
        IdentityPrompter(),
        models.frozen,
        models.reward,
        responses=settings.answers,
        seed=derive(seed, "answers"),
    )
    distance = _distances(prompts, rewrites, [row[0] for row in plain.responses], models)
    rows = []
    for b, prompt in enumerate(prompts):
        texts = list(dict.fromkeys(g.text for g in rewrites[b]))
        first = {g.text: i for i, g in sorted(enumerate(rewrites[b]), key=lambda drawn: drawn[1].failure is None)}
        parts = {name: [_listed(values[b, first[text]]) for text in texts] for name, values in made.parts.items()}
        answer_parts = {name: _listed(values[b, 0]) for name, values in plain.parts.items()}
        rows.append(
            {
                "prompt": prompt.key,
                "texts": texts,
                "which": [texts.index(g.text) for g in rewrites[b]],
                "rewards": [_listed(made.rewards[b, first[text]]) for text in texts],
                "failed": [g.failure is not None for g in rewrites[b]],
                "log_ratio": _listed(ratios[b]),
                "answers": _listed(plain.rewards[b, 0]),
                "distance": _listed(distance[[b]])[0],
                "frozen_calls": int(made.frozen_calls[b]) + settings.answers,
                **({"parts": parts, "answer_parts": answer_parts} if parts or answer_parts else {}),
            }
        )
    return rows, made.failures + plain.failures


def _distances(
    prompts: Sequence[Prompt],
    rewrites: Sequence[Sequence[Generation]],
    answers: Sequence[Sequence[Generation]],
    models: Models,
) -> FloatArray:
    """E over x' of TV(p, q) = E_{y ~ p} (1 - q(y)/p(y))+ [B], p the frozen model's answers to x and q those to x'."""
    if not isinstance(models.frozen, LocalFrozenModel) or models.frozen.truncated:
        return np.full(len(prompts), np.nan)
    distances = []
    for prompt, row, given in zip(prompts, rewrites, answers, strict=True):
        texts = [g.text for g in row if g.failure is None][:TV_REWRITES]
        ys = [y for y in given if y.failure is None][:TV_RESPONSES]
        wanted = list(dict.fromkeys([prompt.text, *texts]))
        asked = [prompt.asking(text) for text in wanted for _ in ys]
        scored = models.frozen.logprobs(asked, ys * len(wanted)).reshape(len(wanted), -1)
        by_text = dict(zip(wanted, scored, strict=True))
        with np.errstate(over="ignore"):
            lost = [np.maximum(0, -np.expm1(by_text[text] - by_text[prompt.text])) for text in texts]
        distances.append(float(np.nanmean(lost)) if lost and ys else np.nan)
    return np.array(distances)


def _table(
    prompts: Sequence[Prompt], rows: Sequence[dict[str, Any]], settings: HeadroomSettings, trained: bool
) -> Samples:
    def numbers(values: Any) -> FloatArray:
        return np.array(values, dtype=np.float64)  # None becomes nan

    def drawn(row: dict[str, Any], by_text: Any) -> FloatArray:
        return np.where(np.array(row["failed"])[:, None], np.nan, numbers(by_text)[row["which"]])

    def part(row: dict[str, Any], of: str, name: str, like: str) -> FloatArray:
        """Raw scores, nan in a row without any, in the shape of its rewards."""
        return numbers(row.get(of, {}).get(name, np.full_like(numbers(row[like]), np.nan)))

    names = dict.fromkeys(name for row in rows for of in ("parts", "answer_parts") for name in row.get(of, ()))
    return Samples(
        prompts=tuple(prompts),
        from_reference=settings.rewrites - (settings.rewrites // 2 if trained else 0),
        texts=tuple(tuple(row["texts"][i] for i in row["which"]) for row in rows),
        rewards=np.array([drawn(row, row["rewards"]) for row in rows]),
        raw=numbers([row["answers"] for row in rows]),
        same=np.array([row["which"] for row in rows]),
        log_ratio=numbers([row["log_ratio"] for row in rows]),
        distance=numbers([row["distance"] for row in rows]),
        frozen_calls=sum(row["frozen_calls"] for row in rows),
        parts={name: np.array([drawn(row, part(row, "parts", name, "rewards")) for row in rows]) for name in names},
        raw_parts={name: np.array([part(row, "answer_parts", name, "answers") for row in rows]) for name in names},
    )


def _listed(values: FloatArray) -> list[float | None]:
    return [float(v) if np.isfinite(v) else None for v in values]
