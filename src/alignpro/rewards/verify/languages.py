"""In which language a text is written, by the package py3langid, offline."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from alignpro.rewards.verify.verifier import needs
from alignpro.rewards.verify.words import sentences

LANGUAGES = (
    *("af", "ar", "az", "be", "bg", "bn", "bs", "ca", "cs", "cy", "da", "de", "el", "en", "es", "et", "eu", "fa", "fi"),
    *("fr", "ga", "gl", "gu", "he", "hi", "hr", "hu", "hy", "id", "is", "it", "ja", "ka", "kk", "km", "kn", "ko", "la"),
    *("lo", "lt", "lv", "mk", "ml", "mn", "mr", "ms", "my", "ne", "nl", "no", "pa", "pl", "ps", "pt", "ro", "ru", "si"),
    *("sk", "sl", "so", "sq", "sr", "sv", "sw", "ta", "te", "th", "tl", "tr", "uk", "ur", "uz", "vi", "zh"),
)
"""Codes (ISO 639-1) that are told apart."""
SURE = 0.9
"""How likely another language must be for a sentence to count as one of it."""


def written_in(text: str, language: str) -> bool:
    """Whether the whole is most likely of the language, and no sentence of it surely of another."""
    if _likeliest(text)[0] != language:
        return False
    return not any(other != language and sure >= SURE for other, sure in map(_likeliest, sentences(text)))


def _likeliest(text: str) -> tuple[str, float]:
    language, sure = _identifier().classify(" ".join(text.split()))
    return str(language), float(sure)


@lru_cache(maxsize=1)
def _identifier() -> Any:
    try:
        from py3langid.langid import MODEL_FILE, LanguageIdentifier
    except ImportError as error:
        raise needs("py3langid", "a language in verify:constraints", error) from error
    identifier = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
    identifier.set_languages(LANGUAGES)
    return identifier
