"""User prompts: those of records, with the other columns of their rows, deduplicated and split."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from alignpro.config import DataSettings
from alignpro.data.columns import as_rows
from alignpro.data.origin import Origin
from alignpro.data.reading import read
from alignpro.data.records import normalised, shown
from alignpro.data.split import beside, ordered, split
from alignpro.errors import DataError
from alignpro.rng import derive
from alignpro.types import Prompt

REPEATED = "repeated"
TESTED = "stands in data.test too"
VALIDATED = "stands in data.validation too"


@dataclass(frozen=True, slots=True)
class Prompts:
    """Prompts for training and, of other texts, for testing and to watch training by; `dropped` counts unusable rows by
    reason.

    Every row has the same columns. `notes` are lines for the user.
    """

    train: tuple[Prompt, ...]
    test: tuple[Prompt, ...]
    dropped: dict[str, int]
    notes: tuple[str, ...] = field(default=(), compare=False)
    validation: tuple[Prompt, ...] = ()

    @property
    def everyone(self) -> tuple[Prompt, ...]:
        """Those of all sides."""
        return (*self.train, *self.validation, *self.test)

    @property
    def counted(self) -> str:
        """How many there are of each side, in words."""
        sides = {"training": self.train, "validation": self.validation, "test": self.test}
        *others, last = (f"{len(side)} {name}" for name, side in sides.items() if side)
        return f"{', '.join(others)} and {last} prompts"


def load_prompts(settings: DataSettings, seed: int) -> Prompts:
    """Prompts of what data.prompts names, split into training and testing, or beside those of data.test, and of
    data.validation where it names something; where that is a share, `with_validation` takes it.

    The split is that of `data.split`, by a hash of the prompt's text and the seed: neither the order of the file nor
    rows added later move a prompt from one side to the other, and a prompt that stands in a file of preferences too is
    on the same side there. Prompts of one text stay together; those of the same text, system message, history and row
    are one. Raises DataError, HubUnreachable.
    """
    origins = [Origin.of(settings), Origin.of_test(settings), Origin.of_validation(settings)]
    readings = [read(origin, settings) for origin in origins if origin]
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
    watched = sides.pop() if origins[2] else {}
    if settings.test is None:
        keys = split(sides[0], settings, seed)
    else:
        keys = beside(sides[0], sides[1], settings, seed)
        dropped[TESTED] = sum(len(twins) for text, twins in sides[0].items() if text in sides[1])
    tested = set(keys[1])
    dropped[TESTED] += sum(len(twins) for text, twins in watched.items() if text in tested)
    dropped[VALIDATED] = sum(len(sides[0][key]) for key in keys[0] if key in watched)
    train = tuple(prompt for key in keys[0] if key not in watched for prompt in sides[0][key])
    test = tuple(prompt for key in keys[1] for prompt in sides[-1][key])
    validation = tuple(x for key in ordered(set(watched) - tested, seed) for x in watched[key])
    if origins[2] and not (train and validation):
        raise DataError(
            f"{origins[2].said}: {'every training prompt stands in it' if validation else 'every prompt is tested'};"
            " give other prompts"
        )
    return Prompts(train, test, dict(+dropped), (*notes, *_missing(train + validation + test)), validation)


def with_validation(prompts: Prompts, share: float, seed: int) -> Prompts:
    """The same with some of the training prompts, by a hash of their own, kept to watch training by.

    The share is met on average. Where too few lie below it, the nearest make up two of ten training prompts and more,
    one of five. The others keep their order, and no test prompt moves.
    """
    place = {text: derive(seed, "validation", text) / 2**63 for text in (shown(x)[0] for x in prompts.train)}
    below = sum(at < share for at in place.values())
    count = min(max(below, min(2, len(place) // 5)), len(place) - 1) if share else 0
    held = set(sorted(place, key=place.__getitem__)[:count])
    sides: tuple[list[Prompt], list[Prompt]] = ([], [])
    for prompt in prompts.train:
        sides[shown(prompt)[0] in held].append(prompt)
    return replace(prompts, train=tuple(sides[0]), validation=tuple(sides[1]))


def _by_text(prompts: Iterable[Prompt], dropped: Counter[str]) -> dict[str, list[Prompt]]:
    """Prompts by their text, those of one text in an order that is not the file's; `dropped` counts those repeated."""
    held: dict[str, list[Prompt]] = {}
    for prompt in prompts:
        held.setdefault(normalised(prompt.text), []).append(prompt)
    for text, twins in held.items():
        if len(twins) > 1:
            apart: dict[object, Prompt] = {}
            for prompt in twins:
                apart.setdefault((shown(prompt), json.dumps(prompt.row, sort_keys=True)), prompt)
            dropped[REPEATED] += len(twins) - len(apart)
            held[text] = sorted(apart.values(), key=lambda prompt: prompt.key)
    return held


def _missing(prompts: Sequence[Prompt]) -> Iterator[str]:
    """A line that names each column without a value in some of the rows, with their number."""
    empty = {name: sum(p.row[name] in (None, "") for p in prompts) for name in prompts[0].row}
    if told := ", ".join(f"{name} in {count}" for name, count in empty.items() if count):
        yield f"columns without a value in some of the {len(prompts)} rows: {told}"
