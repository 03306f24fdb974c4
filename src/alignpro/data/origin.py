"""Where rows come from: a file, a folder or a hub, and the setting that names it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from alignpro.config import DATA_SETS, DataSettings
from alignpro.data import tasks
from alignpro.data.files import READERS, Rows, kind_of, rows_of
from alignpro.data.hub import folder_rows, hub_rows
from alignpro.data.known import SOURCES
from alignpro.errors import DataError

_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")


@dataclass(frozen=True, slots=True)
class Origin:
    """What the user named, by which setting, and which config and split of it are taken; `usual` where none is."""

    name: str
    setting: str = "data.prompts"
    config: str | None = None
    split: str | None = None
    usual: str = "train"

    @classmethod
    def of(cls, settings: DataSettings) -> Origin:
        """That of data.prompts."""
        name = str(settings.prompts)
        usual = SOURCES[name].split if name in DATA_SETS else "train"
        return cls(name, "data.prompts", settings.config, settings.split, usual)

    @classmethod
    def of_test(cls, settings: DataSettings) -> Origin | None:
        """That of data.test, where it is set."""
        if settings.test is None:
            return None
        return cls(settings.test, "data.test", settings.config, settings.test_split, "test")

    @classmethod
    def of_validation(cls, settings: DataSettings) -> Origin | None:
        """That of data.validation, where it is no share."""
        if not isinstance(settings.validation, str):
            return None
        return cls(settings.validation, "data.validation", settings.config, settings.validation_split, "validation")

    @property
    def said(self) -> str:
        """How errors name it."""
        return f"{self.setting} {self.name}"

    @property
    def path(self) -> Path:
        """The file or folder, where it is one."""
        return Path(self.name).expanduser()

    @property
    def hub_id(self) -> str | None:
        """Its id on the hub: of a name known, of `hub:NAME`, and of OWNER/NAME where no such file or folder is here."""
        if self.name in DATA_SETS:
            return SOURCES[self.name].hub
        if self.name.startswith("hub:"):
            return self.name.removeprefix("hub:")
        by_id = _HUB_ID.fullmatch(self.name) and kind_of(self.path) not in READERS and not self.path.exists()
        return self.name if by_id else None

    def rows(self, column: str) -> Rows:
        """Its rows as they are; a line of a text file is a row with the one field `column`.

        Raises DataError, HubUnreachable.
        """
        if self.name.startswith(tasks.PREFIX):
            if self.name not in tasks.NAMES:
                raise DataError(f"{self.said}: no such task; there are {', '.join(tasks.NAMES)}")
            return Rows.of(tasks.rows(self.name), "a task that ships")
        if self.hub_id is not None:
            return Rows.of(hub_rows(self.hub_id, self.config, self.split or self.usual, self.said), "a data set")
        if self.path.is_dir():
            return Rows.of(folder_rows(self.path, self.config, self.split, self.usual, self.said), "a data set")
        if not self.path.is_file():
            raise DataError(
                f"{self.said}: the file does not exist; give a txt, jsonl, json, csv, tsv or parquet file, a folder"
                " that the datasets library saved, a data set of the hub as OWNER/NAME, or ultrafeedback, helpsteer,"
                " orca"
            )
        return rows_of(self.path, column, self.setting)
