"""What the processes use that a worker has started, such as the ranks of a training: reported with its heartbeats."""

from __future__ import annotations

import contextlib
import math
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil

METRIC = "lepton_nb_children"
# A look is taken so seldom, and so much more seldom the longer it takes: it costs at most 2 % of one core.
LEAST_S = 1.0
SHARE = 0.02


class Children:
    """A metric for a Dask worker: processor and memory of all living processes below `pid`, by default this one.

    count: how many there are. cpu_percent: of one core, since the look before. memory_bytes: where `shared_once`
    (Linux), memory that several processes have in common counts in each by its share, and so once in all; elsewhere
    it counts in full in each of them. What begins and ends between two looks is not seen.
    """

    def __init__(self, pid: int | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._pid = os.getpid() if pid is None else pid
        self._clock = clock
        self._due_s = -math.inf
        # When the look before was, and the seconds of processor that each process had used by then.
        self._before: tuple[float, dict[psutil.Process, float]] | None = None
        self._seen: dict[str, float] = {}

    def __call__(self, worker: Any = None) -> dict[str, float]:
        """Called by the worker when it reports to the scheduler."""
        began_s = self._clock()
        if began_s >= self._due_s:
            self._seen = self._look(began_s)
            took_s = self._clock() - began_s
            self._due_s = began_s + max(LEAST_S, took_s / SHARE)
        return self._seen

    def _look(self, now_s: float) -> dict[str, float]:
        used_s: dict[psutil.Process, float] = {}
        memory_bytes, shared_once = 0, True
        for pid in below(self._pid):
            # It may end at any moment, or belong to somebody else.
            with contextlib.suppress(psutil.Error):
                process = psutil.Process(pid)
                times = process.cpu_times()
                held, fair = memory_of(process)
                used_s[process] = times.user + times.system
                memory_bytes += held
                shared_once = shared_once and fair
        before, self._before = self._before, (now_s, used_s)
        percent = 0.0
        if before is not None and now_s > before[0]:
            grown_s = sum(max(0.0, used - before[1].get(process, 0.0)) for process, used in used_s.items())
            percent = 100 * grown_s / (now_s - before[0])
        return {
            "count": len(used_s),
            "cpu_percent": percent,
            "memory_bytes": memory_bytes,
            "shared_once": shared_once,
        }


def below(pid: int) -> list[int]:
    """Ids of the processes that `pid` has started, and of those that they have; none where it has ended."""
    if _LISTED:
        return list(_below(pid))
    try:
        return [child.pid for child in psutil.Process(pid).children(recursive=True)]
    except psutil.Error:
        return []


def memory_of(process: psutil.Process) -> tuple[int, bool]:
    """Bytes in memory, and whether memory shared with others counts by this process's share alone.

    Raises psutil.Error where the process has ended.
    """
    try:
        # Its proportional set size, see proc_pid_smaps(5).
        for line in Path(f"/proc/{process.pid}/smaps_rollup").read_bytes().splitlines():
            if line.startswith(b"Pss:"):
                return int(line.split()[1]) * 1024, True
    except OSError:
        pass  # it has ended, which is told below, or keeps this to itself, or there is no such file
    return int(process.memory_info().rss), False


def _below(pid: int) -> Iterator[int]:
    # Of each thread the processes that it started, see proc_tid_children(5): psutil would look at all of the machine.
    with contextlib.suppress(OSError):
        for thread in os.listdir(f"/proc/{pid}/task"):
            with contextlib.suppress(OSError):
                for child in Path(f"/proc/{pid}/task/{thread}/children").read_text().split():
                    yield int(child)
                    yield from _below(int(child))


_LISTED = Path(f"/proc/self/task/{os.getpid()}/children").exists()
