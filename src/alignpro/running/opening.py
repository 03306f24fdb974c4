"""The one way into a job's folder: everything is checked and loaded before the folder is claimed, or gone on in."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Generic, Protocol, TypeVar

from alignpro.config import Settings
from alignpro.errors import UsageError
from alignpro.running import inputs
from alignpro.running.machine import environment, threads_of
from alignpro.running.pieces import Pieces
from alignpro.runtime import files, functions, ownership, processes, run_folder, threads
from alignpro.runtime.interrupt import StopRequest
from alignpro.runtime.lock import Lock
from alignpro.runtime.progress import Progress
from alignpro.runtime.run_folder import RunFolder
from alignpro.train import records


class _Taken(Protocol):
    """What a job works on, with the settings as they were taken, what they left open filled in."""

    @property
    def settings(self) -> Settings: ...


Loaded = TypeVar("Loaded", bound=_Taken)
Load = Callable[[Settings, Callable[[str], None], Path | None], Loaded]
"""What a job works on, from its settings, how to speak, and the folder of a job that goes on."""


_turn = threading.RLock()
"""Jobs of one process take turns: torch's threads and default precision, random generators, what transformers makes
models by and the modules of the user's functions are the process's."""


@dataclass(frozen=True)
class OpenRun(Generic[Loaded]):
    """A job in its folder, what it works on, and how to speak and stop.

    While entered, Ctrl-C asks it to stop; when left, the connections of its models behind URLs end, another process may
    work in the folder, and a job of another thread may begin.
    """

    folder: RunFolder
    pieces: Loaded
    progress: Progress
    stop: StopRequest
    threads: int
    lock: Lock

    def __repr__(self) -> str:
        return f"OpenRun({str(self.folder.path)!r})"

    @property
    def settings(self) -> Settings:
        """As they were taken, what they left open filled in."""
        return self.pieces.settings

    def __enter__(self) -> OpenRun[Loaded]:
        self.stop.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            _close(self.pieces)
        finally:
            self.lock.release()
            self.stop.__exit__(kind, error, trace)
            _turn.release()


Run = OpenRun[Pieces]
"""What every stage works on."""


def open_run(
    settings: Settings | None,
    out: Path,
    load: Load[Loaded],
    *,
    stopping: str,
    resume: bool = False,
    changed: bool = False,
) -> OpenRun[Loaded]:
    """Check and load everything, then claim `out` for a new job, or reopen it where the job goes on.

    On resuming, `settings` may be None, and must else be those in the folder, unless they are `changed` for this job
    alone, and damaged rows that a checkpoint keeps are mended. `stopping` says what follows on Ctrl-C. A job of another
    thread is waited for. Raises UsageError, NotTrusted, SettingsError, InputsChanged, RunFolderTaken, FolderInUse where
    another is at work there, and what `load` raises; a new folder is untouched then.
    """
    processes.begin()
    progress, folder = Progress(), RunFolder(out)
    if not _turn.acquire(blocking=False):
        progress.say(f"{out}: another job of this process is under way; this one begins when that has ended")
        _turn.acquire()
    pieces: object = None
    lock = Lock(out, progress.say)
    try:
        if resume:
            if not changed:
                ownership.check(out, given=settings)
            folder.settings()  # which raises where there is no run to lock
            lock.take()
            _mend(folder, progress.say)
        else:
            processes.by_first(lambda: run_folder.check_free(out))
            functions.search_also("")
        if resume and not changed:
            folder, settings = run_folder.reopen(out, settings)
        assert settings is not None
        if resume:
            inputs.check(folder, settings, progress.say)
        count = threads.use(threads_of(settings, folder, resume))
        pieces = taken = load(settings, progress.say, out if resume else None)
        if not resume:
            folder = run_folder.claim(out, taken.settings, lock)
            if isinstance(taken, Pieces):
                taken.endpoints.keep(folder.path)
        if not (folder.path / "environment.json").is_file():  # not there where a folder was made ready for a run
            told = environment(settings, taken, count) | {"inputs": inputs.fingerprints(taken.settings, progress.say)}
            files.write_json(folder.path / "environment.json", told)
    except BaseException:
        _close(pieces)
        lock.release()
        _turn.release()
        raise
    return OpenRun(folder, taken, progress, StopRequest(stopping), count, lock)


def _mend(folder: RunFolder, say: Callable[[str], None]) -> None:
    """What checkpoints keep of damaged rows, the prompter's and the oracle's."""
    for path in (folder.path, folder.rlhf):
        records.restore(path, say)


def override(folder: RunFolder, overrides: Sequence[str], sections: tuple[str, ...], what: str) -> Settings:
    """A run's settings with some changed. Raises UsageError for one of another section, or where there is no run.

    Raises NotTrusted too.
    """
    folder.settings()
    ownership.check(folder.path, overrides)
    foreign = [
        o for o in overrides if not (o.startswith((*sections, "threads=", "device=")) or run_folder.MAY_CHANGE.match(o))
    ]
    if foreign:
        may = ", ".join(f"{section}*" if section.endswith(".") else section.rstrip("=") for section in sections)
        raise UsageError(f"{foreign[0]!r}: of a run that is there, `{what}` can change {may} settings alone")
    return folder.settings(overrides)


def _close(pieces: object) -> None:
    if isinstance(pieces, Pieces):
        pieces.endpoints.close()
