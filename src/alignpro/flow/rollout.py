"""x -> x' -> y -> r: the one flow that training, evaluation, estimation and serving share."""

from __future__ import annotations

from collections.abc import Sequence

from alignpro.flow._steps import assembled, deal, needed_answers, score_answers
from alignpro.flow.overlapped import overlapped
from alignpro.rng import derive
from alignpro.runtime import processes
from alignpro.types import (
    EagerPrompter,
    FrozenModel,
    Generation,
    OnDrawn,
    Prompt,
    Prompter,
    RemoteModel,
    Reward,
    RewriteTerms,
    Rollout,
    as_prompts,
)


def rollout(
    prompts: Sequence[str | Prompt],
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

    A text is a prompt of one text. The frozen model is asked x' after the system message and the turns of x. Equal
    rewrites after the same are sent to it once with the number of responses they need together; each still gets its
    own, independent ones. A rewrite that failed is not sent. Samples that failed anywhere have reward nan and are
    counted by reason; nothing is ever scored 0 for failing. `prompt_terms` see x and x' and stand beside the reward,
    which sees x and y. A remote model is asked while rewrites are still drawn; of
    several processes the first asks it, when all have drawn theirs.
    """
    prompts = as_prompts(prompts)
    rewrite_seed = derive(seed, "rewrite")
    if isinstance(frozen, RemoteModel) and processes.count() == 1:

        def rewrite(on_drawn: OnDrawn) -> list[list[Generation]]:
            if isinstance(prompter, EagerPrompter):
                return prompter.rewrite_each(prompts, rewrites, rewrite_seed, on_drawn)
            return prompter.rewrite(prompts, rewrites, rewrite_seed)

        return overlapped(prompts, rewrite, rewrites, frozen, reward, responses, seed, prompt_terms)
    rows = prompter.rewrite(prompts, rewrites, rewrite_seed)
    return answer(prompts, rows, frozen, reward, responses=responses, seed=seed, prompt_terms=prompt_terms)


def answer(
    prompts: Sequence[str | Prompt],
    rewrites: Sequence[Sequence[Generation]],
    frozen: FrozenModel,
    reward: Reward,
    *,
    responses: int = 1,
    seed: int,
    prompt_terms: RewriteTerms | None = None,
) -> Rollout:
    """The second half of `rollout`, from rewrites already drawn; every prompt has the same number of them."""
    prompts = as_prompts(prompts)
    if isinstance(frozen, RemoteModel):
        remote, width = frozen, len(rewrites[0]) if rewrites else 0
        return processes.by_first(
            lambda: overlapped(prompts, lambda on_drawn: rewrites, width, remote, reward, responses, seed, prompt_terms)
        )
    needed = needed_answers(prompts, rewrites, responses)
    pools = frozen.respond(list(needed), list(needed.values()), derive(seed, "respond"))
    answers = deal(prompts, rewrites, needed, pools, responses)
    scored = score_answers(prompts, answers, reward)
    return assembled(prompts, rewrites, answers, scored, needed.total(), prompt_terms)
