"""Answers that were paid for, on disk: SQLite, in WAL mode where the drive takes it, committed as they come, so that a
killed run keeps them."""

from __future__ import annotations

import hashlib
import json
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

from alignpro.errors import CacheUnusable
from alignpro.remote.accounting import Usage
from alignpro.remote.answers import Answer

APPLICATION, VERSION = 0x416C5072, 1
CHUNK = 500
T = TypeVar("T")
_as_json = json.JSONEncoder(sort_keys=True, separators=(",", ":")).encode


def key(identity: str, model: str, request: Mapping[str, object], index: int) -> bytes:
    """Digest of everything that decides one sample: which endpoint, which model, the whole request, which sample."""
    return keys(identity, model, request, [index])[0]


def keys(identity: str, model: str, request: Mapping[str, object], indices: Iterable[int]) -> list[bytes]:
    """The `key` of each of a request's samples."""
    begun = _as_json([identity, model, request]).removesuffix("]")
    return [hashlib.blake2b(f"{begun},{index}]".encode(), digest_size=20).digest() for index in indices]


class AnswerCache:
    """Samples by `key`; safe under threads, and several processes may share the file.

    The first answer stored under a key stays. Raises CacheUnusable for a file that is locked longer than `wait_s`
    seconds, damaged, or something else than a cache.
    """

    def __init__(self, path: Path, wait_s: float = 30.0) -> None:
        self.path = path
        self._wait_s = wait_s
        self._lock = threading.Lock()
        self._new: dict[bytes, Answer] = {}
        self._connection = self._do(self._open)

    def get(self, keys: Sequence[bytes]) -> dict[bytes, Answer]:
        """Those of the keys that are stored."""

        def find() -> dict[bytes, Answer]:
            stored = {digest: self._new[digest] for digest in keys if digest in self._new}
            for start in range(0, len(keys), CHUNK):
                chunk = keys[start : start + CHUNK]
                marks = ",".join("?" * len(chunk))
                rows = self._connection.execute(
                    f"SELECT key, text, finish, failure, input, output FROM answers WHERE key IN ({marks})", chunk
                )
                for digest, text, finish, failure, read, written in rows:
                    stored.setdefault(digest, Answer(text, finish, failure, Usage(read, written)))
            return stored

        return self._do(find)

    def put(self, answers: Mapping[bytes, Answer]) -> None:
        """Store and commit."""
        self.add(answers)
        self.commit()

    def add(self, answers: Mapping[bytes, Answer]) -> None:
        """Give these back from now on, and store them with the next `commit`."""
        with self._lock:
            for digest, answer in answers.items():
                self._new.setdefault(digest, answer)

    def commit(self) -> None:
        """Store what was added."""

        def store() -> None:
            rows = [(key, a.text, a.finish, a.failure, a.usage.input, a.usage.output) for key, a in self._new.items()]
            with self._connection:
                self._connection.executemany("INSERT OR IGNORE INTO answers VALUES (?, ?, ?, ?, ?, ?)", rows)
            self._new = {}

        self._do(store)

    def usage(self) -> Usage:
        """Tokens of everything stored."""
        read, written = self._do(
            lambda: self._connection.execute("SELECT sum(input), sum(output) FROM answers").fetchone()
        )
        return Usage(read or 0, written or 0)

    def __len__(self) -> int:
        return int(self._do(lambda: self._connection.execute("SELECT count(*) FROM answers").fetchone())[0])

    def close(self) -> None:
        """Give the file back."""
        with self._lock:
            self._connection.close()

    def __enter__(self) -> AnswerCache:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _open(self) -> sqlite3.Connection:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        try:
            return self._opened(wal=True)
        except sqlite3.OperationalError as error:
            if "locked" in str(error):
                raise
            try:
                return self._opened(wal=False)  # the drive may be one of a network, which shares no memory
            except sqlite3.OperationalError:
                raise error from None

    def _opened(self, wal: bool) -> sqlite3.Connection:
        connection = sqlite3.connect(self.path, timeout=self._wait_s, check_same_thread=False)
        try:
            self._prepare(connection, wal)
        except BaseException:
            connection.close()
            raise
        return connection

    def _prepare(self, connection: sqlite3.Connection, wal: bool) -> None:
        def ask(pragma: str) -> Any:
            return connection.execute(f"PRAGMA {pragma}").fetchone()[0]

        if not wal:  # alone for a moment: a file that is in WAL mode is read without shared memory, and put out of it
            ask("locking_mode=EXCLUSIVE")
            ask("journal_mode=DELETE")
            ask("locking_mode=NORMAL")
        if ask("schema_version") and (ask("application_id"), ask("user_version")) != (APPLICATION, VERSION):
            raise CacheUnusable(
                f"{self.path} is a database, but not one of answers that this version can read; name another file"
            )
        until = time.monotonic() + self._wait_s
        while wal:  # SQLite does not wait by itself for a change of the journal
            try:
                wal = ask("journal_mode=WAL") == "wal"
                break
            except sqlite3.OperationalError as error:
                if "locked" not in str(error) or time.monotonic() > until:
                    raise
                time.sleep(0.05)
        connection.execute(f"PRAGMA synchronous={'NORMAL' if wal else 'FULL'}")
        with connection:
            connection.execute("BEGIN IMMEDIATE")
            connection.execute(f"PRAGMA application_id={APPLICATION}")
            connection.execute(f"PRAGMA user_version={VERSION}")
            connection.execute(
                "CREATE TABLE IF NOT EXISTS answers (key BLOB PRIMARY KEY, text TEXT NOT NULL, finish TEXT NOT NULL,"
                " failure TEXT, input INTEGER NOT NULL, output INTEGER NOT NULL) WITHOUT ROWID"
            )

    def _do(self, work: Callable[[], T]) -> T:
        with self._lock:
            try:
                return work()
            except sqlite3.Error as error:
                if "locked" in str(error):
                    raise CacheUnusable(
                        f"{self.path} has been locked by another process for {self._wait_s:g} s; end that one, or name"
                        " another file, on a drive of this machine, by --frozen.cache"
                    ) from error
                raise CacheUnusable(
                    f"{self.path} cannot be used as a cache of answers ({error}); move it away, and a new one is begun;"
                    " on a drive of a network, name a file on one of this machine by --frozen.cache"
                ) from error
            except OSError as error:
                raise CacheUnusable(
                    f"{self.path} cannot be opened ({error}); name a file that can be written"
                ) from error
