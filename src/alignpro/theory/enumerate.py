"""Enumerable language-model worlds: every rewrite and every response of real causal LMs, with its probability."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from alignpro.errors import UsageError
from alignpro.models.language_model import LanguageModel
from alignpro.models.local import LocalFrozenModel, LocalPrompter
from alignpro.models.logprobs import score
from alignpro.theory.tabular import World
from alignpro.types import FloatArray, Response, Reward, as_prompts

LIMIT = 100_000
"""Texts a model may give before it counts as too large to enumerate."""

Tokens = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Enumerated:
    """A finite world, and the prompts [X], rewrites [R] and responses [Y] that its rows and columns stand for."""

    world: World
    prompts: tuple[str, ...]
    rewrites: tuple[str, ...]
    responses: tuple[str, ...]


def enumerate_world(
    prompter: LocalPrompter,
    frozen: LocalFrozenModel,
    reward: Reward,
    prompts: Sequence[str],
    *,
    lam: float,
    beta: float,
    log_prompts: FloatArray | None = None,
) -> Enumerated:
    """The exact world of a reference prompter, a frozen model and a reward, all prompts alike likely by default.

    Raises UsageError where a model can give more than `LIMIT` texts, samples from a truncated distribution, can write
    a rewrite that cannot be read, or a reward fails.
    """
    actions, answers = sequences(prompter.lm), sequences(frozen.lm)
    rewrites = [prompter.lm.frame.read(text) or "" for text in _texts(prompter.lm, actions)]
    if "" in rewrites:
        raise UsageError(
            f"{prompter.name} can write an empty rewrite, which has no reward; enumerate a model whose closing token"
            " is part of the text"
        )
    responses = _texts(frozen.lm, answers)
    pairs = [(x, y) for x in prompts for y in responses]
    scored = reward.score(as_prompts(x for x, _ in pairs), [Response(y) for _, y in pairs])
    if np.isnan(scored.values).any():
        reasons = sorted({reason for reason in scored.reasons if reason})
        raise UsageError(f"reward {reward.name} failed on an enumerated response: {reasons[0]}")
    given = list(dict.fromkeys([*rewrites, *prompts]))
    rows = dict(zip(given, log_probabilities(frozen.lm, given, answers), strict=True))
    return Enumerated(
        world=World(
            log_prompts=np.full(len(prompts), -np.log(len(prompts))) if log_prompts is None else log_prompts,
            log_reference=log_probabilities(prompter.lm, prompts, actions),
            log_frozen=np.array([rows[text] for text in rewrites]),
            log_frozen_raw=np.array([rows[text] for text in prompts]),
            reward=scored.values.reshape(len(prompts), -1),
            beta=beta,
            lam=lam,
        ),
        prompts=tuple(prompts),
        rewrites=tuple(rewrites),
        responses=tuple(responses),
    )


def sequences(lm: LanguageModel) -> list[Tokens]:
    """Every token sequence that the model can sample: closed by an end token, or cut at `max_new_tokens`.

    Raises UsageError where there are more than `LIMIT`.
    """
    vocabulary = int(lm.model.config.get_text_config().vocab_size)
    ends = set(lm.eos_ids)
    going = [t for t in range(vocabulary) if t not in ends]
    steps = lm.sampling.max_new_tokens
    count = sum(len(ends) * len(going) ** t for t in range(steps)) + len(going) ** steps
    if count > LIMIT:
        raise UsageError(
            f"{lm.name} can give {count:.3g} different texts of up to {steps} tokens; at most {LIMIT:,} can be"
            " enumerated. Lower sampling.max_new_tokens or take a smaller vocabulary"
        )
    ended: list[Tokens] = []
    open_ones: list[tuple[int, ...]] = [()]
    for _ in range(steps):
        ended += [np.array((*start, end), dtype=np.int64) for start in open_ones for end in sorted(ends)]
        open_ones = [(*start, token) for start in open_ones for token in going]
    return ended + [np.array(tokens, dtype=np.int64) for tokens in open_ones]


def log_probabilities(lm: LanguageModel, prompts: Sequence[str], actions: Sequence[Tokens]) -> FloatArray:
    """log p(action | prompt) [X, R] in nats as the model samples, summing to 1 over all of `sequences`.

    Raises UsageError for a truncated sampling distribution. Rows are normalised: float32 leaves them off by 1e-7.
    """
    if lm.sampling.top_p < 1 or lm.sampling.top_k:
        raise UsageError(f"{lm.name} samples with top_p or top_k; set them to 1 and 0 to enumerate it")
    queries = [query for query in lm.queries(prompts) for _ in actions]
    scored = score(lm.model, queries, [*actions] * len(prompts), lm.pad_id, lm.sampling.temperature, lm.batch_size)
    table = np.array([row.sum(dtype=np.float64) for row in scored]).reshape(len(prompts), -1)
    return np.asarray(table - np.log(np.exp(table).sum(1, keepdims=True)))


def _texts(lm: LanguageModel, actions: Sequence[Tokens]) -> list[str]:
    return [str(lm.tokenizer.decode(tokens.tolist(), skip_special_tokens=True)).strip() for tokens in actions]
