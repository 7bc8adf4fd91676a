"""The machine that a benchmark runs on: what it is, and how fast its memory is."""

from __future__ import annotations

import itertools
import os
import platform
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path

import numpy as np

# 1 GiB an array: all together well beyond any cache.
ELEMENTS = 2**27
# 256 KiB an array: the second step of a triad finds its operands in the core's own cache.
CHUNK = 2**15


def describe(packages: tuple[str, ...]) -> str:
    """Processor, cores, load, versions."""
    found = [f"{name} {version(name)}" for name in packages]
    load = " ".join(f"{x:.2f}" for x in os.getloadavg())
    return (
        f"{platform.machine()} ({_processor()}), {os.cpu_count()} cores, {_memory_gb():.0f} GB, load {load}; "
        f"Python {platform.python_version()}, {', '.join(found)}"
    )


def load() -> str:
    """The load now."""
    return f"load {os.getloadavg()[0]:.2f}"


def bandwidth(rounds: int = 5) -> dict[str, float]:
    """Bytes a second of STREAM's copy (c = a) and triad (a = b + s * c), one thread a core: medians.

    Arrays of 1 GiB of doubles, each thread its share, in chunks (NumPy lets go of the interpreter's lock while it
    works on one). Counted as STREAM counts: 16 bytes an element for copy, 24 for triad; the read that a processor may
    do before it writes is not counted.
    """
    threads = os.cpu_count() or 1
    a, b, c = (np.full(ELEMENTS, value) for value in (1.0, 2.0, 0.5))
    edges = np.linspace(0, ELEMENTS, threads + 1).astype(int)
    shares = [(a[i:j], b[i:j], c[i:j]) for i, j in itertools.pairwise(edges)]

    def copy(share: tuple[np.ndarray, ...]) -> None:
        a, _, c = share
        for at in range(0, len(a), CHUNK):
            np.copyto(c[at : at + CHUNK], a[at : at + CHUNK])

    def triad(share: tuple[np.ndarray, ...]) -> None:
        a, b, c = share
        for at in range(0, len(a), CHUNK):
            out = a[at : at + CHUNK]
            np.multiply(c[at : at + CHUNK], 3.0, out=out)
            np.add(out, b[at : at + CHUNK], out=out)

    with ThreadPoolExecutor(threads) as pool:

        def rate(work: Callable[[tuple[np.ndarray, ...]], None], bytes_each: int) -> float:
            taken = []
            for _ in range(rounds):
                begin = time.perf_counter()
                list(pool.map(work, shares))
                taken.append(time.perf_counter() - begin)
            return bytes_each * ELEMENTS / statistics.median(taken)

        return {"copy": rate(copy, 16), "triad": rate(triad, 24)}


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":")[1].strip()
    return "unknown processor"


def _memory_gb() -> float:
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 1e9
