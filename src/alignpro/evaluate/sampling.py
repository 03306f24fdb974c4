"""One arm of a comparison, run on held-out prompts."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from alignpro.config import Settings
from alignpro.evaluate.arms import Arm
from alignpro.evaluate.models import Models
from alignpro.flow.prompters import TemplatePrompter
from alignpro.flow.rollout import rollout
from alignpro.results import Sample
from alignpro.results.asked import told
from alignpro.rng import derive
from alignpro.types import AskingPrompter, FloatArray, Generation, Prompt, Reward


@dataclass(frozen=True, slots=True)
class ArmResult:
    """One arm on B prompts, K samples each: `rewards`, `second_rewards` [B, K] (nan where failed), texts [B][K].

    `kl` [B, K] is each sample's log ratio to the arm's reference in nats (k1, (E4); of gibbs_N its bound), nan where a
    sample has none, and None for an arm that has none. `parts` and `prompt_terms` [B, K] by name are raw scores of a
    composite reward's terms and of terms on x', and `bonus` [B, K] is the weighted sum of the latter. `template` is
    the text that stood around every prompt, empty where none did.
    """

    name: str
    prompts: tuple[Prompt, ...]
    rewrites: tuple[tuple[Generation, ...], ...]
    responses: tuple[tuple[Generation, ...], ...]
    rewards: FloatArray
    second_rewards: FloatArray | None
    kl: FloatArray | None
    frozen_calls: int
    failures: Counter[str]
    parts: Mapping[str, FloatArray] = field(default_factory=dict)
    prompt_terms: Mapping[str, FloatArray] = field(default_factory=dict)
    bonus: FloatArray | None = None
    template: str = ""


def run_arm(
    arm: Arm, models: Models, prompts: Sequence[Prompt], settings: Settings, seed: int, samples: int
) -> ArmResult:
    """Sample one arm: `samples` (K) independent passes x -> x' -> y for every prompt.

    Arms draw from streams of their own, so leaving one out changes no other.
    """
    prompter = arm.prompter(models, settings)
    sampled = rollout(
        prompts,
        prompter,
        arm.model(models),
        models.reward,
        rewrites=samples,
        seed=derive(seed, "arm", arm.name),
        prompt_terms=models.prompt_terms,
    )
    responses = tuple(tuple(answers[0] for answers in row) for row in sampled.responses)
    second = None
    if models.second_reward is not None:
        second = second_rewards(models.second_reward, prompts, responses)
    return ArmResult(
        name=arm.name,
        prompts=tuple(prompts),
        rewrites=sampled.rewrites,
        responses=responses,
        rewards=sampled.rewards[:, :, 0],
        second_rewards=second,
        kl=arm.kl(models, prompter, sampled.rewrites, responses),
        frozen_calls=sampled.frozen_calls + (prompter.frozen_calls if isinstance(prompter, AskingPrompter) else 0),
        failures=sampled.failures,
        parts={part: values[:, :, 0] for part, values in sampled.parts.items()},
        prompt_terms=sampled.prompt_terms,
        bonus=sampled.bonus if isinstance(sampled.bonus, np.ndarray) else None,
        template=prompter.template.text if isinstance(prompter, TemplatePrompter) else "",
    )


def second_rewards(reward: Reward, prompts: Sequence[Prompt], responses: Sequence[Sequence[Generation]]) -> FloatArray:
    """Scores [B, K] by a reward that training did not see; nan where the response failed."""
    flat = [(x, y) for x, row in zip(prompts, responses, strict=True) for y in row]
    scores = reward.score([x for x, _ in flat], [y.response for _, y in flat]).values
    failed = np.array([y.failure is not None for _, y in flat])
    return np.where(failed, np.nan, scores).reshape(len(prompts), -1)


def sample_rows(arm: ArmResult, stage: str, step: int) -> list[Sample]:
    """Rows for samples.jsonl."""
    rows = []
    for b, prompt in enumerate(arm.prompts):
        for k, (rewrite, response) in enumerate(zip(arm.rewrites[b], arm.responses[b], strict=True)):
            rows.append(
                Sample(
                    stage=stage,
                    step=step,
                    arm=arm.name,
                    prompt_id=b,
                    rewrite=rewrite.text,
                    response=response.text,
                    reward=float(arm.rewards[b, k]),
                    second_reward=math.nan if arm.second_rewards is None else float(arm.second_rewards[b, k]),
                    finish=response.finish,
                    failure=response.failure,
                    reward_terms={name: float(values[b, k]) for name, values in arm.parts.items()},
                    prompt_terms={name: float(values[b, k]) for name, values in arm.prompt_terms.items()},
                    **told(prompt),
                )
            )
    return rows
