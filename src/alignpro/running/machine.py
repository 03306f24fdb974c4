"""What a job ran on and with: versions, hardware, commit, command, threads."""

from __future__ import annotations

import datetime
import platform
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch
import transformers

from alignpro.config import Settings
from alignpro.errors import UsageError
from alignpro.models.local import LocalFrozenModel, LocalPrompter
from alignpro.running.pieces import Pieces
from alignpro.runtime import files, processes, threads
from alignpro.runtime.run_folder import RunFolder


def environment(settings: Settings, pieces: object, thread_count: int) -> dict[str, Any]:
    """What a job ran on and with, and of the flow's own pieces where and by which weights."""
    told = _machine(settings, thread_count)
    if isinstance(pieces, Pieces) and "frozen" in pieces:
        told["frozen_weights"] = pieces.frozen_weights
        flow = (pieces.frozen, *pieces.prompters)
        if here := [one.lm for one in flow if isinstance(one, LocalFrozenModel | LocalPrompter)]:
            told["device"] = str(here[-1].model.device)
    return told


def _machine(settings: Settings, thread_count: int) -> dict[str, Any]:
    """Versions, hardware, commit, command and time of a job."""
    from alignpro import __version__

    return {
        "alignpro": __version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "platform": platform.platform(),
        "processor": platform.processor() or platform.machine(),
        "cpu_count": threads.usable_cores(),
        "threads": thread_count,
        "processes": processes.count(),
        "accelerator": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "seed": settings.seed,
        "commit": _commit(),
        "working_folder": str(Path.cwd()),
        "command": shlex.join(["alignpro", *sys.argv[1:]])
        if Path(sys.argv[0]).stem in {"alignpro", "__main__"}
        else None,
        "started": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
    }


def threads_of(settings: Settings, folder: RunFolder, resume: bool) -> int | None:
    """Those of the settings; a resumed run keeps those it began with, since sums depend on them in the last digit."""
    if settings.threads is None and resume:
        path = folder.path / "environment.json"
        held = files.read_json(path)
        if held is None and path.is_file():
            raise UsageError(
                f"{path} is damaged, and tells no longer by how many threads the run was begun; put it back, or delete"
                " it and give --threads=N"
            )
        began_with = (held or {}).get("threads")
        return int(began_with) if began_with else None
    return settings.threads


def _commit() -> str | None:
    try:
        answer = subprocess.run(
            ["git", "-C", str(Path(__file__).parent), "rev-parse", "HEAD"],
            capture_output=True,
            text=True,
            timeout=5,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout.strip()
