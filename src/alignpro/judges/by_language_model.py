"""A language model as judge, behind a URL or on this machine; what it has said is kept and not asked again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from alignpro.judges import ties
from alignpro.judges.question import question, read_verdict
from alignpro.remote.accounting import Usage
from alignpro.remote.answers import Answer
from alignpro.remote.cache import AnswerCache, key
from alignpro.remote.frozen import EndpointModel
from alignpro.results import JudgeCost
from alignpro.runtime import progress
from alignpro.types import FrozenModel, Generation, Judgement, Prompt, Response, as_prompts, as_responses

TOO_LONG = ("prompt exceeds the frozen model's context", "question exceeds the judge's context")
"""What a frozen model says of a prompt that does not fit, and what that is here."""
SEED = 0
"""Of the judge's draws; at temperature 0 it decides nothing."""


@dataclass(frozen=True)
class LlmJudge:
    """Asks a model which of two responses is better, blind: it sees the original prompt, what stands before it, and
    two answers, A and B.

    The higher score wins, within `tie_margin` points it is a tie. Equal answers tie without being asked about. A reply
    without a readable verdict, or no reply, is no verdict and says why. `identity` tells weights apart in `kept`;
    `special` are the tokenizer's own marks, which texts must not hold.
    """

    name: str
    model: FrozenModel
    criteria: Sequence[str]
    tie_margin: float = 0.0
    batch_size: int = 16
    special: Sequence[str] = ()
    identity: str = ""
    kept: AnswerCache | None = None
    symmetric = False

    def keeping(self, path: Path) -> LlmJudge:
        """The same judge, its replies kept in the file and taken from there. Raises CacheUnusable."""
        cache = AnswerCache(path)
        if isinstance(self.model, EndpointModel):
            self.model.cache = cache
        return replace(self, kept=cache)

    def cost(self) -> JudgeCost:
        """Replies that are kept and their tokens, those of earlier attempts among them; nothing where none are kept."""
        usage = self.kept.usage() if self.kept else Usage()
        answers = len(self.kept) if self.kept else 0
        return JudgeCost(answers=answers, input_tokens=usage.input, output_tokens=usage.output)

    def compare(
        self, prompts: Sequence[str | Prompt], a: Sequence[str | Response], b: Sequence[str | Response]
    ) -> list[Judgement]:
        """One judgement for each (prompt, a, b), asked in this order of presenting. Raises as `FrozenModel.respond`."""
        asked_of = zip(as_prompts(prompts), as_responses(a), as_responses(b), strict=True)
        triples = [(x.asking(x.text), ya.text, yb.text) for x, ya, yb in asked_of]
        asked = {triple: question(*triple, self.criteria, self.special) for triple in triples if triple[1] != triple[2]}
        texts = [text for text, _ in asked.values()]
        replies = dict(zip(asked, self._replies(texts), strict=True))
        return [
            self._judgement(replies[triple], asked[triple][1]) if triple in asked else ties.equal_answers()
            for triple in triples
        ]

    def _judgement(self, reply: Generation, mark: str) -> Judgement:
        if reply.failure:
            return Judgement(None, failure=reply.failure.replace(*TOO_LONG))
        verdict = read_verdict(reply.text, mark, cut=reply.finish == "length")
        if isinstance(verdict, str):
            return Judgement(None, reason=reply.text[:200], failure=verdict)
        scores, reason = verdict
        return ties.by_scores(scores, self.tie_margin, reason)

    def _replies(self, texts: Sequence[str]) -> list[Generation]:
        if self.kept is None or isinstance(self.model, EndpointModel):  # an endpoint keeps each reply as it comes
            return [row[0] for row in self.model.respond(as_prompts(texts), [1] * len(texts), SEED)]
        keys = [key(self.identity, self.name, {"text": text}, 0) for text in texts]
        answers = self.kept.get(keys)
        left = [i for i, k in enumerate(keys) if k not in answers]
        for start in range(0, len(left), self.batch_size):
            batch = left[start : start + self.batch_size]
            rows = self.model.respond(as_prompts(texts[i] for i in batch), [1] * len(batch), SEED)
            new = {keys[i]: _answer(row[0]) for i, row in zip(batch, rows, strict=True)}
            self.kept.put({k: answer for k, answer in new.items() if answer.failure is None})
            answers |= new
            progress.tell(start + len(batch), len(left), "questions")
        return [answers[k].generation() for k in keys]


def _answer(reply: Generation) -> Answer:
    return Answer(
        reply.text,
        "length" if reply.finish == "length" else "stop",
        reply.failure,
        Usage(len(reply.query), len(reply.tokens)),
    )
