"""A reward of your own for `--reward python:own_reward:plain_and_short`, run from this folder.

It gets the original prompts and the responses, in order, and returns a number for each pair. None, nan, a wrong count
or an exception mask the pair; the run goes on until more than `reward.max_failed` of the samples have failed.
"""

from __future__ import annotations

from collections.abc import Sequence


def plain_and_short(prompts: Sequence[str], responses: Sequence[str]) -> list[float]:
    """Prefers answers that use the prompt's words and stay under sixty."""
    return [
        _overlap(prompt, response) - max(0, len(response.split()) - 60) / 60
        for prompt, response in zip(prompts, responses, strict=True)
    ]


def _overlap(prompt: str, response: str) -> float:
    asked = {word.strip(".,?!").lower() for word in prompt.split()}
    said = {word.strip(".,?!").lower() for word in response.split()}
    return len(asked & said) / max(1, len(asked))
