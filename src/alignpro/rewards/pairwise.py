"""Pairwise reward models: a classifier of (x, y1, y2) tells which answer is better. A judge by nature, as in
judges/by_pairwise_model.py; a reward only against fixed answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from alignpro.config import RewardSpec
from alignpro.errors import DataError, SettingsError
from alignpro.models.framing import transcript
from alignpro.models.loading import display_name
from alignpro.rewards.classifier import BATCH, labels_of, load_classifier, scored, token_limit
from alignpro.rewards.heads import Head, head_of, only
from alignpro.rewards.layout import filled, told_as_text
from alignpro.runtime.files import read_jsonl
from alignpro.types import Prompt, Response, RewardResult, as_prompts, as_responses

NOTHING_TO_COMPARE = "no comparison answer for this prompt"


@dataclass(frozen=True)
class PairwiseModel:
    """Tells by `head` how much likelier it is that the answer shown first is the better one."""

    name: str
    model: Any
    tokenizer: Any
    template: str
    head: Head = only
    batch_size: int = BATCH

    def log_odds(self, prompts: Sequence[str | Prompt], first: Sequence[str], second: Sequence[str]) -> RewardResult:
        """log p(first is better) - log p(second is) [N], as presented; equal triples are scored once."""
        index: dict[tuple[str, str, str], int] = {}
        triples = zip(map(transcript, as_prompts(prompts)), first, second, strict=True)
        where = [index.setdefault(triple, len(index)) for triple in triples]
        rows = [filled(self.tokenizer, self.template, prompt=x, first=a, second=b) for x, a, b in index]
        limit = token_limit(self.model)
        fitting = [row if len(row) <= limit else None for row in rows]
        values, reasons = scored(self.model, fitting, self.head, self.batch_size)
        return RewardResult(values[where], tuple(reasons[i] for i in where))


@dataclass(frozen=True)
class PairwiseReward:
    """r(x, y): the mean over a prompt's comparison answers c of half the log-odds of (y, c) less those of (c, y).

    Both orders, so that a preference for a place cancels; the same answers all along, so that the objective stays. A
    prompt without such answers has no reward, and neither has an answer that could not be compared with all of them.
    """

    model: PairwiseModel
    against: Mapping[str, tuple[str, ...]]

    @property
    def name(self) -> str:
        return self.model.name

    def check(self, prompts: Sequence[Prompt]) -> list[str]:
        """Whether conversations lose their turns. Raises DataError where there is nothing to compare answers with."""
        if lacking := [x.text for x in prompts if x.text not in self.against]:
            raise DataError(
                f"reward.against: {self.name} has no answers to compare with for {len(lacking)} prompts, the first"
                f" being {lacking[0][:60]!r}; add rows of these prompts, or leave the prompts out"
            )
        return told_as_text(self.name, prompts)

    def score(self, prompts: Sequence[str | Prompt], responses: Sequence[str | Response]) -> RewardResult:
        """One reward a pair."""
        prompts = as_prompts(prompts)
        pairs = list(zip(prompts, as_responses(responses), strict=True))
        owners = [i for i, x in enumerate(prompts) for _ in self.against.get(x.text, ())]
        cs = [c for x in prompts for c in self.against.get(x.text, ())]
        xs, ys = [pairs[i][0] for i in owners], [pairs[i][1].text for i in owners]
        forward, backward = self.model.log_odds(xs, ys, cs), self.model.log_odds(xs, cs, ys)
        total, count = np.zeros(len(prompts)), np.zeros(len(prompts))
        reasons: list[str | None] = [None if self.against.get(x.text) else NOTHING_TO_COMPARE for x in prompts]
        for i, one, other, why, also in zip(
            owners, forward.values, backward.values, forward.reasons, backward.reasons, strict=True
        ):
            total[i] += (one - other) / 2
            count[i] += 1
            reasons[i] = reasons[i] or why or also
        with np.errstate(invalid="ignore"):
            return RewardResult(total / count, tuple(reasons))


def load_pairwise(spec: RewardSpec, device: str = "cpu", dtype: str = "auto", setting: str = "reward") -> PairwiseModel:
    """The pairwise model that `spec` names. Raises ModelNotUsable, HubUnreachable, SettingsError.

    A single label is the log-odds that the first answer is better; of several, `head` makes them.
    """
    model, tokenizer = load_classifier(spec, device, dtype)
    template, name = str(spec.template), str(spec.model)
    labels = labels_of(model, [filled(tokenizer, template, prompt="a", first="b", second="c")])
    head = head_of(spec.head, labels, f"{setting}.head")
    return PairwiseModel(display_name(name, "reward"), model, tokenizer, template, head, spec.batch_size or BATCH)


def load_pairwise_reward(
    spec: RewardSpec, device: str = "cpu", dtype: str = "auto", setting: str = "reward"
) -> PairwiseReward:
    """The reward that `spec.against` makes of a pairwise model. Raises SettingsError without, DataError."""
    if spec.against is None:
        raise SettingsError(
            f"{setting}.model {spec.model} is pairwise: it compares two answers and scores none by itself. Use it as a"
            f" judge, or give {setting}.against, a jsonl file of prompt and response to compare every answer with"
        )
    against = comparison_answers(Path(spec.against), f"{setting}.against")
    return PairwiseReward(load_pairwise(spec, device, dtype, setting), against)


def comparison_answers(path: Path, setting: str) -> dict[str, tuple[str, ...]]:
    """Each prompt's different answers in a jsonl file, a row for each. Raises DataError."""
    if not path.is_file():
        raise DataError(f"{setting} {path}: no such file; give a jsonl file of prompt and response")
    answers_to: dict[str, dict[str, None]] = {}
    for number, row in enumerate(read_jsonl(path), 1):
        if not isinstance(row, dict) or not all(isinstance(row.get(k), str) for k in ("prompt", "response")):
            held = ", ".join(row) if isinstance(row, dict) else type(row).__name__
            raise DataError(f"{setting} {path}: row {number} holds {held}; wanted texts named prompt and response")
        answers_to.setdefault(row["prompt"], {})[row["response"]] = None
    if not answers_to:
        raise DataError(f"{setting} {path}: no row could be read; give a jsonl file of prompt and response")
    return {prompt: tuple(answers) for prompt, answers in answers_to.items()}
