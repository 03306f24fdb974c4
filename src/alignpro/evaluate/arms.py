"""The arms of a comparison: each a prompter before a model, run on the same held-out prompts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from alignpro.config import Settings
from alignpro.evaluate.gibbs import GibbsPrompter
from alignpro.models.local import LanguageModel, LocalFrozenModel, LocalPrompter
from alignpro.models.logprobs import score
from alignpro.rng import derive
from alignpro.rollout import IdentityPrompter, rollout
from alignpro.types import FloatArray, FrozenModel, Generation, Prompter, Reward


@dataclass(frozen=True)
class Models:
    """What arms are put together from; `trained` and `rlhf` are None where there is none."""

    reference: LocalPrompter
    trained: LocalPrompter | None
    frozen: FrozenModel
    rlhf: LocalFrozenModel | None
    reward: Reward
    second_reward: Reward | None


@dataclass(frozen=True, slots=True)
class ArmResult:
    """One arm on B prompts, K samples each: `rewards`, `second_rewards` [B, K] (nan where failed), texts [B][K]."""

    name: str
    prompts: tuple[str, ...]
    rewrites: tuple[tuple[Generation, ...], ...]
    responses: tuple[tuple[Generation, ...], ...]
    rewards: FloatArray
    second_rewards: FloatArray | None
    kl: float | None
    frozen_calls: int
    failures: Counter[str]


def run_arm(
    name: str, models: Models, prompts: Sequence[str], settings: Settings, seed: int, samples: int
) -> ArmResult:
    """Sample one arm: `samples` (K) independent passes x -> x' -> y for every prompt.

    Arms draw from streams of their own, so leaving one out changes no other.
    """
    prompter, frozen = _arm(name, models, settings)
    made = rollout(prompts, prompter, frozen, models.reward, rewrites=samples, seed=derive(seed, "arm", name))
    responses = tuple(tuple(answers[0] for answers in row) for row in made.responses)
    rewards = made.rewards[:, :, 0]
    second = None
    if models.second_reward is not None:
        second = second_rewards(models.second_reward, prompts, responses)
    return ArmResult(
        name=name,
        prompts=tuple(prompts),
        rewrites=made.rewrites,
        responses=responses,
        rewards=rewards,
        second_rewards=second,
        kl=_kl(name, prompter, models, prompts, made.rewrites, responses),
        frozen_calls=made.frozen_calls + (prompter.frozen_calls if isinstance(prompter, GibbsPrompter) else 0),
        failures=made.failures,
    )


def second_rewards(reward: Reward, prompts: Sequence[str], responses: Sequence[Sequence[Generation]]) -> FloatArray:
    """Scores [B, K] by a reward that training did not see; nan where the response failed."""
    flat = [(x, y) for x, row in zip(prompts, responses, strict=True) for y in row]
    scores = reward.score([x for x, _ in flat], [y.text for _, y in flat]).values
    failed = np.array([y.failure is not None for _, y in flat])
    return np.where(failed, np.nan, scores).reshape(len(prompts), -1)


def sample_rows(arm: ArmResult, stage: str, step: int) -> list[dict[str, Any]]:
    """Lines for samples.jsonl."""
    rows = []
    for b, prompt in enumerate(arm.prompts):
        for k, (rewrite, response) in enumerate(zip(arm.rewrites[b], arm.responses[b], strict=True)):
            rows.append(
                {
                    "stage": stage,
                    "step": step,
                    "arm": arm.name,
                    "prompt_id": b,
                    "prompt": prompt,
                    "rewrite": rewrite.text,
                    "response": response.text,
                    "reward": _rounded(arm.rewards[b, k]),
                    "second_reward": None if arm.second_rewards is None else _rounded(arm.second_rewards[b, k]),
                    "finish": response.finish,
                    "failure": response.failure,
                }
            )
    return rows


def _arm(name: str, models: Models, settings: Settings) -> tuple[Prompter, FrozenModel]:
    if name == "no_prompter":
        return IdentityPrompter(), models.frozen
    if name == "reference_prompter":
        return models.reference, models.frozen
    if name == "align_pro" and models.trained is not None:
        return models.trained, models.frozen
    if name == "rlhf" and models.rlhf is not None:
        return IdentityPrompter(), models.rlhf
    if name.startswith("gibbs_"):
        evaluate = settings.evaluate
        return (
            GibbsPrompter(
                models.reference,
                models.frozen,
                models.reward,
                candidates=int(name.removeprefix("gibbs_")),
                responses=evaluate.gibbs_responses,
                lam=settings.train.kl.coef,
            ),
            models.frozen,
        )
    raise ValueError(f"arm {name!r} has no model")


def _kl(
    name: str,
    prompter: Prompter,
    models: Models,
    prompts: Sequence[str],
    rewrites: Sequence[Sequence[Generation]],
    responses: Sequence[Sequence[Generation]],
) -> float | None:
    """Mean KL a sample to the arm's own reference, by k1 over its samples (E4); for gibbs_N its upper bound; else
    None."""
    if isinstance(prompter, GibbsPrompter):
        return float(np.mean(prompter.kl_bounds)) if prompter.kl_bounds else float("nan")
    if isinstance(prompter, LocalPrompter):
        return float(np.nanmean(log_ratios(models.reference.lm, prompts, rewrites)))
    if name == "rlhf" and isinstance(models.frozen, LocalFrozenModel):
        return float(np.nanmean(log_ratios(models.frozen.lm, prompts, responses)))
    return None


def log_ratios(reference: LanguageModel, prompts: Sequence[str], rows: Sequence[Sequence[Generation]]) -> FloatArray:
    """log p(action) - log reference(action) [B, G] in nats, summed over the tokens of each sampled action."""
    queries = [query for query, row in zip(reference.queries(prompts), rows, strict=True) for _ in row]
    actions = [g for row in rows for g in row]
    scored = score(
        reference.model,
        queries,
        [a.tokens for a in actions],
        reference.pad_id,
        reference.sampling.temperature,
        reference.batch_size,
    )
    ratios = [float(a.logprobs.sum() - r.sum()) for a, r in zip(actions, scored, strict=True)]
    return np.array(ratios).reshape(len(rows), -1)


def _rounded(value: float) -> float | None:
    return round(float(value), 5) if np.isfinite(value) else None
