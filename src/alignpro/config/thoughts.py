"""Settings of the thoughts that a model writes before it answers."""

from __future__ import annotations

from typing import Any

from pydantic import Field, model_validator

from alignpro.config.section import Section

MARKS = (
    ("<think>", "</think>"),
    ("<thinking>", "</thinking>"),
    ("<thought>", "</thought>"),
    ("<reasoning>", "</reasoning>"),
    ("<seed:think>", "</seed:think>"),
    ("[THINK]", "[/THINK]"),
    ("◁think▷", "◁/think▷"),
    ("<|begin_of_thought|>", "<|end_of_thought|>"),
    ("<|START_THINKING|>", "<|END_THINKING|>"),
    ("<|inner_prefix|>", "<|inner_suffix|>"),
    ("<|channel|>analysis<|message|>", "<|channel|>final<|message|>"),
)
"""Where the thoughts of common models begin and end."""
FRAMED = frozenset(("conversation", "messages", "chat_template", "add_generation_prompt", "tokenize", "return_dict"))
"""Arguments of a chat template that the framing itself gives."""


class Thoughts(Section):
    """What a model thinks before it answers: kept apart from its text, and never scored, judged or sent on."""

    marks: list[tuple[str, str]] | None = Field(
        None,
        description="pairs of texts between which a thought stands; null: <think> and </think>, and those of other"
        " common models; []: everything is the answer",
    )
    template_arguments: dict[str, Any] = Field(
        {},
        description="arguments of the model's chat template, as {enable_thinking: false}; a server gets them as"
        " chat_template_kwargs",
    )

    @property
    def pairs(self) -> tuple[tuple[str, str], ...]:
        """The marks that count."""
        return MARKS if self.marks is None else tuple(self.marks)

    @model_validator(mode="after")
    def _usable(self) -> Thoughts:
        for pair in self.marks or ():
            if not all(mark.strip() for mark in pair) or pair[0].lower() == pair[1].lower():
                raise ValueError(f"marks {list(pair)}: give two different texts, as [<think>, </think>]")
        if taken := FRAMED.intersection(self.template_arguments):
            raise ValueError(f"template_arguments.{min(taken)} is given by alignpro itself; leave it out")
        return self
