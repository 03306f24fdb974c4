"""The lab's world: how users write, how requests are made clear, and what the frozen model has learned to answer.

Everything is drawn from a `random.Random`, so one seed makes one world. Texts are lower-case words and the marks . , ?
"""

from __future__ import annotations

import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from alignpro.lab.subjects import Kind, Subject, by_phrase, held_out, subjects

Mood = Literal["neutral", "hurried", "thorough"]
Cue = Literal["detail", "example", "steps", "risks", "kindness", "brevity"]

CUES: tuple[Cue, ...] = ("detail", "example", "steps", "risks", "kindness", "brevity")

PHRASINGS: dict[Mood, tuple[str, ...]] = {
    "neutral": (
        "{s}",
        "{s} ?",
        "hi , {s}",
        "something on {s}",
        "{s} please",
        "what about {s}",
        "so , {s}",
        "one question , {s}",
        "{s} , thanks",
        "um , {s}",
    ),
    "hurried": (
        "quick , {s}",
        "{s} , i am in a hurry",
        "no time , {s}",
        "{s} , must run soon",
        "fast please , {s}",
        "{s} asap",
        "two minutes left , {s}",
    ),
    "thorough": (
        "everything on {s}",
        "{s} , i have all day",
        "so curious , {s}",
        "{s} , for my big project",
        "the whole story , {s}",
        "{s} , i want to learn it all",
        "long evening , {s}",
    ),
}

CLEAR = ("please explain {s}", "give me a clear answer about {s}", "tell me clearly about {s}")
VAGUE = ("{s}", "say something about {s}", "i would like {s}")
OPENERS = (*CLEAR, *VAGUE)
CLEAR_MARK = ("explain", "clear", "clearly")
CLEAR_SUFFIX = "explain it clearly"

CUE_PHRASES: dict[Cue, tuple[str, ...]] = {
    "detail": ("in detail", "with all the details"),
    "example": ("with an example", "and show an example"),
    "steps": ("step by step", "in ordered steps"),
    "risks": ("and name the risks", "with safety warnings"),
    "kindness": ("in a kind tone", "and be gentle"),
    "brevity": ("in short", "and keep it brief"),
}

KIND_WORDS = ("i am glad you asked", "you are doing fine", "take heart , you can do this")
CLOSINGS = ("i hope this helps", "let me know if you want more", "there is much more to say")
CONFUSED = ("could you say more ?", "i am not sure what you mean .", "what would you like to know ?")
STEP_WORDS = ("first", "next", "then", "finally")
NEEDLESS_RISKS = ("ask an expert before you start", "keep children away", "this may not be safe for all")


@dataclass(frozen=True, slots=True)
class UserPrompt:
    """A terse user prompt and what stands behind it."""

    text: str
    subject: Subject
    mood: Mood


@dataclass(frozen=True, slots=True)
class Request:
    """What can be read off a prompt, original or rewritten."""

    subject: Subject | None
    mood: Mood
    clear: bool
    cues: frozenset[Cue]


def tidy(text: str) -> str:
    """Marks joined to the word before them, as people write."""
    return re.sub(r" ([.,?])", r"\1", text)


def words(text: str) -> list[str]:
    """Lower-case words, numbers and marks; the inverse of `tidy` up to spaces."""
    return re.findall(r"[a-z0-9]+|[.,?]", text.lower())


def all_words() -> set[str]:
    """Every word and mark that the world knows."""
    parts = [
        *(f"{s.phrase} {' '.join(s.points)} {s.example} {s.hazard or ''}" for s in subjects()),
        *(phrasing.replace("{s}", "") for mood in PHRASINGS.values() for phrasing in mood),
        *(opener.replace("{s}", "") for opener in (*OPENERS, CLEAR_SUFFIX)),
        *(phrase for phrases in CUE_PHRASES.values() for phrase in phrases),
        *KIND_WORDS,
        *CLOSINGS,
        *CONFUSED,
        *STEP_WORDS,
        *NEEDLESS_RISKS,
        "about for example warning . , ?",
    ]
    return {word for part in parts for word in words(part)}


def user_prompts(which: Literal["train", "test"], seed: int = 0) -> list[UserPrompt]:
    """Every phrasing of every subject of the split; a fifth of the subjects is in the test split."""
    test = held_out(seed)
    return [
        UserPrompt(tidy(phrasing.format(s=subject.phrase)), subject, mood)
        for subject in subjects()
        if (subject.phrase in test) == (which == "test")
        for mood, phrasings in PHRASINGS.items()
        for phrasing in phrasings
    ]


def suffix(cues: Sequence[Cue], clear: bool) -> str:
    """A fixed suffix asking for these cues, the same for every prompt."""
    parts = [CUE_PHRASES[cue][0] for cue in cues]
    return " , ".join(([CLEAR_SUFFIX] if clear else []) + parts)


def taste(kind: Kind, hazard: bool, mood: Mood) -> dict[Cue, float]:
    """How likely the reference prompter is to ask for each cue: it has a notion of what fits, and no more than that."""
    fits = {
        "detail": mood != "hurried",
        "example": kind == "fact",
        "steps": kind == "howto",
        "risks": hazard,
        "kindness": kind == "advice",
        "brevity": mood == "hurried",
    }
    return {cue: 0.4 if fits[cue] else 0.2 for cue in CUES}


def rewrite(rng: random.Random, phrase: str, odds: Mapping[Cue, float] | None = None) -> str:
    """A rewrite: `phrase` kept, a clear opener three times in five, each cue with its odds (0.3 if none are given)."""
    opener = rng.choice(CLEAR if rng.random() < 0.6 else VAGUE)
    chosen = [rng.choice(CUE_PHRASES[cue]) for cue in CUES if rng.random() < (odds[cue] if odds else 0.3)]
    rng.shuffle(chosen)
    return tidy(" ".join([opener.format(s=phrase), *chosen]))


def read(text: str) -> Request:
    """Subject, mood, clarity and cues of any prompt."""
    flat = f" {' '.join(words(text))} "
    found = max(
        (s for phrase, s in by_phrase().items() if f" {phrase} " in flat),
        key=lambda s: len(s.phrase),
        default=None,
    )
    return Request(
        subject=found,
        mood=_mood(flat),
        clear=any(f" {mark} " in flat for mark in CLEAR_MARK),
        cues=frozenset(cue for cue, phrases in CUE_PHRASES.items() if any(f" {p} " in flat for p in phrases)),
    )


def answer(rng: random.Random, request: Request) -> str:
    """One answer of the frozen model's kind: cues and clarity move it, much chance is left."""
    clear, cues = request.clear, request.cues
    luck = rng.random()
    if request.subject is None or luck < (0.04 if clear else 0.20):
        return tidy(rng.choice(CONFUSED))
    subject = request.subject
    if luck > (0.97 if clear else 0.84):
        subject = rng.choice(subjects())
    sentences = []
    if _happens(rng, "kindness" in cues, 0.88, 0.12 if subject.kind == "advice" else 0.04):
        sentences.append(rng.choice(KIND_WORDS))
    sentences.append(f"about {subject.phrase}")
    sentences += _points(rng, subject, clear, cues)
    if _happens(rng, "example" in cues, 0.85, 0.12):
        sentences.append(f"for example , {subject.example}")
    if _happens(rng, "risks" in cues, 0.85, 0.18 if subject.hazard else 0.06):
        sentences.append(f"warning , {subject.hazard or rng.choice(NEEDLESS_RISKS)}")
    if rng.random() < (0.05 if "brevity" in cues else 0.3):
        sentences.append(rng.choice(CLOSINGS))
    return tidy(" . ".join(sentences) + " .")


def _points(rng: random.Random, subject: Subject, clear: bool, cues: frozenset[Cue]) -> list[str]:
    if "brevity" in cues:
        odds = (3, 5, 2, 0) if "detail" in cues else (8, 2, 0, 0)
    elif "detail" in cues:
        odds = (0, 1, 4, 5)
    else:
        odds = (2, 4, 3, 1) if clear else (4, 4, 2, 0)
    count = rng.choices((1, 2, 3, 4), odds)[0]
    picked = sorted(rng.sample(range(4), count))
    stray = [s for s in subjects() if s.kind == subject.kind and s.family != subject.family]
    points = [
        subject.points[i] if rng.random() < (0.93 if clear else 0.75) else rng.choice(rng.choice(stray).points)
        for i in picked
    ]
    if _happens(rng, "steps" in cues, 0.9, 0.12 if subject.kind == "howto" else 0.04):
        return [f"{word} , {point}" for word, point in zip(STEP_WORDS, points, strict=False)]
    return points


def _happens(rng: random.Random, asked: bool, if_asked: float, otherwise: float) -> bool:
    return rng.random() < (if_asked if asked else otherwise)


def _mood(flat: str) -> Mood:
    for mood in ("hurried", "thorough"):
        for phrasing in PHRASINGS[mood]:
            mark = phrasing.replace("{s}", "").strip(" ,")
            if f" {mark} " in flat:
                return mood
    return "neutral"
