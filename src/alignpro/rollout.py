"""x -> x' -> y -> r: the one flow that training, evaluation, estimation and serving share."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from alignpro.rng import derive
from alignpro.types import (
    Drawn,
    EagerPrompter,
    FloatArray,
    FrozenModel,
    Generation,
    Prompter,
    RemoteModel,
    Reward,
    Rollout,
    ThreadedReward,
)

SCORED_TOGETHER = 64
"""Answers of a remote model that are scored in one call, while others are under way."""


def rollout(
    prompts: Sequence[str],
    prompter: Prompter,
    frozen: FrozenModel,
    reward: Reward,
    *,
    rewrites: int = 1,
    responses: int = 1,
    seed: int,
) -> Rollout:
    """Sample G rewrites of each of B prompts and K responses to each, and score every response against its x.

    Equal rewrites are sent to the frozen model once with the number of responses they need together; each still gets
    its own, independent ones. A rewrite that failed is not sent. Samples that failed anywhere have reward nan and are
    counted by reason; nothing is ever scored 0 for failing. A remote model is asked while rewrites are still drawn.
    """
    luck = derive(seed, "rewrite")
    if isinstance(frozen, RemoteModel):

        def draw(drawn: Drawn) -> list[list[Generation]]:
            if isinstance(prompter, EagerPrompter):
                return prompter.rewrite_each(prompts, rewrites, luck, drawn)
            return prompter.rewrite(prompts, rewrites, luck)

        return _overlapped(prompts, draw, rewrites, frozen, reward, responses, seed)
    return answer(prompts, prompter.rewrite(prompts, rewrites, luck), frozen, reward, responses=responses, seed=seed)


def answer(
    prompts: Sequence[str],
    rewrites: Sequence[Sequence[Generation]],
    frozen: FrozenModel,
    reward: Reward,
    *,
    responses: int = 1,
    seed: int,
) -> Rollout:
    """The second half of `rollout`, from rewrites already drawn; every prompt has the same number of them."""
    if isinstance(frozen, RemoteModel):
        width = len(rewrites[0]) if rewrites else 0
        return _overlapped(prompts, lambda drawn: rewrites, width, frozen, reward, responses, seed)
    wanted = _wanted(rewrites, responses)
    given = frozen.respond(list(wanted), list(wanted.values()), derive(seed, "respond"))
    answers = _share_out(rewrites, wanted, given, responses)
    rewards, failures = _scored(prompts, answers, reward)
    return _whole(prompts, rewrites, answers, rewards, failures, wanted.total())


def _overlapped(
    prompts: Sequence[str],
    draw: Callable[[Drawn], Sequence[Sequence[Generation]]],
    width: int,
    frozen: RemoteModel,
    reward: Reward,
    responses: int,
    seed: int,
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
            scores: list[Future[tuple[FloatArray, Counter[str]]]] = []
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
    rewards = np.concatenate([values for values, _ in parts]) if parts else np.zeros((0, width, responses))
    failures = sum((reasons for _, reasons in parts), Counter[str]())
    return _whole(prompts, rewrites, tuple(answers), rewards, failures, sum(w.total() for w, _ in asked.values()))


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


def _scored(
    prompts: Sequence[str], answers: Sequence[Sequence[Sequence[Generation]]], reward: Reward
) -> tuple[FloatArray, Counter[str]]:
    """Rewards [B, G, K], nan where anything failed, and the reasons."""
    width = len(answers[0]) if answers else 0
    rewards = np.full((len(prompts), width, len(answers[0][0]) if width else 0), np.nan)
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
    return rewards, failures


def _whole(
    prompts: Sequence[str],
    rewrites: Sequence[Sequence[Generation]],
    answers: tuple[tuple[tuple[Generation, ...], ...], ...],
    rewards: FloatArray,
    failures: Counter[str],
    frozen_calls: int,
) -> Rollout:
    return Rollout(tuple(prompts), tuple(tuple(row) for row in rewrites), answers, rewards, failures, frozen_calls)


@dataclass(frozen=True, slots=True)
class Scores:
    """Rewards [B, G, K] of given rewrites, nan where failed; answers asked for each prompt [B]; reasons of failure."""

    rewards: FloatArray
    frozen_calls: npt.NDArray[np.int64]
    failures: Counter[str]


def score_rewrites(
    prompts: Sequence[str],
    rewrites: Sequence[Sequence[Generation]],
    frozen: FrozenModel,
    reward: Reward,
    *,
    responses: int,
    seed: int,
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
    )
    failed = np.full((1, responses), np.nan)
    table = np.concatenate([made.rewards[:, 0], failed]) if pairs else failed
    index = [[place.get((b, g.text), -1) if g.failure is None else -1 for g in row] for b, row in enumerate(rewrites)]
    failures = made.failures + Counter(g.failure for row in rewrites for g in row if g.failure is not None)
    return Scores(table[np.array(index)], np.array([responses * len(row) for row in found]), failures)
