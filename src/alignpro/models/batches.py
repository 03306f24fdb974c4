"""Texts of models that run here, kept a batch at a time until the stage that asked for them has written its own rows.

A stage may ask a slow model for an hour before it has a row to write. What it samples meanwhile stands in a folder, a
file a batch, and whoever goes on finds it there: the same draws of the same weights, to the last bit.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import shutil
import weakref
import zipfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from alignpro.models.fingerprint import fingerprint
from alignpro.runtime import files, processes
from alignpro.types import Generation

Forget = Callable[[], None]
"""Drops what was kept so far: its stage has rows of it."""
_open: list[Batches] = []


class Batches:
    """Batches in a folder, by a digest of all that decides their draws. Models must not be trained meanwhile."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._weights: weakref.WeakKeyDictionary[Any, str] = weakref.WeakKeyDictionary()

    def key(self, model: Any, *decides: Any) -> str:
        """Of a batch of the model: `decides` are arrays, and what JSON can hold."""
        if model not in self._weights:
            self._weights[model] = fingerprint(model)
        digest = hashlib.blake2b(self._weights[model].encode(), digest_size=16)
        for part in decides:
            digest.update(part.tobytes() if isinstance(part, np.ndarray) else json.dumps(part).encode())
        return digest.hexdigest()

    def get(self, key: str) -> list[Generation] | None:
        """The batch; None where it is not there, or was torn."""
        try:
            with np.load(self._file(key), allow_pickle=False) as held:
                ends, told = held["ends"], json.loads(str(held["told"]))
                tokens, logprobs = np.split(held["tokens"], ends), np.split(held["logprobs"], ends)
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
            return None
        rows = zip(told, tokens, logprobs, strict=False)
        return [Generation("", finish, row, each, failure=failure) for (finish, failure), row, each in rows]

    def put(self, key: str, batch: Sequence[Generation]) -> None:
        """Keep a batch. Raises RunFailure where it cannot be written."""
        data = io.BytesIO()
        np.savez(
            data,
            ends=np.cumsum([len(g.tokens) for g in batch]),
            told=np.array(json.dumps([(g.finish, g.failure) for g in batch])),
            tokens=np.concatenate([g.tokens for g in batch]),
            logprobs=np.concatenate([g.logprobs for g in batch]),
        )
        self.folder.mkdir(parents=True, exist_ok=True)
        files.write_bytes(self._file(key), data.getvalue())

    def forget(self) -> None:
        """Drop every batch."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _file(self, key: str) -> Path:
        return self.folder / f"{key}.npz"


@contextlib.contextmanager
def keeping(folder: Path) -> Iterator[Forget]:
    """Keep batches in the folder while this is open, and take from there those that it has; it goes when the stage ends
    well. Several processes that share the rows keep none."""
    batches = Batches(folder)
    if processes.count() > 1:
        yield batches.forget
        return
    _open.append(batches)
    try:
        yield batches.forget
    finally:
        _open.remove(batches)
    batches.forget()


def found_or(draw: Callable[[], list[Generation]], model: Any, *decides: Any) -> list[Generation]:
    """The batch that is kept, or else what `draw` gives, kept from now on where batches are; `decides` as in `key`."""
    if not _open:
        return draw()
    batches = _open[-1]
    key = batches.key(model, *decides)
    found = batches.get(key)
    if found is None:
        found = draw()
        batches.put(key, found)
    return found
