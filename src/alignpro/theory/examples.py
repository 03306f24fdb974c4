"""Worlds to look at: the ones that docs/theory.md draws."""

from __future__ import annotations

import itertools

import numpy as np

from alignpro.theory.tabular import World, log_probabilities
from alignpro.types import FloatArray


def random_world(seed: int, prompts: int, rewrites: int, responses: int, beta: float, lam: float) -> World:
    """A world of independent softmaxes of normal numbers, rewards standard normal."""
    rng = np.random.default_rng(seed)
    return World.of(
        prompts=softmax(rng.normal(size=prompts)),
        reference=softmax(1.5 * rng.normal(size=(prompts, rewrites))),
        frozen=softmax(2.0 * rng.normal(size=(rewrites, responses))),
        frozen_raw=softmax(2.0 * rng.normal(size=(prompts, responses))),
        reward=rng.normal(size=(prompts, responses)),
        beta=beta,
        lam=lam,
    )


def close_world(lam: float) -> World:
    """Rewrites that paraphrase their prompt closely, and for each prompt a rare one that is answered far better."""
    rng = np.random.default_rng(0)
    prompts, paraphrases, responses, rare = 6, 4, 6, 0.02
    logits = rng.normal(size=(prompts, responses))
    near = np.repeat(logits, paraphrases, axis=0) + 0.2 * rng.normal(size=(prompts * paraphrases, responses))
    reward = rng.random((prompts, responses))
    reference = np.hstack([(1 - rare) / paraphrases * np.eye(prompts).repeat(paraphrases, 1), rare * np.eye(prompts)])
    return World.of(
        prompts=np.full(prompts, 1 / prompts),
        reference=reference,
        frozen=softmax(np.vstack([near, 8 * reward])),
        frozen_raw=softmax(logits),
        reward=reward,
        beta=5.0,
        lam=lam,
    )


def editing_world() -> tuple[World, FloatArray]:
    """A world of small steps, and the reference [R, R] of a further prompter in it.

    A text has one of three subjects and one of four degrees of clarity; prompts are unclear. One edit moves clarity
    a step, up with probability 0.3 and down with 0.1, and gets the subject wrong one time in five. Clear texts are
    answered well more often. Rewards: 1 for a good answer on the prompt's subject, 0.4 for a poor one, else 0.
    """
    well, subjects = (0.1, 0.4, 0.7, 0.9), range(3)
    texts = list(itertools.product(subjects, range(len(well))))
    prompts = [text for text in texts if text[1] < 2]
    answers = list(itertools.product(subjects, (False, True)))

    def answered(subject: int, clarity: int) -> list[float]:
        right = [well[clarity] if good else 1 - well[clarity] for _, good in answers]
        return [(0.9 if about == subject else 0.05) * p for (about, _), p in zip(answers, right, strict=True)]

    def edited(subject: int, clarity: int) -> list[float]:
        step = {1: 0.3 * (clarity < len(well) - 1), -1: 0.1 * (clarity > 0)}
        step[0] = 1 - sum(step.values())
        return [(0.8 if about == subject else 0.1) * step.get(to - clarity, 0.0) for about, to in texts]

    edits = [edited(*text) for text in texts]
    world = World.of(
        prompts=np.full(len(prompts), 1 / len(prompts)),
        reference=[edited(*text) for text in prompts],
        frozen=[answered(*text) for text in texts],
        frozen_raw=[answered(*text) for text in prompts],
        reward=[[(1.0 if good else 0.4) * (about == subject) for about, good in answers] for subject, _ in prompts],
        beta=0.3,
        lam=0.2,
    )
    return world, log_probabilities(edits)


def softmax(scores: FloatArray) -> FloatArray:
    """exp of scores, normalised along the last axis."""
    masses = np.exp(scores - scores.max(-1, keepdims=True))
    return np.asarray(masses / masses.sum(-1, keepdims=True))
