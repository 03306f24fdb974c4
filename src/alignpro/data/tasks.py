"""Prompts of two tasks that ship: `constraints`, whose rows say how an answer can be checked, and `plain`.

    data.prompts = "task:constraints"     subjects for training, each under seven constraints
    data.test = "task:constraints:test"   other subjects, each under those seven and `ending`, which training never sees
    data.prompts = "task:plain"           questions about the same subjects, without constraints

Rows of the first two have `prompt`, `constraints` (those that `verify:constraints` reads: the one that the prompt
names, and that the subject is named), `kind` and `subject`. A subject is one word that a text about it says as it
stands.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

UNSEEN = "ending"
"""The kind of constraint that no training prompt has."""

_TRAINING = """
coffee honey salt sugar bread cheese milk rice butter wine water snow rain fog wind lightning fire smoke sand clay
paper ink wood wool silk leather rubber steel copper gold oil electricity gravity music jazz painting pottery ballet
chess football golf sailing hiking surfing boxing gardening baking knitting astronomy chemistry algebra logic history
medicine farming banking money law sleep laughter Paris Egypt Japan Mars
"""

_TEST = """
tea chocolate beer soup pepper garlic vinegar ice thunder dust mud glass cotton plastic iron silver coal heat sound
light magnetism opera poetry photography theatre tennis rugby swimming running cycling fishing skiing archery karate
yoga cooking sewing carpentry biology physics geology geometry statistics economics philosophy psychology dentistry
nursing mining trade insurance democracy recycling evolution memory friendship Rome Brazil Norway Venus Jupiter
"""

TRAINING_SUBJECTS, TEST_SUBJECTS = tuple(_TRAINING.split()), tuple(_TEST.split())

_ASKED = ("What is {}?", "Tell me about {}.", "Explain {} to a friend.", "Write something about {}.")
_PLACES = ("Paris", "Rome", "Egypt", "Japan", "Brazil", "Norway")

_KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "one sentence": (
        "Answer in exactly one sentence.",
        {"id": "length_constraints:number_sentences", "num_sentences": 1, "relation": "exactly"},
    ),
    "few words": (
        "Use at most 15 words.",
        {"id": "length_constraints:number_words", "num_words": 15, "relation": "at most"},
    ),
    "no commas": ("Do not use any commas.", {"id": "punctuation:no_comma"}),
    "three bullets": (
        "Answer with exactly three bullet points.",
        {"id": "detectable_format:number_bullet_lists", "num_bullets": 3, "relation": "exactly"},
    ),
    "lower case": ("Use only lowercase letters.", {"id": "change_case:english_lowercase"}),
    "a word": ('Use the word "because".', {"id": "keywords:existence", "keywords": ["because"]}),
    "first word": ('Begin with the word "Imagine".', {"id": "startend:first_word", "first_word": "Imagine"}),
    UNSEEN: ('End with the words "That is all."', {"id": "startend:end_checker", "end_phrase": "That is all."}),
}

_PLAIN = (
    "What is {}, and why does it matter?",
    "Explain how {} is used today.",
    "What should a beginner know about {}?",
)

PREFIX = "task:"
NAMES = ("task:constraints", "task:constraints:test", "task:plain")
"""The sets, as data.prompts and data.test name them."""


def rows(name: str) -> Iterator[dict[str, Any]]:
    """The rows of one of `NAMES`."""
    if name == "task:plain":
        subjects = sorted({*TRAINING_SUBJECTS, *TEST_SUBJECTS} - set(_PLACES))
        for form in _PLAIN:
            yield from ({"prompt": form.format(subject), "subject": subject} for subject in subjects)
        return
    test = name == "task:constraints:test"
    for place, subject in enumerate(TEST_SUBJECTS if test else TRAINING_SUBJECTS):
        for turn, (kind, (said, constraint)) in enumerate(_KINDS.items()):
            if kind != UNSEEN or test:
                yield {
                    "prompt": f"{_ASKED[(place + turn) % len(_ASKED)].format(subject)} {said}",
                    "constraints": [constraint, {"id": "keywords:existence", "keywords": [subject]}],
                    "kind": kind,
                    "subject": subject,
                }
