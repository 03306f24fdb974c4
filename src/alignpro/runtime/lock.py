"""A lock on what one process works in, which it holds for as long as it lives and no longer, however it ends."""

from __future__ import annotations

import contextlib
import datetime
import errno
import os
import platform
import sys
from collections.abc import Callable
from io import FileIO
from pathlib import Path
from types import TracebackType

from alignpro.errors import FolderInUse, UsageError
from alignpro.runtime import processes

NAME = ".lock"
"""The file in a folder that is locked; it tells who holds it, and goes when the work ends."""
_HELD_BY_ANOTHER = {errno.EACCES, errno.EAGAIN, errno.EWOULDBLOCK, errno.EDEADLK}
_held: set[FileIO] = set()


class Lock:
    """The lock of a folder, or of a file beside which it lies, taken by the first of several processes.

    It is the system's lock on an open file (flock; on Windows that of a byte), so that it ends with the process, by
    kill -9 too; processes forked meanwhile do not keep it. Where a file system has no locks, as with some that are
    mounted over a network, `say` is told, and nothing is refused.
    """

    def __init__(self, of: Path, say: Callable[[str], None] = lambda line: None) -> None:
        self._of, self._say = of, say
        self._file: FileIO | None = None
        self._path = Path()

    def take(self) -> None:
        """Raises FolderInUse at once where another process holds it, UsageError where no file can be made there."""
        processes.by_first(self._take)

    def release(self) -> None:
        """Give it back, and leave no file behind."""
        file, self._file = self._file, None
        if file is None:
            return
        _held.discard(file)
        if sys.platform == "win32":
            file.close()
        with contextlib.suppress(OSError):
            self._path.unlink()
        file.close()

    def __enter__(self) -> Lock:
        self.take()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    def _take(self) -> None:
        self._path = self._of / NAME if self._of.is_dir() else self._of.with_name(f".{self._of.name}{NAME}")
        while True:
            file = self._opened()
            self._lock(file)
            if _is_at(file, self._path):
                break
            file.close()  # whoever held it ended, and took it away
        with contextlib.suppress(OSError):  # on a full disk it still locks
            file.truncate(0)
            file.write(f"process {os.getpid()} on {platform.node()}, since {_now()}".encode())
        _held.add(file)
        self._file = file

    def _opened(self) -> FileIO:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            return FileIO(self._path, "a+")
        except OSError as error:
            raise UsageError(f"{self._of}: cannot be written ({error.strerror}); make it writable") from None

    def _lock(self, file: FileIO) -> None:
        try:
            _lock_file(file)
        except OSError as error:
            if error.errno in _HELD_BY_ANOTHER:
                holder = _told(file)
                file.close()
                raise FolderInUse(
                    f"{self._of}: {holder} is at work there; wait until it ends, or end it, and then go on"
                ) from None
            self._say(
                f"note: {self._of}: its file system has no locks ({error.strerror}); see that no other process works"
                " there"
            )


def _lock_file(file: FileIO) -> None:
    """Raises OSError where another holds it, or where there are no locks."""
    if sys.platform == "win32":
        import msvcrt

        file.seek(1 << 30)  # beyond what is read of it
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
    else:
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _is_at(file: FileIO, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


def _told(file: FileIO) -> str:
    try:
        file.seek(0)
        return file.read(200).decode(errors="replace").strip() or "another process"
    except OSError:
        return "another process"


def _now() -> str:
    return datetime.datetime.now().astimezone().isoformat(" ", "minutes")


def _let_go() -> None:
    """In a child that was just forked: the lock is its parent's."""
    while _held:
        _held.pop().close()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_let_go)
