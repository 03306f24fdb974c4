"""The data sets known by name, and preferences of one's own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from alignpro.data import helpsteer, orca, pairs, ultrafeedback
from alignpro.data.records import Schema


@dataclass(frozen=True)
class Source:
    """A data set: where the hub has it, "" where it comes from files alone, and the schemas its rows come in."""

    hub: str
    split: str
    schemas: tuple[Schema, ...]
    marks: tuple[str, ...] = ()
    """Columns without which a file of prompts is not taken for it: its fields alone are anyone's."""

    def holds(self, row: object, preferences: bool) -> bool:
        """Whether a row, of preferences or of prompts, looks like one of its own."""
        marked = preferences or (isinstance(row, Mapping) and all(name in row for name in self.marks))
        return marked and any(schema.fits(row) for schema in self.schemas)


SOURCES = {
    "ultrafeedback": Source(ultrafeedback.HUB, ultrafeedback.SPLIT, ultrafeedback.SCHEMAS),
    "helpsteer": Source(helpsteer.HUB, helpsteer.SPLIT, helpsteer.SCHEMAS, helpsteer.ATTRIBUTES),
    "orca": Source(orca.HUB, orca.SPLIT, orca.SCHEMAS),
    "preferences": Source("", "", pairs.SCHEMAS),
}
"""In the order in which a file's first row is tried: the plainest comes last."""
