"""Pairs of a prompt and a better prompt, checked, deduplicated and split by prompt."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from alignpro.config import DataSettings, SftSettings
from alignpro.data.origin import Origin
from alignpro.data.reading import read, told
from alignpro.data.records import normalised, shown
from alignpro.data.split import split
from alignpro.data.texts import blank
from alignpro.errors import DataError
from alignpro.types import Prompt

EMPTY = "empty rewrite"
SAME = "rewrite is the prompt"
REPEATED = "repeated"


@dataclass(frozen=True, slots=True)
class BetterPrompt:
    """A prompt x, without a row, and a rewrite x' that is better."""

    prompt: Prompt
    rewrite: str


@dataclass(frozen=True, slots=True)
class BetterPrompts:
    """Pairs for training and, of other prompts, for testing, in an order of chance; `dropped` counts rows by reason.

    `notes` are lines for the user.
    """

    train: tuple[BetterPrompt, ...]
    test: tuple[BetterPrompt, ...]
    dropped: Counter[str]
    notes: tuple[str, ...] = field(default=(), compare=False)


def load_rewrites(
    settings: SftSettings, data: DataSettings, seed: int, unusable: Callable[[BetterPrompt], str | None]
) -> BetterPrompts:
    """Read what sft.pairs names; `unusable` says why a pair cannot be learned from, or None.

    A prompt may have several rewrites; it is held out as everywhere else, by its own hash, or because it stands in
    data.test. Raises DataError, HubUnreachable.
    """
    origin = Origin(str(settings.pairs), "sft.pairs", data.config, data.split)
    pairs, dropped, notes = _read(origin, data, settings.column, unusable)
    if not pairs:
        raise DataError(f"{origin.said}: no pair can be used: {told(dropped)}")
    by_prompt: dict[str, list[BetterPrompt]] = {}
    for pair in pairs:
        by_prompt.setdefault(normalised(pair.prompt.text), []).append(pair)
    try:
        train, test = split(by_prompt, data.model_copy(update={"prompts": origin.name}), seed)
    except DataError as error:  # it speaks of the setting that most files come by
        raise DataError(str(error).replace("data.prompts", origin.setting)) from None
    if tests := Origin.of_test(data):
        tested = {normalised(record.prompt.text) for record in read(tests, data).records}
        test += [key for key in train if key in tested]
        train = [key for key in train if key not in tested]
    sides = [tuple(pair for key in side for pair in by_prompt[key]) for side in (train, test)]
    return BetterPrompts(sides[0], sides[1], dropped, tuple(notes))


def _read(
    origin: Origin, data: DataSettings, better: str, unusable: Callable[[BetterPrompt], str | None]
) -> tuple[list[BetterPrompt], Counter[str], list[str]]:
    """Pairs in the order of their rows, what was left out, and lines for the user.

    Raises DataError where most rows lack a field.
    """
    reading = read(origin, data, rewrite=better)
    pairs: dict[object, BetterPrompt] = {}
    dropped = reading.dropped
    for record in reading.records:
        pair = BetterPrompt(record.prompt, record.answers[0].text)
        x, rewrite = shown(pair.prompt), normalised(pair.rewrite)
        reason = (
            EMPTY
            if blank(rewrite)
            else SAME
            if rewrite == x[0]
            else REPEATED
            if (x, rewrite) in pairs
            else unusable(pair)
        )
        if reason:
            dropped[reason] += 1
        else:
            pairs[x, rewrite] = pair
    return list(pairs.values()), dropped, reading.notes
