"""A causal LM in its frame: prompts to token ids, context limits, continuations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from alignpro.config import Sampling
from alignpro.errors import PromptTooLong
from alignpro.models.framing import Frame
from alignpro.models.padding import context_of
from alignpro.models.sampler import sample
from alignpro.models.written import NO_ANSWER
from alignpro.runtime import memory
from alignpro.types import Generation, OnDrawn, Prompt, Seed, Turn

SHAPES: dict[str, Any] = {
    "repetition_penalty": 1.0,
    "encoder_repetition_penalty": 1.0,
    "no_repeat_ngram_size": 0,
    "min_p": 0.0,
    "top_h": None,
    "typical_p": 1.0,
    "epsilon_cutoff": 0.0,
    "eta_cutoff": 0.0,
    "num_beams": 1,
    "guidance_scale": 1.0,
    "bad_words_ids": None,
    "sequence_bias": None,
    "suppress_tokens": None,
    "begin_suppress_tokens": None,
    "forced_bos_token_id": None,
    "forced_eos_token_id": None,
    "exponential_decay_length_penalty": None,
}
"""What a generation_config can ask for beside what `Sampling` has, and where it changes nothing."""


@dataclass(frozen=True)
class LanguageModel:
    """A causal LM and the frame that its prompts are put in, which holds its tokenizer."""

    name: str
    model: Any
    frame: Frame
    sampling: Sampling
    batch_size: int
    cut_long_prompts: bool
    section: str = "prompter"
    """Of the settings that say what it samples at a time."""

    @property
    def tokenizer(self) -> Any:
        return self.frame.tokenizer

    @property
    def context(self) -> int:
        """Tokens that prompt and answer may take together."""
        return context_of(self.model.config.get_text_config())

    @property
    def not_applied(self) -> dict[str, Any]:
        """What the model's generation_config asks for and `sampling` does not do, by name."""
        from transformers import GenerationConfig

        asked, plain, own = self.model.generation_config, GenerationConfig(), self.sampling.model_dump()
        greedy = self.sampling.top_k == 1
        wanted = {name: getattr(asked, name, None) for name in (*SHAPES, *(() if greedy else own))}
        return {
            name: value
            for name, value in wanted.items()
            if value is not None and value not in (getattr(plain, name, None), SHAPES.get(name, own.get(name)))
        }

    @property
    def pad_id(self) -> int:
        """A filler id: the pad token, or an end-of-text token where there is none; padding is masked, so any id serves.

        It has an embedding: a pad token that was added to the tokenizer alone is passed over, and embeddings are never
        resized.
        """
        rows = self.model.get_input_embeddings().weight.shape[0]
        return next((i for i in (self.tokenizer.pad_token_id, *self.eos_ids) if i is not None and i < rows), 0)

    @property
    def eos_ids(self) -> list[int]:
        """Ids that end an answer: those of model and tokenizer, and the one that ends a turn of the chat template."""
        ids: Any = getattr(self.model.generation_config, "eos_token_id", None)
        listed = ids if isinstance(ids, list) else [ids]
        return sorted({int(i) for i in (*listed, self.tokenizer.eos_token_id, self.frame.turn_end) if i is not None})

    def queries(self, prompts: Sequence[str | Prompt]) -> list[list[int]]:
        """Framed token ids of each prompt; one that leaves no room for an answer is cut or refused, as settings say.

        Raises PromptTooLong, naming the prompt and by how much it is too long, and as `Frame.ids`.
        """
        room = self.context - self.sampling.max_new_tokens
        return [self._framed(Prompt.of(prompt), room) for prompt in prompts]

    def too_long(self, prompts: Sequence[str | Prompt]) -> list[int]:
        """Indices of prompts that do not fit."""
        room = self.context - self.sampling.max_new_tokens
        return [i for i, p in enumerate(prompts) if len(self.frame.ids(p)) > room]

    def generate(
        self, queries: Sequence[Sequence[int]], counts: Sequence[int], seed: Seed, each: OnDrawn | None = None
    ) -> list[list[Generation]]:
        """`counts[i]` continuations of `queries[i]`, decoded, thoughts apart; `each` is told them as they end.

        One whose thought left no room for an answer has a failure.
        """
        places = [(i, k) for i, count in enumerate(counts) for k in range(count)]

        def ended(row: int, generation: Generation) -> None:
            if each is not None:
                i, k = places[row]
                each(i, k, replace(self._told(generation), query=queries[i]))

        with memory.lower(f"{self.section}.batch_size", self.batch_size, "sampling"):
            drawn = sample(
                self.model,
                queries,
                counts,
                self.sampling,
                self.eos_ids,
                self.pad_id,
                seed,
                batch_size=self.batch_size,
                ended=ended if each is not None else None,
            )
        return [
            [g if g.failure else replace(self._told(g), query=query) for g in row]
            for query, row in zip(queries, drawn, strict=True)
        ]

    def continuations(
        self,
        prompts: Sequence[str | Prompt],
        counts: Sequence[int],
        seed: Seed,
        too_long: str,
        each: OnDrawn | None = None,
    ) -> list[list[Generation]]:
        """`counts[i]` continuations of the framed `prompts[i]`; one that does not fit gives the failure `too_long`.

        `each` is told those that fit as they end.
        """
        queries: list[list[int]] = []
        kept: list[int] = []
        result = [[Generation("", failure=too_long)] * count for count in counts]
        for i, prompt in enumerate(prompts):
            try:
                queries += self.queries([prompt])
            except PromptTooLong:
                continue
            kept.append(i)
        told = None if each is None else lambda i, k, generation: each(kept[i], k, generation)
        own = [seed[i] for i in kept] if isinstance(seed, Sequence) else seed
        for i, row in zip(kept, self.generate(queries, [counts[i] for i in kept], own, told), strict=True):
            result[i] = row
        return result

    def _decode(self, generation: Generation) -> str:
        said = generation.tokens.tolist()
        if said and generation.finish == "stop" and said[-1] == self.frame.turn_end:
            said = said[:-1]  # special or not, it is no text
        marking, pieces, start = self.frame.marking, list[str](), 0
        for place, token in enumerate(said):
            if token in marking:
                pieces += [self.tokenizer.decode(said[start:place], skip_special_tokens=True), marking[token]]
                start = place + 1
        return "".join([*pieces, self.tokenizer.decode(said[start:], skip_special_tokens=True)]).strip()

    def _told(self, generation: Generation) -> Generation:
        """The generation with its text, and its thought apart."""
        told = self.frame.parted(self._decode(generation), cut=generation.finish == "length")
        text = told.answer
        for mark in self.frame.marking.values():
            text = text.replace(mark, "")
        failure = None if told.closed else NO_ANSWER
        return replace(generation, text=text.strip(), thought=told.thought, failure=failure)

    def _framed(self, prompt: Prompt, room: int) -> list[int]:
        ids = self.frame.ids(prompt)
        if len(ids) <= room:
            return ids
        over = len(ids) - room
        if not self.cut_long_prompts:
            told = "its oldest turns, then its end," if prompt.history else "its end"
            raise PromptTooLong(
                f"prompt {prompt.text[:40]!r}... takes {len(ids)} tokens in {self.name}'s frame and leaves no room for"
                f" {self.sampling.max_new_tokens} new ones in a context of {self.context}; shorten it by {over} tokens,"
                f" lower sampling.max_new_tokens, or set overflow=cut to have {told} cut off"
            )
        while len(ids) > room and prompt.history:
            prompt = replace(prompt, history=_later(prompt.history))
            ids = self.frame.ids(prompt)
        tokens = self.frame.tokens(prompt.text)
        while len(ids) > room and tokens:
            tokens = tokens[: max(0, len(tokens) - max(1, len(ids) - room))]
            ids = self.frame.ids(replace(prompt, text=self.tokenizer.decode(tokens)))
        if len(ids) > room:
            raise PromptTooLong(
                f"the frame of {self.name} alone takes {len(ids)} tokens and leaves no room for"
                f" {self.sampling.max_new_tokens} new ones in a context of {self.context}; use a shorter template"
            )
        return ids


def _later(history: tuple[Turn, ...]) -> tuple[Turn, ...]:
    """What remains without its oldest turns, up to the next one of the user."""
    return next((history[i:] for i in range(1, len(history)) if history[i].role == "user"), ())
