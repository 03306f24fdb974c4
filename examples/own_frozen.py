"""A frozen model of your own for `--frozen python:own_frozen:answer`, run from this folder: a tiny retrieval chain.

It gets the conversation as OpenAI has it, x' being the last turn, and returns a text, or a mapping of text, error,
usage and finish. An exception, or a call longer than `frozen.timeout`, is a failed sample; the run goes on until more
than `reward.max_failed` of the samples have failed. Several calls are under way together: `frozen.concurrency`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

NOTES = (
    "Owls see in the dim because their eyes are long tubes that gather much light.",
    "Bread rises because yeast turns sugar into gas, which the dough holds.",
    "Bicycles stay up because the rider steers the wheels under the fall.",
)


def answer(messages: Sequence[Mapping[str, str]], most_words: int = 12) -> str | dict[str, object]:
    """The note that shares most words with what is asked, cut after so many words (`frozen.arguments.most_words`)."""
    asked = _words(messages[-1]["content"])
    note = max(NOTES, key=lambda text: len(asked & _words(text)))
    if not asked & _words(note):
        return {"error": "no note is about that"}
    words = note.split()
    return {"text": " ".join(words[:most_words]), "finish": "length" if len(words) > most_words else "stop"}


def _words(text: str) -> set[str]:
    return {word.strip(".,?!").lower() for word in text.split() if len(word) > 3}
