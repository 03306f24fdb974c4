"""Prompts and preferences of what the settings name.

    settings.data.prompts = "pairs.jsonl"     told from the fields of its first row, or by data.format
    settings.data.prompts = "ultrafeedback"   from the hub, by the `datasets` library
    settings.data.prompts = "OWNER/NAME"      any other data set of the hub

Prompts and preferences of one source, seed and share are split alike: a prompt held out here is held out there.
"""

from __future__ import annotations

from collections import Counter

from alignpro.config import DataSettings
from alignpro.data.known import SOURCES
from alignpro.data.origin import Origin
from alignpro.data.preferences import Preference, Preferences, compare
from alignpro.data.prompts import TESTED, Prompts, load_prompts
from alignpro.data.reading import read, told
from alignpro.data.records import normalised
from alignpro.data.split import beside, split
from alignpro.errors import DataError

__all__ = ["SOURCES", "Prompts", "load_preferences", "load_prompts"]


def load_preferences(settings: DataSettings, seed: int, keep_not_higher: bool = False) -> Preferences:
    """Preferences of the file or data set named, no prompt on both sides.

    `keep_not_higher` as in `compare`. Raises DataError, HubUnreachable.
    """
    pairs, dropped, notes = _pairs(Origin.of(settings), settings, keep_not_higher)
    origin = Origin.of_test(settings)
    if origin is None:
        tests = pairs
        train, test = split(map(_text, pairs), settings, seed)
    else:
        tests, left_out, more = _pairs(origin, settings, keep_not_higher)
        train, test = beside(map(_text, pairs), map(_text, tests), settings, seed)
        dropped += left_out
        notes += more
        held = set(test)
        dropped[TESTED] = sum(_text(pair) in held for pair in pairs)
    sides = [[pair for pair in of if _text(pair) in keys] for of, keys in ((pairs, set(train)), (tests, set(test)))]
    return Preferences(tuple(sides[0]), tuple(sides[1]), +dropped, tuple(notes))


def _pairs(
    origin: Origin, settings: DataSettings, keep_not_higher: bool
) -> tuple[list[Preference], Counter[str], list[str]]:
    """Preferences in the order of their rows, what was left out, and lines for the user."""
    reading = read(origin, settings, preferences=True)
    pairs, left_out = compare(reading.records, keep_not_higher)
    dropped = reading.dropped + left_out
    if not pairs:
        raise DataError(f"{origin.said}: no pair of answers can be used: {told(dropped)}")
    return pairs, dropped, reading.notes


def _text(pair: Preference) -> str:
    return normalised(pair.prompt.text)
