"""A run in a process of its own, which several studies do many of at a time."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from alignpro import config
from alignpro import folder as files
from alignpro.config import Settings
from alignpro.errors import Interrupted, RunFailure
from alignpro.folder import RunFolder
from alignpro.interrupt import StopRequest


def run_apart(path: Path, settings: Settings, stop: StopRequest) -> None:
    """Do the run `path`, or go on with it; its recipe and what it prints lie beside it as .yaml and .log.

    When a stop is asked for, the run saves and ends. Raises Interrupted, and RunFailure with the run's last line.
    """
    stop.check()
    recipe, said = path.with_suffix(".yaml"), path.with_suffix(".log")
    files.write_text(recipe, config.dump(settings))
    command = [sys.executable, "-m", "alignpro", "run", "--out", str(path)]
    command += ["--resume"] if RunFolder(path).config.is_file() else [str(recipe)]
    with said.open("a", encoding="utf-8") as log:
        process = subprocess.Popen(
            command, stdout=log, stderr=log, env={**os.environ, "OMP_NUM_THREADS": "1"}, start_new_session=True
        )
        while True:
            try:
                code = process.wait(0.5)
                break
            except subprocess.TimeoutExpired:
                if stop.asked:
                    process.send_signal(signal.SIGINT)
                    process.wait()
                    raise Interrupted("stopped as asked") from None
    if code:
        last = (said.read_text(encoding="utf-8").strip().splitlines() or ["no output"])[-1]
        raise RunFailure(f"{path.name} failed: {last}")
