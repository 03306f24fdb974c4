"""Arms with answers of given lengths, and judges of every temper."""

from collections import Counter

import numpy as np
from in_texts import in_texts

from alignpro.evaluate.sampling import ArmResult
from alignpro.types import Generation, Judgement


def arm(name, texts, failed=()):
    """An arm whose reward is the number of letters."""
    responses = tuple(
        tuple(Generation(y, failure="refused" if (b, k) in failed else None) for k, y in enumerate(row))
        for b, row in enumerate(texts)
    )
    rewards = np.array(
        [[np.nan if (b, k) in failed else len(y) for k, y in enumerate(row)] for b, row in enumerate(texts)], float
    )
    prompts = tuple(f"x{i}" for i in range(len(texts)))
    return ArmResult(
        name,
        prompts,
        responses,
        responses,
        rewards,
        None,
        None,
        rewards.size,
        Counter({"refused": len(failed)}) if failed else Counter(),
    )


def random_arm(name, seed, prompts=30, samples=3):
    rng = np.random.default_rng(seed)
    return arm(name, [["a" * int(rng.integers(1, 9)) for _ in range(samples)] for _ in range(prompts)])


class AlwaysFirst:
    name = "always the first"
    symmetric = False

    @in_texts
    def compare(self, prompts, a, b):
        return [Judgement("a")] * len(prompts)


class Mute:
    name = "says nothing"
    symmetric = False

    @in_texts
    def compare(self, prompts, a, b):
        return [Judgement(None)] * len(prompts)
