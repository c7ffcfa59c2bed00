"""Memory and CPU time of a process, against what it says of itself."""

from __future__ import annotations

import mmap
import os
import resource
import time

import pytest

from loadtest.process import cpu_s, memory_of


def test_memory_is_the_kernels_own_figure():
    memory = memory_of(os.getpid())
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6
    assert memory.peak == pytest.approx(peak_mb, rel=0.05)
    assert 0 < memory.own < memory.resident <= memory.peak * 1.05


def test_memory_grows_by_what_is_written():
    before = memory_of(os.getpid())
    # New pages: an array might get what others have given back.
    private = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
    with mmap.mmap(-1, 50_000_000, flags=private) as block:
        for place in range(0, len(block), mmap.PAGESIZE):
            block[place] = 1
        assert memory_of(os.getpid()).own - before.own == pytest.approx(50, abs=5)


def test_cpu_time_is_the_processs_own():
    before, own = cpu_s(os.getpid()), time.process_time()
    while time.process_time() < own + 0.1:
        pass
    assert cpu_s(os.getpid()) - before == pytest.approx(0.1, abs=0.05)
