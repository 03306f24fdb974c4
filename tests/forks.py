"""`python -m alignpro` in a process of its own that need not import torch and most of alignpro first: it is forked from
one that has. Started as `forks.py SOCKET`, by conftest.py, this is that one; it imports them when it is first asked."""

from __future__ import annotations

import importlib
import json
import os
import resource
import runpy
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

AT = "ALIGNPRO_TESTS_FORKS"
"""The environment's name for the socket."""
LIMIT = "ALIGNPRO_TESTS_FILE_SIZE"
"""The environment's name for the largest file, in bytes, that a process may write."""


class Forked:
    """What a test wants of `subprocess.Popen` with its output and errors in one pipe of text."""

    def __init__(self, folder: Path, words: tuple[str, ...], environment: Mapping[str, str]) -> None:
        read, write = os.pipe()
        self._told = socket.socket(socket.AF_UNIX)
        self._told.connect(os.environ[AT])
        asked = json.dumps({"folder": str(folder), "words": words, "environment": dict(environment)}).encode()
        socket.send_fds(self._told, [len(asked).to_bytes(4, "big")], [write])
        self._told.sendall(asked)
        os.close(write)
        self.stdout = os.fdopen(read, "rb", buffering=0)
        self._replies = self._told.makefile("r")
        self.pid = int(self._replies.readline())
        self.returncode: int | None = None

    def poll(self) -> int | None:
        if self.returncode is None and select.select([self._told], [], [], 0)[0]:
            self.returncode = os.waitstatus_to_exitcode(int(self._replies.readline()))
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        if self.returncode is None and not select.select([self._told], [], [], timeout)[0]:
            raise subprocess.TimeoutExpired("alignpro", timeout or 0)
        code = self.poll()
        assert code is not None
        return code

    def communicate(self, timeout: float = 600) -> tuple[str, None]:
        end, output = time.monotonic() + timeout, b""
        while select.select([self.stdout], [], [], max(0.0, end - time.monotonic()))[0]:
            some = self.stdout.read(65536)
            output += some
            if not some:
                self.stdout.close()
                self.wait(max(0.0, end - time.monotonic()))
                return output.decode(), None
        raise subprocess.TimeoutExpired("alignpro", timeout, output)

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def serve(at: str) -> None:
    """Answer until the socket's folder is gone or the one that started this ends; returns in forked processes alone."""
    door = socket.socket(socket.AF_UNIX)
    door.bind(at)
    door.listen()
    parent = os.getppid()
    door.settimeout(1)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    while os.getppid() == parent:
        with suppress(TimeoutError):
            asking, _ = door.accept()
            _prepare()
            if os.fork() == 0:
                door.close()
                asking.settimeout(None)
                return _begin(asking)
            asking.close()
    sys.exit()


def _prepare() -> None:
    """Import what takes long; tiny imports torch and transformers."""
    for name in ("tiny", "alignpro.cli.app", "alignpro.running.job", "alignpro.report", "rich.table"):
        importlib.import_module(name)


def _begin(asking: socket.socket) -> None:
    """Fork once more: the outer process waits for the inner and tells of its end, the inner returns."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    size, (out, *_), *_ = socket.recv_fds(asking, 4, 1)
    with asking.makefile("rb") as file:
        asked = json.loads(file.read(int.from_bytes(size, "big")))
    pid = os.fork()
    if pid:
        os.close(out)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        asking.sendall(f"{pid}\n".encode())
        _, status = os.waitpid(pid, 0)
        with suppress(OSError):
            asking.sendall(f"{status}\n".encode())
        os._exit(0)
    asking.close()
    for number in (1, 2):
        os.dup2(out, number)
    os.close(out)
    sys.stdout = os.fdopen(1, "w", closefd=False)  # as a Python that begins has them
    sys.stderr = os.fdopen(2, "w", buffering=1, errors="backslashreplace", closefd=False)
    os.chdir(asked["folder"])
    os.environ.clear()
    os.environ.update(asked["environment"])
    if LIMIT in os.environ:
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(os.environ[LIMIT]),) * 2)
    sys.argv = ["alignpro", *asked["words"]]
    sys.path[0] = asked["folder"]  # as `python -m` has it


if __name__ == "__main__":
    serve(sys.argv[1])
    runpy.run_module("alignpro", run_name="__main__", alter_sys=True)
