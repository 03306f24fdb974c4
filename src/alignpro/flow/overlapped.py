"""The flow with a remote frozen model, which is asked while rewrites are still drawn and answers already scored."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

from alignpro.flow._steps import Scored, assembled, deal, joined, needed_answers, score_answers
from alignpro.rng import derive
from alignpro.types import Generation, OnDrawn, Prompt, RemoteModel, Reward, RewriteTerms, Rollout, ThreadedReward

SCORED_TOGETHER = 64
"""Answers of a remote model that are scored in one call, while others are under way."""


def overlapped(
    prompts: Sequence[Prompt],
    rewrite: Callable[[OnDrawn], Sequence[Sequence[Generation]]],
    width: int,
    frozen: RemoteModel,
    reward: Reward,
    responses: int,
    seed: int,
    prompt_terms: RewriteTerms | None,
) -> Rollout:
    """`rollout` with the rewrites `[B][G]` that `rewrite` gives, G being `width`; it may tell of each as it is drawn.

    A prompt's rewrites are sent as soon as all of them are drawn, and scored while later answers are under way. Each
    prompt's answers have a seed of their own, and the same prompts are always scored together, so the result does not
    depend on what came first. An error anywhere stops the rest.
    """
    asked: dict[int, tuple[Counter[Prompt], Future[list[list[Generation]]]]] = {}
    early: list[dict[int, Generation]] = [{} for _ in prompts]
    chunk = max(1, SCORED_TOGETHER // max(1, width * responses))
    threads = reward.threads if isinstance(reward, ThreadedReward) else 1
    with ThreadPoolExecutor(threads) as scorers, frozen.asking() as asking:
        try:

            def ask(b: int, row: Sequence[Generation]) -> None:
                needed = needed_answers(prompts[b : b + 1], [row], responses)
                asked[b] = needed, asking.ask(list(needed), list(needed.values()), derive(seed, "respond", b))

            def on_drawn(b: int, g: int, drawn: Generation) -> None:
                early[b][g] = drawn
                if len(early[b]) == width:
                    ask(b, [early[b][i] for i in range(width)])

            rewrites = rewrite(on_drawn)
            for b, row in enumerate(rewrites):
                if b not in asked:
                    ask(b, row)
            answers: list[tuple[tuple[Generation, ...], ...]] = []
            scores: list[Future[Scored]] = []
            for start in range(0, len(prompts), chunk):
                for b in range(start, min(start + chunk, len(prompts))):
                    needed, pools = asked[b]
                    answers += deal(prompts[b : b + 1], [rewrites[b]], needed, pools.result(), responses)
                part = prompts[start : start + chunk], answers[start : start + chunk], reward
                if threads > 1:
                    scores.append(scorers.submit(score_answers, *part))
                else:
                    scores.append(Future())
                    scores[-1].set_result(score_answers(*part))
            parts = [score.result() for score in scores]
        except BaseException:
            scorers.shutdown(wait=False, cancel_futures=True)
            raise
    scored = joined(parts, (len(prompts), width, responses))
    frozen_calls = sum(needed.total() for needed, _ in asked.values())
    return assembled(prompts, rewrites, answers, scored, frozen_calls, prompt_terms)
