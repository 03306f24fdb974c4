"""Pairs of a prompt and a better prompt, from a file, checked, deduplicated and split by prompt."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alignpro.config import DataSettings, SftSettings
from alignpro.data.conversations import WRONG_KIND
from alignpro.data.files import rows_of
from alignpro.data.records import normalised
from alignpro.data.split import split
from alignpro.errors import DataError

EMPTY = "empty prompt or rewrite"
SAME = "rewrite is the prompt"


@dataclass(frozen=True, slots=True)
class BetterPrompt:
    """A prompt x and a rewrite x' that is better."""

    prompt: str
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
    """Read the file named by sft.pairs; `unusable` says why a pair cannot be learned from, or None.

    A prompt may have several rewrites; it is held out as everywhere else, by its own hash. Raises DataError.
    """
    path = Path(str(settings.pairs)).expanduser()
    try:
        pairs, dropped = _read(path, data.column, settings.column, unusable)
        if not pairs:
            told = ", ".join(f"{count} {reason}" for reason, count in dropped.most_common()) or "it holds no rows"
            raise DataError(f"data.prompts {path}: no pair can be used: {told}")
        by_prompt: dict[str, list[BetterPrompt]] = {}
        for pair in pairs:
            by_prompt.setdefault(normalised(pair.prompt), []).append(pair)
        train, test = split(by_prompt, data.model_copy(update={"prompts": str(path)}), seed)
    except DataError as error:  # the reader of files speaks of the setting that most files come by
        raise DataError(str(error).replace("data.prompts", "sft.pairs")) from None
    sides = [tuple(pair for key in side for pair in by_prompt[key]) for side in (train, test)]
    return BetterPrompts(sides[0], sides[1], dropped)


def _read(
    path: Path, column: str, better: str, unusable: Callable[[BetterPrompt], str | None]
) -> tuple[list[BetterPrompt], Counter[str]]:
    dropped: Counter[str] = Counter()
    pairs: dict[tuple[str, str], BetterPrompt] = {}
    for row in _checked(rows_of(path, column, "sft.pairs"), path, column, better):
        x, rewrite = row.get(column), row.get(better)
        if not isinstance(x, str) or not isinstance(rewrite, str):
            dropped[WRONG_KIND] += 1
            continue
        pair = BetterPrompt(x.strip(), rewrite.strip())
        key = normalised(pair.prompt), normalised(pair.rewrite)
        reason = EMPTY if not all(key) else SAME if key[0] == key[1] else "repeated" if key in pairs else unusable(pair)
        if reason:
            dropped[reason] += 1
        else:
            pairs[key] = pair
    return list(pairs.values()), dropped


def _checked(rows: Iterator[Any], path: Path, column: str, better: str) -> Iterator[dict[str, Any]]:
    """The rows, the first of which must have both fields. Raises DataError naming those found."""
    for number, row in enumerate(rows):
        if number == 0 and not (isinstance(row, dict) and column in row and better in row):
            held = ", ".join(map(str, row)) if isinstance(row, dict) else type(row).__name__
            raise DataError(
                f"data.prompts {path}: found {held or 'no fields'}; wanted {column!r} and {better!r}, which are named"
                " by data.column and sft.column"
            )
        yield row if isinstance(row, dict) else {}
