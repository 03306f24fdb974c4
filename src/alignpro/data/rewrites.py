"""Pairs of a prompt and a better prompt, checked, deduplicated and split by prompt."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from alignpro.config import DataSettings, SftSettings
from alignpro.data.conversations import WRONG_KIND, clean
from alignpro.data.origin import Origin
from alignpro.data.plain import column_of, plain_schema
from alignpro.data.reading import read, told
from alignpro.data.records import normalised, shown
from alignpro.data.split import split
from alignpro.errors import DataError, UnusableRow
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
    """Pairs for training and, of other prompts, for testing, in an order of chance; `dropped` counts rows by reason."""

    train: tuple[BetterPrompt, ...]
    test: tuple[BetterPrompt, ...]
    dropped: Counter[str]


def load_rewrites(
    settings: SftSettings, data: DataSettings, seed: int, unusable: Callable[[BetterPrompt], str | None]
) -> BetterPrompts:
    """Read what sft.pairs names; `unusable` says why a pair cannot be learned from, or None.

    A prompt may have several rewrites; it is held out as everywhere else, by its own hash, or because it stands in
    data.test. Raises DataError, HubUnreachable.
    """
    origin = Origin(str(settings.pairs), "sft.pairs", data.config, data.split)
    pairs, dropped = _read(origin, data, settings.column, unusable)
    if not pairs:
        raise DataError(f"{origin.said}: no pair can be used: {told(dropped) or 'it holds no rows'}")
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
    return BetterPrompts(sides[0], sides[1], dropped)


def _read(
    origin: Origin, data: DataSettings, better: str, unusable: Callable[[BetterPrompt], str | None]
) -> tuple[list[BetterPrompt], Counter[str]]:
    """Pairs in the order of their rows, and what was left out. Raises DataError where the first row lacks a field."""
    rows = list(origin.rows(data.column))
    first: object = next((row for row in rows if not isinstance(row, UnusableRow)), None)
    column = column_of(data, first)
    if first is not None and (column is None or not isinstance(first, Mapping) or better not in first):
        held = ", ".join(map(str, first)) if isinstance(first, Mapping) else type(first).__name__
        raise DataError(
            f"{origin.said}: found {held or 'no fields'}; wanted {data.column!r} and {better!r}, which are named by"
            " data.column and sft.column"
        )
    schema = plain_schema(column or data.column, data, rows, origin.said)
    pairs: dict[object, BetterPrompt] = {}
    dropped: Counter[str] = Counter()
    for row in rows:
        try:
            if isinstance(row, UnusableRow):
                raise row
            if not schema.fits(row):
                raise UnusableRow(WRONG_KIND)
            pair = BetterPrompt(schema.read(row).prompt, clean(row.get(better)).strip())
        except UnusableRow as error:
            dropped[str(error)] += 1
            continue
        x, rewrite = shown(pair.prompt), normalised(pair.rewrite)
        reason = (
            EMPTY if not rewrite else SAME if rewrite == x[0] else REPEATED if (x, rewrite) in pairs else unusable(pair)
        )
        if reason:
            dropped[reason] += 1
        else:
            pairs[x, rewrite] = pair
    return list(pairs.values()), dropped
