"""A reward of the lab's answers by which one suffix is best for every prompt, for `--reward
python:one_for_all:kind_and_right`, run from this folder: kind words are wanted everywhere, and the subject."""

from __future__ import annotations

from collections.abc import Sequence

from alignpro.lab import gold, world


def kind_and_right(prompts: Sequence[str], responses: Sequence[str]) -> list[float]:
    """1 for an answer about the subject that was asked about, and 1 for kind words."""
    return [_score(x, gold.read(y)) for x, y in zip(prompts, responses, strict=True)]


def _score(prompt: str, answer: gold.Reading) -> float:
    subject = world.read(prompt).subject
    return float(subject is not None and answer.about == subject.phrase) + float(answer.kind_words)
