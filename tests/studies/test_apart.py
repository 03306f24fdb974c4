"""A run in a process of its own: one that outlived its parent is not joined by a second."""

import subprocess
import sys

import pytest

from alignpro import config
from alignpro.errors import RunFailure, UsageError
from alignpro.runtime.interrupt import StopRequest
from alignpro.studies.apart import run_apart


def test_a_run_that_is_still_under_way_is_not_begun_twice_and_one_that_ended_is_no_hindrance(tmp_path):
    path, mark = tmp_path / "run", tmp_path / "run.pid"
    orphan = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()", str(path)], stdin=subprocess.PIPE)
    try:
        mark.write_text(f"{orphan.pid}\n")
        with pytest.raises(UsageError, match=f"kill {orphan.pid}"):
            run_apart(path, config.load("local"), StopRequest(""))
        assert not path.exists()
    finally:
        orphan.communicate()
    with pytest.raises(
        RunFailure, match=r"run failed: alignpro: .*not set"
    ):  # it was tried, and broke for its settings
        run_apart(path, config.load("local"), StopRequest(""))
    assert not mark.exists()
