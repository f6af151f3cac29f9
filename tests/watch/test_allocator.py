"""What is freed goes back to the system."""

from __future__ import annotations

import ctypes
import sys
from pathlib import Path

import numpy as np
import pytest

from sociogram.watch.allocator import MANY, give_back


def resident() -> int:
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS"))


@pytest.mark.skipif(sys.platform != "linux" or not hasattr(ctypes.CDLL(None), "malloc_trim"), reason="glibc alone is asked")
def test_freed_memory_goes_back_after_long_passes() -> None:
    np.ones(4_000_000)  # freed, so that the library keeps blocks up to this size in its heap from now on
    blocks = [np.ones(125_000) for _ in range(200)]  # 1 MB each
    last = np.ones(125_000)  # on top of the heap, which is then not cut down by itself
    blocks.clear()
    full = resident()
    give_back(MANY - 1)
    assert resident() > full - 20_000_000
    give_back(MANY)
    assert resident() < full - 100_000_000
    assert last.sum() == 125_000
