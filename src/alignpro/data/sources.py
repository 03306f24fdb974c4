"""Prompts and preferences of what the settings name.

    settings.data.prompts = "pairs.jsonl"     told from the fields of its first row, or by data.format
    settings.data.prompts = "ultrafeedback"   from the hub, by the `datasets` library
    settings.data.prompts = "OWNER/NAME"      any other data set of the hub

Prompts and preferences of one source, seed and share are split alike: a prompt held out here is held out there.
"""

from __future__ import annotations

from alignpro.config import DataSettings
from alignpro.data.known import SOURCES
from alignpro.data.origin import Origin
from alignpro.data.preferences import Preferences, compare
from alignpro.data.prompts import Prompts, load_prompts
from alignpro.data.reading import read, told
from alignpro.data.records import normalised
from alignpro.data.split import split
from alignpro.errors import DataError

__all__ = ["SOURCES", "Prompts", "load_preferences", "load_prompts"]


def load_preferences(settings: DataSettings, seed: int, keep_not_higher: bool = False) -> Preferences:
    """Preferences of the file or data set named, no prompt on both sides.

    `keep_not_higher` as in `compare`. Raises DataError, HubUnreachable.
    """
    reading = read(Origin.of(settings), settings, preferences=True)
    dropped = reading.dropped
    pairs, left_out = compare(reading.records, keep_not_higher)
    dropped += left_out
    if not pairs:
        raise DataError(f"data.prompts {settings.prompts}: no pair of answers can be used: {told(dropped)}")
    train, test = split((normalised(pair.prompt) for pair in pairs), settings, seed)
    sides = [[pair for pair in pairs if normalised(pair.prompt) in side] for side in (set(train), set(test))]
    return Preferences(tuple(sides[0]), tuple(sides[1]), dropped)
