"""Reward models: a sequence classifier's score of x and y."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from alignpro.config import RewardSpec
from alignpro.models.framing import Frame
from alignpro.models.loading import display_name
from alignpro.rewards.classifier import BATCH, labels_of, load_classifier, scored, token_limit
from alignpro.rewards.heads import Head, head_of, only
from alignpro.rewards.layout import Row, check_chat_template, pair, told_as_text, within
from alignpro.types import Prompt, Response, RewardResult, as_prompts, as_responses


@dataclass(frozen=True)
class RewardModel:
    """r(x, y) as the score that `head` makes of a sequence classifier's logits over x and y."""

    name: str
    model: Any
    tokenizer: Any
    batch_size: int = BATCH
    head: Head = only
    template: str | None = None
    overflow: Literal["mask", "cut"] = "mask"

    def score(self, prompts: Sequence[str | Prompt], responses: Sequence[str | Response]) -> RewardResult:
        """One score a pair. Equal pairs are scored once; a pair that does not fit is masked, or cut as settings say."""
        index: dict[tuple[Prompt, str], int] = {}
        pairs = zip(as_prompts(prompts), as_responses(responses), strict=True)
        where = [index.setdefault((x.asking(x.text), y.text), len(index)) for x, y in pairs]
        rows = [self._row(x, y) for x, y in index]
        values, reasons = scored(self.model, rows, self.head, self.batch_size)
        return RewardResult(values[where], tuple(reasons[i] for i in where))

    def check(self, prompts: Sequence[Prompt]) -> list[str]:
        """Whether conversations lose their turns before it."""
        if self.template is None and Frame(tokenizer=self.tokenizer).has_chat_template:
            return []
        return told_as_text(self.name, prompts)

    def _row(self, prompt: Prompt, response: str) -> Row | None:
        return within(token_limit(self.model), self.tokenizer, prompt, response, self.template, self.overflow)


def load_reward_model(
    spec: RewardSpec, device: str = "cpu", dtype: str = "auto", setting: str = "reward"
) -> RewardModel:
    """The classifier that `spec` names. Raises ModelNotUsable, HubUnreachable, SettingsError for its head."""
    model, tokenizer = load_classifier(spec, device, dtype)
    name = str(spec.model)
    if spec.template is None:
        check_chat_template(tokenizer, f"{setting}.model {name}")
    labels = labels_of(model, [pair(tokenizer, "a", "b", spec.template)])
    return RewardModel(
        display_name(name, "reward"),
        model,
        tokenizer,
        spec.batch_size or BATCH,
        head_of(spec.head, labels, f"{setting}.head"),
        spec.template,
        spec.overflow,
    )
