"""Whether a rewrite is in its prompt's script and language, and still denies what the prompt denies."""

from __future__ import annotations

from collections import Counter

import regex

from alignpro.rewards.guards.lexicon import COMMON, DENYING, DENYING_SIGNS, NEGATING, NEGATIONS

_SCRIPTS = ("Latin", "Cyrillic", "Greek", "Arabic", "Hebrew", "Devanagari", "Bengali", "Tamil", "Telugu", "Thai")
_EAST = {"Chinese": r"\p{Han}", "Japanese": r"[\p{Hiragana}\p{Katakana}]", "Korean": r"\p{Hangul}"}
_LETTERS = {name: regex.compile(rf"\p{{{name}}}") for name in _SCRIPTS} | {
    name: regex.compile(signs) for name, signs in _EAST.items()
}
_WORD = regex.compile(r"[\p{L}\p{M}]+(?:['’][\p{L}]+)*")
_LANGUAGES: dict[str, list[str]] = {}
for _language, _words in COMMON.items():
    for _word in _words.split():
        _LANGUAGES.setdefault(_word, []).append(_language)
_NEGATIONS = frozenset(word for words in NEGATIONS.values() for word in words.split())
_DENYING = _NEGATIONS | frozenset(DENYING.split())
_NEGATING = regex.compile(NEGATING)
_DENYING_SIGNS = regex.compile(f"{NEGATING}|{DENYING_SIGNS}")
LEAST = 4
"""Common words of a language, and letters of a script, by which a text is told to be of it."""
AHEAD = 1.5
"""How many times as many as of any other language."""
LEFT = 0.5
"""Share of them that a rewrite in the same language has at least."""


def other_language(prompt: str, rewrite: str) -> str | None:
    """From what to what a rewrite has changed the language, where that is sure; None where it has not.

    By letters of each script, and by common words where languages share one. What keeps half of the prompt's is never
    one: x' may speak of x in another language, and hold it.
    """
    if prompt.isascii() and rewrite.isascii():
        ours, theirs = Counter({"Latin": 1}), Counter({"Latin": 1})
    else:
        ours, theirs = _scripts(prompt), _scripts(rewrite)
    if not (ours and theirs):
        return None
    script, other = max(ours, key=ours.__getitem__), max(theirs, key=theirs.__getitem__)
    if script != other:
        least = LEAST if script not in _EAST else LEAST // 2
        gone = ours[script] >= least and theirs[script] < LEFT * ours[script] and theirs[other] >= least
        return f"{script} to {other}" if gone else None
    here, there = _languages(prompt), _languages(rewrite)
    language, now = _surest(here), _surest(there)
    if language and now and language != now and there[language] < LEFT * here[language]:
        return f"{language} to {now}"
    return None


def lost_negation(prompt: str, rewrite: str) -> str | None:
    """A negation of the prompt, where its rewrite has none at all, nor a word such as `avoid` or `except`."""
    denied = _denial(prompt, _NEGATIONS, _NEGATING)
    return None if denied is None or _denial(rewrite, _DENYING, _DENYING_SIGNS) else denied


def _denial(text: str, words: frozenset[str], signs: regex.Pattern[str]) -> str | None:
    """The first word or sign that denies."""
    plain = text.casefold().replace("’", "'")
    found = next((word for word in _WORD.findall(plain) if word in words or word.endswith("n't")), None)
    sign = None if found or text.isascii() else signs.search(text)
    return sign[0] if sign else found


def _scripts(text: str) -> Counter[str]:
    """Letters of each script; where there is Japanese of its own, its Chinese signs are Japanese too."""
    found = Counter({name: len(letters.findall(text)) for name, letters in _LETTERS.items()})
    if found["Japanese"] > found["Chinese"] / 10:
        found["Japanese"] += found.pop("Chinese", 0)
    return +found


def _languages(text: str) -> Counter[str]:
    """Words of each language among the text's."""
    return Counter(language for word in _WORD.findall(text.casefold()) for language in _LANGUAGES.get(word, ()))


def _surest(found: Counter[str]) -> str | None:
    """The language that a text is surely of."""
    first, second = [*found.most_common(2), ("", 0), ("", 0)][:2]
    return first[0] if first[1] >= LEAST and first[1] >= AHEAD * second[1] else None
