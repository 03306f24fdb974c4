"""Data sets through the `datasets` library: from a hub by id, or from a folder that it saved."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from alignpro.data.files import INSTALL
from alignpro.errors import DataError, HubUnreachable


def hub_rows(name: str, config: str | None, split: str, said: str) -> Iterator[Any]:
    """Rows of a split of the data set `name`, a hub's id or a folder of data files.

    `said`, the setting and what it names, begins every error. Raises DataError, HubUnreachable.
    """
    load = _library(said).load_dataset
    try:
        held = load(name, config, split=split) if config else load(name, split=split)
    except OSError as error:  # what the library raises for no network, offline mode, and an unknown data set
        raise HubUnreachable(
            f"{said}: there is no such file here, and {name} could not be had from the hub ({_line(error)}); check the"
            " name and the network, or give a file of it"
        ) from error
    except Exception as error:  # of many kinds: no such split or config, code to run, a broken file
        raise DataError(
            f"{said}: split {split} of {name} cannot be read ({_line(error)}); name the config by data.config and the"
            " split by data.split or data.test_split, or give a file of it"
        ) from error
    yield from _rows(held)


def folder_rows(path: Path, config: str | None, split: str | None, usual: str, said: str) -> Iterator[Any]:
    """Rows of a folder that `save_to_disk` wrote, or of one of data files, as a hub has them.

    Of several splits those of `split`, or of `usual` where none is named. Raises DataError.
    """
    library = _library(said)
    saved = any((path / name).is_file() for name in ("state.json", "dataset_dict.json"))
    try:
        held = library.load_from_disk(str(path)) if saved else library.load_dataset(str(path), config)
    except Exception as error:  # the library's own, pyarrow's, and those of files torn or absent
        raise DataError(
            f"{said}: is a folder from which the datasets library reads nothing ({_line(error)}); give a file, a folder"
            " made by save_to_disk, or the id of a data set"
        ) from error
    if isinstance(held, dict):
        wanted = split or (usual if usual in held or len(held) != 1 else next(iter(held)))
        if wanted not in held:
            raise DataError(
                f"{said}: holds no split {wanted}; found {', '.join(held)}; name one by data.split or data.test_split"
            )
        held = held[wanted]
    elif split not in (None, str(held.split)):
        raise DataError(f"{said}: the folder holds one split, {held.split}, and not {split}")
    yield from _rows(held)


def _rows(held: Any) -> Iterator[Any]:
    """The rows as Arrow has them, so that images and sounds are not decoded."""
    if not hasattr(held, "with_format"):
        yield from held
        return
    for table in held.with_format("arrow").iter(batch_size=1000):
        yield from table.to_pylist()


def _library(said: str) -> Any:
    try:
        import datasets
        from datasets import load_dataset  # noqa: F401  a folder called datasets has none
    except ImportError:
        raise DataError(
            f"{said}: a data set from the hub, or a saved one, needs the datasets library: {INSTALL}; or give a file"
            " of it"
        ) from None
    return datasets


def _line(error: Exception) -> str:
    """What the library says, in one line."""
    told = " ".join(str(error).split())
    return told if len(told) <= 300 else f"{told[:300]}…"
