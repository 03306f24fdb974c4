"""A run in a process of its own, which several studies do many of at a time."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil

from alignpro import config
from alignpro.config import Settings
from alignpro.errors import Interrupted, RunFailure, UsageError
from alignpro.runtime import files
from alignpro.runtime.consent import given
from alignpro.runtime.interrupt import StopRequest
from alignpro.runtime.run_folder import RunFolder


def run_apart(path: Path, settings: Settings, stop: StopRequest) -> None:
    """Do the run `path`, or go on with it; its recipe and what it prints lie beside it as .yaml and .log.

    When a stop is asked for, the run saves and ends. Raises Interrupted, RunFailure with the run's last line, and
    UsageError where a process that outlived its parent is still at it.
    """
    stop.check()
    recipe, said, mark = (path.with_suffix(ending) for ending in (".yaml", ".log", ".pid"))
    if process_id := _at_it(mark, path):
        raise UsageError(f"{path} is being run by process {process_id}; wait for it, or stop it by `kill {process_id}`")
    files.write_text(recipe, config.dump(settings))
    command = [sys.executable, "-m", "alignpro", "run", "--out", str(path)]
    command += ["--resume", *given().options()] if RunFolder(path).config.is_file() else [str(recipe), "--trust"]
    with said.open("a", encoding="utf-8") as log:
        process = subprocess.Popen(
            command, stdout=log, stderr=log, env={**os.environ, "OMP_NUM_THREADS": "1"}, start_new_session=True
        )
        files.write_text(mark, f"{process.pid}\n")
        try:
            code = _waited_for(process, stop)
        finally:
            mark.unlink(missing_ok=True)
    if code:
        last = (said.read_text(encoding="utf-8").strip().splitlines() or ["no output"])[-1]
        raise RunFailure(f"{path.name} failed: {last}")


def _waited_for(process: subprocess.Popen[bytes], stop: StopRequest) -> int:
    while True:
        try:
            return process.wait(0.5)
        except subprocess.TimeoutExpired:
            if stop.asked:
                process.send_signal(signal.SIGINT)
                process.wait()
                raise Interrupted("stopped as asked") from None


def _at_it(mark: Path, path: Path) -> int | None:
    """The process named in `mark`, if it is there and its command names the run."""
    try:
        process = psutil.Process(int(mark.read_text(encoding="utf-8")))
        return process.pid if str(path) in process.cmdline() else None
    except (OSError, ValueError, psutil.Error):
        return None
