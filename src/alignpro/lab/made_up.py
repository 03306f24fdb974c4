"""Prompts about made-up subjects, by which a prompter learns to copy letter by letter: `alignpro lab prompts`."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace

from alignpro.lab import world
from alignpro.lab.subjects import Subject, held_out, subjects
from alignpro.rng import derive

CONSONANTS, VOWELS, LETTERS = "bcdfghjklmnprstvwz", "aeiou", "abcdefghijklmnopqrstuvwxyz"
SHORT_WORDS = ("i", "a", "an", "so", "um", "hi", "on", "in", "it", "me", "be", "and", "my", "no", "to", "two", "am")
KNOWN = 0.3
"""Share of the prompts that are about subjects of the training split as they are."""


def prompts(rng: random.Random, seed: int = 0) -> Iterator[world.UserPrompt]:
    """Prompts without end, in every phrasing, about invented subjects of the forms of the training split's, which
    `seed` divides. The words of held-out subjects are not used."""
    known = {prompt.subject.phrase for prompt in world.user_prompts("train", seed)}
    real = [subject for subject in subjects() if subject.phrase in known]
    phrasings = [(mood, phrasing) for mood, several in world.PHRASINGS.items() for phrasing in several]
    secret = {word for s in subjects() if s.phrase not in known for word in world.words(s.phrase)}
    words = sorted(word for word in world.all_words() - secret if word.isalpha())
    while True:
        like, (mood, phrasing) = rng.choice(real), rng.choice(phrasings)
        phrase = like.phrase if rng.random() < KNOWN else _phrase(rng, like, words)
        yield world.UserPrompt(world.tidy(phrasing.format(s=phrase)), replace(like, phrase=phrase), mood)


def distinct(count: int, seed: int) -> list[str]:
    """So many prompts, no two alike, none about a held-out subject."""
    users, held, found = prompts(random.Random(derive(seed, "made-up prompts"))), held_out(0), dict[str, None]()
    while len(found) < count:
        x = next(users)
        if x.subject.phrase not in held:
            found.setdefault(x.text)
    return list(found)


def _phrase(rng: random.Random, like: Subject, words: list[str]) -> str:
    """A phrase of the same form with an invented noun, e.g. `clean a whimoss`, so that copying is learned by
    letters."""
    noun = " ".join(_invented(rng, words) for _ in range(1 if rng.random() < 0.7 else 2))
    if like.kind == "fact":
        return noun
    return f"{like.family} {rng.choice(('', 'a ', 'an ', 'the ', 'my '))}{noun}"


def _invented(rng: random.Random, words: list[str]) -> str:
    """A real word, two spliced ones, syllables, or any letters.

    Some begin with a short word that the tokenizer knows whole, as `islands` begins with `i`, so as not to be taken
    for it.
    """
    kind = rng.random()
    if kind < 0.25:
        return rng.choice(words)
    if kind < 0.6:
        head, tail = rng.choice(words), rng.choice(words)
        return head[: rng.randint(1, len(head))] + tail[rng.randint(0, len(tail) - 1) :]
    if kind < 0.8:
        return rng.choice(SHORT_WORDS) + rng.choice(words)[rng.randint(0, 2) :]
    if kind < 0.92:
        syllables = (rng.choice(CONSONANTS) + rng.choice(VOWELS) for _ in range(rng.randint(1, 4)))
        return "".join(syllables) + rng.choice("snrt")
    return "".join(rng.choice(LETTERS) for _ in range(rng.randint(3, 9)))
