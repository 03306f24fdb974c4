"""User prompts: those of records, with the other columns of their rows, deduplicated and split."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from alignpro.config import DataSettings
from alignpro.data.columns import as_rows
from alignpro.data.origin import Origin
from alignpro.data.reading import read
from alignpro.data.records import shown
from alignpro.data.split import beside, split
from alignpro.types import Prompt

REPEATED = "repeated"
TESTED = "stands in data.test too"


@dataclass(frozen=True, slots=True)
class Prompts:
    """Prompts for training and, of other texts, for testing; `dropped` counts unusable rows by reason.

    Every row has the same columns. `notes` are lines for the user.
    """

    train: tuple[Prompt, ...]
    test: tuple[Prompt, ...]
    dropped: dict[str, int]
    notes: tuple[str, ...] = ()

    @property
    def everyone(self) -> tuple[Prompt, ...]:
        """Those of both sides."""
        return (*self.train, *self.test)


def load_prompts(settings: DataSettings, seed: int) -> Prompts:
    """Prompts of what data.prompts names, split into training and testing, or beside those of data.test.

    The split is that of `data.split`, by a hash of the prompt's text and the seed: neither the order of the file nor
    rows added later move a prompt from one side to the other, and a prompt that stands in a file of preferences too is
    on the same side there. Prompts of one text stay together; those of the same text, system message, history and row
    are one. Raises DataError, HubUnreachable.
    """
    readings = [read(origin, settings) for origin in (Origin.of(settings), Origin.of_test(settings)) if origin]
    dropped, notes = Counter[str](), list(dict.fromkeys(note for reading in readings for note in reading.notes))
    rows, left_out = as_rows([row for reading in readings for row in reading.others])
    if left_out:
        notes.append(f"columns left out, since they hold bytes or the like: {', '.join(left_out)}")
    sides = []
    for reading in readings:
        dropped += reading.dropped
        prompts = [
            replace(r.prompt, row=row) if row else r.prompt for r, row in zip(reading.records, rows, strict=False)
        ]
        del rows[: len(prompts)]
        sides.append(_by_text(prompts, dropped))
    if settings.test is None:
        keys = split(sides[0], settings, seed)
    else:
        keys = beside(sides[0], sides[1], settings, seed)
        dropped[TESTED] = sum(len(twins) for text, twins in sides[0].items() if text in sides[1])
    train = tuple(prompt for key in keys[0] for prompt in sides[0][key])
    test = tuple(prompt for key in keys[1] for prompt in sides[-1][key])
    return Prompts(train, test, dict(+dropped), (*notes, *_missing(train + test)))


def _by_text(prompts: Iterable[Prompt], dropped: Counter[str]) -> dict[str, list[Prompt]]:
    """Prompts by their text, those of one text in an order that is not the file's; `dropped` counts those repeated."""
    held: dict[str, dict[object, Prompt]] = {}
    for prompt in prompts:
        text, *before = shown(prompt)
        twins = held.setdefault(text, {})
        key = (*before, json.dumps(prompt.row, sort_keys=True) if prompt.row else None)
        dropped[REPEATED] += key in twins
        twins.setdefault(key, prompt)
    return {text: sorted(twins.values(), key=lambda prompt: prompt.key) for text, twins in held.items()}


def _missing(prompts: Sequence[Prompt]) -> Iterator[str]:
    """A line that names each column without a value in some of the rows, with their number."""
    empty = {name: sum(p.row[name] in (None, "") for p in prompts) for name in prompts[0].row}
    if told := ", ".join(f"{name} in {count}" for name, count in empty.items() if count):
        yield f"columns without a value in some of the {len(prompts)} rows: {told}"
