"""The arms of a comparison: each a prompter before a model, run on the same held-out prompts."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from alignpro.config import Sampling, Settings
from alignpro.errors import SettingsError
from alignpro.flow.prompters import GibbsPrompter, IdentityPrompter
from alignpro.flow.rollout import rollout
from alignpro.models.language_model import LanguageModel
from alignpro.models.local import LocalFrozenModel
from alignpro.models.logprobs import score
from alignpro.results import Sample
from alignpro.rng import derive
from alignpro.types import FloatArray, FrozenModel, Generation, Prompter, Reward, RewriteTerms


@dataclass(frozen=True)
class Models:
    """What arms are put together from; `trained` and `rlhf` are None where there is none.

    `reference` and `trained` are whole pipelines, every pass of a chain included, and `reference_lm` is the model of
    their last pass; `passes` are the fixed passes before it, each with those before it.
    """

    reference: Prompter
    reference_lm: LanguageModel
    trained: Prompter | None
    passes: tuple[Prompter, ...]
    frozen: FrozenModel
    rlhf: LocalFrozenModel | None
    reward: Reward
    second_reward: Reward | None
    prompt_terms: RewriteTerms | None = None


def answering_by(models: Models, sampling: Sampling) -> Models:
    """The same models, the frozen one and the oracle sampling by `sampling`. Raises SettingsError for an endpoint."""
    if not isinstance(models.frozen, LocalFrozenModel):
        raise SettingsError("evaluate.sampling is for local models; set the sampling of an endpoint in frozen.sampling")
    frozen, rlhf = (
        LocalFrozenModel(replace(model.lm, sampling=sampling)) if model else None
        for model in (models.frozen, models.rlhf)
    )
    assert frozen is not None
    return replace(models, frozen=frozen, rlhf=rlhf)


@dataclass(frozen=True, slots=True)
class ArmResult:
    """One arm on B prompts, K samples each: `rewards`, `second_rewards` [B, K] (nan where failed), texts [B][K].

    `kl` [B, K] is each sample's log ratio to the arm's reference in nats (k1, (E4); of gibbs_N its bound), nan where a
    sample has none, and None for an arm that has none. `parts` and `prompt_terms` [B, K] by name are raw scores of a
    composite reward's terms and of terms on x', and `bonus` [B, K] is the weighted sum of the latter.
    """

    name: str
    prompts: tuple[str, ...]
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


def run_arm(
    name: str, models: Models, prompts: Sequence[str], settings: Settings, seed: int, samples: int
) -> ArmResult:
    """Sample one arm: `samples` (K) independent passes x -> x' -> y for every prompt.

    Arms draw from streams of their own, so leaving one out changes no other.
    """
    prompter, frozen = _arm(name, models, settings)
    made = rollout(
        prompts,
        prompter,
        frozen,
        models.reward,
        rewrites=samples,
        seed=derive(seed, "arm", name),
        prompt_terms=models.prompt_terms,
    )
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
        kl=_kl(name, prompter, models, made.rewrites, responses),
        frozen_calls=made.frozen_calls + (prompter.frozen_calls if isinstance(prompter, GibbsPrompter) else 0),
        failures=made.failures,
        parts={part: values[:, :, 0] for part, values in made.parts.items()},
        prompt_terms=made.prompt_terms,
        bonus=made.bonus if isinstance(made.bonus, np.ndarray) else None,
    )


def second_rewards(reward: Reward, prompts: Sequence[str], responses: Sequence[Sequence[Generation]]) -> FloatArray:
    """Scores [B, K] by a reward that training did not see; nan where the response failed."""
    flat = [(x, y) for x, row in zip(prompts, responses, strict=True) for y in row]
    scores = reward.score([x for x, _ in flat], [y.text for _, y in flat]).values
    failed = np.array([y.failure is not None for _, y in flat])
    return np.where(failed, np.nan, scores).reshape(len(prompts), -1)


def sample_rows(arm: ArmResult, stage: str, step: int) -> list[Sample]:
    """Rows for samples.jsonl, five digits of each reward."""
    rows = []
    for b, prompt in enumerate(arm.prompts):
        for k, (rewrite, response) in enumerate(zip(arm.rewrites[b], arm.responses[b], strict=True)):
            rows.append(
                Sample(
                    stage=stage,
                    step=step,
                    arm=arm.name,
                    prompt_id=b,
                    prompt=prompt,
                    rewrite=rewrite.text,
                    response=response.text,
                    reward=_rounded(arm.rewards[b, k]),
                    second_reward=math.nan if arm.second_rewards is None else _rounded(arm.second_rewards[b, k]),
                    finish=response.finish,
                    failure=response.failure,
                    reward_terms={name: _rounded(values[b, k]) for name, values in arm.parts.items()},
                    prompt_terms={name: _rounded(values[b, k]) for name, values in arm.prompt_terms.items()},
                )
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
    if name.startswith("pass_") and int(name.removeprefix("pass_")) <= len(models.passes):
        return models.passes[int(name.removeprefix("pass_")) - 1], models.frozen
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
                prompt_terms=models.prompt_terms,
            ),
            models.frozen,
        )
    raise ValueError(f"arm {name!r} has no model")


def _kl(
    name: str,
    prompter: Prompter,
    models: Models,
    rewrites: Sequence[Sequence[Generation]],
    responses: Sequence[Sequence[Generation]],
) -> FloatArray | None:
    """KL of each sample [B, K] to the arm's own reference, by k1 (E4); for gibbs_N its upper bound; else None, as for
    an oracle that samples from less than its whole distribution. For a chain it is that of the last pass, given what
    came before."""
    if isinstance(prompter, GibbsPrompter):
        return np.array(prompter.kl_bounds).reshape(len(rewrites), -1)
    if name in ("reference_prompter", "align_pro"):
        return log_ratios(models.reference_lm, rewrites)
    if name == "rlhf" and isinstance(models.frozen, LocalFrozenModel) and not models.frozen.truncated:
        return log_ratios(models.frozen.lm, responses)
    return None


def log_ratios(reference: LanguageModel, rows: Sequence[Sequence[Generation]]) -> FloatArray:
    """log p(action) - log reference(action) [B, G] in nats, summed over the tokens of each sampled action.

    nan for an action without tokens, e.g. of a chain that broke before its last pass.
    """
    flat = [g for row in rows for g in row]
    actions = [g for g in flat if len(g.tokens)]
    scored = score(
        reference.model,
        [a.query for a in actions],
        [a.tokens for a in actions],
        reference.pad_id,
        reference.sampling.temperature,
        reference.batch_size,
    )
    ratios = iter([float(a.logprobs.sum() - r.sum()) for a, r in zip(actions, scored, strict=True)])
    return np.array([next(ratios) if len(g.tokens) else np.nan for g in flat]).reshape(len(rows), -1)


def _rounded(value: float) -> float:
    return round(float(value), 5)
