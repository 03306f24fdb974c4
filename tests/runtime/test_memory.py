"""Memory of tensors that are gone is kept for the next ones."""

import subprocess
import sys

import pytest

LEFT = """
import psutil, sys, torch
from alignpro.runtime import memory
if sys.argv[1] == "kept" and not memory.keep():
    raise SystemExit(7)
own = psutil.Process().memory_info
begun = own().rss
held = [torch.ones(24 << 18) for _ in range(8)]  # 24 MiB each
del held
print((own().rss - begun) >> 20)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="mallopt is glibc's")
def test_memory_of_tensors_that_are_gone_is_kept():
    def left(which):
        told = subprocess.run([sys.executable, "-c", LEFT, which], capture_output=True, text=True, check=False)
        if told.returncode == 7:
            pytest.skip("this C library has no mallopt")
        assert told.returncode == 0, told.stderr
        return int(told.stdout)

    assert left("kept") > 180
    assert left("given back") < 80
