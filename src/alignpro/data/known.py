"""The data sets known by name, and preferences of one's own."""

from __future__ import annotations

from dataclasses import dataclass

from alignpro.data import helpsteer, orca, pairs, ultrafeedback
from alignpro.data.records import Schema


@dataclass(frozen=True)
class Source:
    """A data set: where the hub has it, "" where it comes from files alone, and the schemas its rows come in."""

    hub: str
    split: str
    schemas: tuple[Schema, ...]

    def schema_of(self, row: object) -> Schema | None:
        """The first schema whose fields the row has."""
        return next((schema for schema in self.schemas if schema.fits(row)), None)


SOURCES = {
    "ultrafeedback": Source(ultrafeedback.HUB, ultrafeedback.SPLIT, ultrafeedback.SCHEMAS),
    "helpsteer": Source(helpsteer.HUB, helpsteer.SPLIT, helpsteer.SCHEMAS),
    "orca": Source(orca.HUB, orca.SPLIT, orca.SCHEMAS),
    "preferences": Source("", "", pairs.SCHEMAS),
}
"""In the order in which a file's first row is tried: the plainest comes last."""
