"""How many torch threads to use: those whose cores are free, since a thread on a busy core slows all the others."""

from __future__ import annotations

import os
from pathlib import Path

import psutil
import torch

from alignpro.runtime import memory, processes


def use(threads: int | None) -> int:
    """Set torch's threads, to this process's part of the cores free now where none are asked for; returns their
    number. Memory that is freed is kept from here on."""
    memory.keep()
    count = threads or processes.by_first(lambda: max(1, free_cores() // processes.on_this_machine()))
    torch.set_num_threads(count)
    return count


def free_cores() -> int:
    """Cores this process may use, less those that others keep busy for a third of a second; at least 1."""
    allowed = usable_cores()
    busy = sum(psutil.cpu_percent(interval=0.3, percpu=True)) / 100
    idle = (psutil.cpu_count() or allowed) - busy
    return max(1, min(allowed, round(idle)))


def usable_cores() -> int:
    """Physical cores this process may be scheduled on, within its container's quota."""
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    physical: int = psutil.cpu_count(logical=False) or affinity
    return max(1, min(affinity, physical, _quota()))


def _quota() -> int:
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        return max(1, round(int(quota) / int(period))) if quota != "max" else 1 << 16
    except (OSError, ValueError):
        return 1 << 16
