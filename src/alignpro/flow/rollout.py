"""x -> x' -> y -> r: the one flow that training, evaluation, estimation and serving share."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from alignpro.maths.stats import mean_over_responses
from alignpro.rng import derive
from alignpro.runtime import processes
from alignpro.types import (
    Drawn,
    EagerPrompter,
    FloatArray,
    FrozenModel,
    Generation,
    Prompter,
    RemoteModel,
    Reward,
    RewriteTerms,
    Rollout,
    ThreadedReward,
)

Answers = Sequence[tuple[tuple[Generation, ...], ...]]
SCORED_TOGETHER = 64
"""Answers of a remote model that are scored in one call, while others are under way."""


@dataclass(frozen=True, slots=True)
class _Scored:
    """Rewards [B, G, K], the parts of a composite reward in that shape by name, and reasons of failure."""

    rewards: FloatArray
    parts: Mapping[str, FloatArray]
    failures: Counter[str]


def rollout(
    prompts: Sequence[str],
    prompter: Prompter,
    frozen: FrozenModel,
    reward: Reward,
    *,
    rewrites: int = 1,
    responses: int = 1,
    seed: int,
    prompt_terms: RewriteTerms | None = None,
) -> Rollout:
    """Sample G rewrites of each of B prompts and K responses to each, and score every response against its x.

    Equal rewrites are sent to the frozen model once with the number of responses they need together; each still gets
    its own, independent ones. A rewrite that failed is not sent. Samples that failed anywhere have reward nan and are
    counted by reason; nothing is ever scored 0 for failing. `prompt_terms` see x and x' and stand beside the reward,
    which sees x and y. A remote model is asked while rewrites are still drawn; of
    several processes the first asks it, when all have drawn theirs.
    """
    luck = derive(seed, "rewrite")
    if isinstance(frozen, RemoteModel) and processes.count() == 1:

        def draw(drawn: Drawn) -> list[list[Generation]]:
            if isinstance(prompter, EagerPrompter):
                return prompter.rewrite_each(prompts, rewrites, luck, drawn)
            return prompter.rewrite(prompts, rewrites, luck)

        return _overlapped(prompts, draw, rewrites, frozen, reward, responses, seed, prompt_terms)
    drawn = prompter.rewrite(prompts, rewrites, luck)
    return answer(prompts, drawn, frozen, reward, responses=responses, seed=seed, prompt_terms=prompt_terms)


def answer(
    prompts: Sequence[str],
    rewrites: Sequence[Sequence[Generation]],
    frozen: FrozenModel,
    reward: Reward,
    *,
    responses: int = 1,
    seed: int,
    prompt_terms: RewriteTerms | None = None,
) -> Rollout:
    """The second half of `rollout`, from rewrites already drawn; every prompt has the same number of them."""
    if isinstance(frozen, RemoteModel):
        width = len(rewrites[0]) if rewrites else 0
        drawn = (prompts, lambda drawn: rewrites, width, frozen, reward, responses, seed, prompt_terms)
        return processes.by_first(lambda: _overlapped(*drawn))
    wanted = _wanted(rewrites, responses)
    given = frozen.respond(list(wanted), list(wanted.values()), derive(seed, "respond"))
    answers = _share_out(rewrites, wanted, given, responses)
    return _whole(prompts, rewrites, answers, _scored(prompts, answers, reward), wanted.total(), prompt_terms)


def _overlapped(
    prompts: Sequence[str],
    draw: Callable[[Drawn], Sequence[Sequence[Generation]]],
    width: int,
    frozen: RemoteModel,
    reward: Reward,
    responses: int,
    seed: int,
    prompt_terms: RewriteTerms | None,
) -> Rollout:
    """A prompt's rewrites are sent as soon as all of them are drawn, and scored while later answers are under way.

    Each prompt's answers have a seed of their own, and the same prompts are always scored together, so the result does
    not depend on what came first. An error anywhere stops the rest.
    """
    asked: dict[int, tuple[Counter[str], Future[list[list[Generation]]]]] = {}
    found: list[dict[int, Generation]] = [{} for _ in prompts]
    chunk = max(1, SCORED_TOGETHER // max(1, width * responses))
    threads = reward.threads if isinstance(reward, ThreadedReward) else 1
    with ThreadPoolExecutor(threads) as scorers, frozen.asking() as asking:
        try:

            def ask(b: int, row: Sequence[Generation]) -> None:
                wanted = _wanted([row], responses)
                luck = derive(seed, "respond", b)
                asked[b] = wanted, asking.ask(list(wanted), list(wanted.values()), luck)

            def drawn(b: int, g: int, rewrite: Generation) -> None:
                found[b][g] = rewrite
                if len(found[b]) == width:
                    ask(b, [found[b][i] for i in range(width)])

            rewrites = draw(drawn)
            for b, row in enumerate(rewrites):
                if b not in asked:
                    ask(b, row)
            answers: list[tuple[tuple[Generation, ...], ...]] = []
            scores: list[Future[_Scored]] = []
            for start in range(0, len(prompts), chunk):
                for b in range(start, min(start + chunk, len(prompts))):
                    wanted, given = asked[b]
                    answers += _share_out([rewrites[b]], wanted, given.result(), responses)
                part = prompts[start : start + chunk], answers[start : start + chunk], reward
                if threads > 1:
                    scores.append(scorers.submit(_scored, *part))
                else:
                    scores.append(Future())
                    scores[-1].set_result(_scored(*part))
            parts = [score.result() for score in scores]
        except BaseException:
            scorers.shutdown(wait=False, cancel_futures=True)
            raise
    scored = _joined(parts, (len(prompts), width, responses))
    return _whole(prompts, rewrites, answers, scored, sum(w.total() for w, _ in asked.values()), prompt_terms)


def _wanted(rewrites: Sequence[Sequence[Generation]], responses: int) -> Counter[str]:
    """Responses that each different rewrite needs."""
    wanted: Counter[str] = Counter()
    for row in rewrites:
        for rewrite in row:
            if rewrite.failure is None:
                wanted[rewrite.text] += responses
    return wanted


def _share_out(
    rewrites: Sequence[Sequence[Generation]],
    wanted: Counter[str],
    given: Sequence[Sequence[Generation]],
    responses: int,
) -> tuple[tuple[tuple[Generation, ...], ...], ...]:
    """Responses of each rewrite [B][G][K]: its own of those that its text was given; its failure where it has one."""
    pools = {text: iter(row) for text, row in zip(wanted, given, strict=True)}
    return tuple(
        tuple(
            tuple(
                next(pools[rewrite.text]) if rewrite.failure is None else Generation("", failure=rewrite.failure)
                for _ in range(responses)
            )
            for rewrite in row
        )
        for row in rewrites
    )


def _scored(prompts: Sequence[str], answers: Answers, reward: Reward) -> _Scored:
    """Rewards and a composite reward's parts, nan where anything failed, and the reasons."""
    width = len(answers[0]) if answers else 0
    rewards = np.full((len(prompts), width, len(answers[0][0]) if width else 0), np.nan)
    parts: dict[str, FloatArray] = {}
    failures: Counter[str] = Counter()
    where: list[tuple[int, int, int]] = []
    for b, g, k in np.ndindex(rewards.shape):
        failure = answers[b][g][k].failure
        if failure is None:
            where.append((b, g, k))
        else:
            failures[failure] += 1
    if where:
        scored = reward.score([prompts[b] for b, _, _ in where], [answers[b][g][k].text for b, g, k in where])
        for index, value, reason in zip(where, scored.values, scored.reasons, strict=True):
            rewards[index] = value
            if reason is not None:
                failures[reason] += 1
        for name, values in scored.parts.items():
            parts[name] = np.full(rewards.shape, np.nan)
            parts[name][tuple(np.transpose(where))] = values
    return _Scored(rewards, parts, failures)


def _joined(scores: Sequence[_Scored], shape: tuple[int, ...]) -> _Scored:
    """The scores of all prompts [B, G, K] from those of some at a time."""
    if not scores:
        return _Scored(np.full(shape, np.nan), {}, Counter())
    names = dict.fromkeys(name for score in scores for name in score.parts)
    return _Scored(
        np.concatenate([score.rewards for score in scores]),
        {name: np.concatenate([s.parts.get(name, np.full(s.rewards.shape, np.nan)) for s in scores]) for name in names},
        sum((score.failures for score in scores), Counter[str]()),
    )


def _whole(
    prompts: Sequence[str],
    rewrites: Sequence[Sequence[Generation]],
    answers: Answers,
    scored: _Scored,
    frozen_calls: int,
    prompt_terms: RewriteTerms | None,
) -> Rollout:
    terms, bonus, unmeasured = _measured(prompts, rewrites, prompt_terms)
    failures = scored.failures
    for (b, g), reason in unmeasured.items():
        failures[reason] += int(np.isfinite(scored.rewards[b, g]).sum())
    return Rollout(
        prompts=tuple(prompts),
        rewrites=tuple(tuple(row) for row in rewrites),
        responses=tuple(answers),
        rewards=scored.rewards,
        failures=failures,
        frozen_calls=frozen_calls,
        parts=scored.parts,
        prompt_terms=terms,
        bonus=bonus,
    )


def objective(made: Rollout | Scores) -> FloatArray:
    """R(x, x') [B, G], the mean over responses, with the terms on x' added; nan where either is. (8)"""
    return np.asarray(mean_over_responses(made.rewards) + made.bonus)


def _measured(
    prompts: Sequence[str], rewrites: Sequence[Sequence[Generation]], terms: RewriteTerms | None
) -> tuple[dict[str, FloatArray], FloatArray | float, dict[tuple[int, int], str]]:
    """Terms on every rewrite that did not fail [B, G] by name, their weighted sum, and where and why one is missing."""
    if terms is None:
        return {}, 0.0, {}
    shape = (len(prompts), len(rewrites[0]) if rewrites else 0)
    where = [(b, g) for b, g in np.ndindex(shape) if rewrites[b][g].failure is None]
    found = terms.score([prompts[b] for b, _ in where], [rewrites[b][g].text for b, g in where])
    at = tuple(np.array(where, dtype=np.int64).reshape(-1, 2).T)

    def placed(values: FloatArray) -> FloatArray:
        table = np.full(shape, np.nan)
        table[at] = values
        return table

    missing = {index: reason for index, reason in zip(where, found.reasons, strict=True) if reason is not None}
    return {name: placed(values) for name, values in found.parts.items()}, placed(found.total), missing


@dataclass(frozen=True, slots=True)
class Scores:
    """Rewards [B, G, K] of given rewrites, nan where failed; answers asked for each prompt [B]; reasons of failure.

    `parts` [B, G, K], `prompt_terms` [B, G] and `bonus` [B, G] as in a Rollout.
    """

    rewards: FloatArray
    frozen_calls: npt.NDArray[np.int64]
    failures: Counter[str]
    parts: Mapping[str, FloatArray]
    prompt_terms: Mapping[str, FloatArray]
    bonus: FloatArray | float


def score_rewrites(
    prompts: Sequence[str],
    rewrites: Sequence[Sequence[Generation]],
    frozen: FrozenModel,
    reward: Reward,
    *,
    responses: int,
    seed: int,
    prompt_terms: RewriteTerms | None = None,
) -> Scores:
    """K responses to each different rewrite of a prompt, scored against x; equal rewrites share theirs.

    This is what an estimate of R(x, x') needs, and it asks for less than `answer`, which keeps samples independent.
    """
    found = [{g.text: g for g in reversed(row) if g.failure is None} for row in rewrites]
    pairs = [(b, text) for b, row in enumerate(found) for text in row]
    place = {pair: i for i, pair in enumerate(pairs)}
    made = answer(
        [prompts[b] for b, _ in pairs],
        [[found[b][text]] for b, text in pairs],
        frozen,
        reward,
        responses=responses,
        seed=seed,
        prompt_terms=prompt_terms,
    )
    index = np.array(
        [[place.get((b, g.text), -1) if g.failure is None else -1 for g in row] for b, row in enumerate(rewrites)]
    )

    def looked_up(values: FloatArray, *more: int) -> FloatArray:
        """[pairs, 1, ...] -> [B, G, ...]; what failed stands last, and that is where -1 points."""
        failed = np.full((1, *more), np.nan)
        return np.asarray((np.concatenate([values[:, 0], failed]) if pairs else failed)[index])

    failures = made.failures + Counter(g.failure for row in rewrites for g in row if g.failure is not None)
    return Scores(
        looked_up(made.rewards, responses),
        np.array([responses * len(row) for row in found]),
        failures,
        {name: looked_up(values, responses) for name, values in made.parts.items()},
        {name: looked_up(values) for name, values in made.prompt_terms.items()},
        looked_up(made.bonus) if isinstance(made.bonus, np.ndarray) else made.bonus,
    )
