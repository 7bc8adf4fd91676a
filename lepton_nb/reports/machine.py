"""The machine that a run had, and what the run took of it: processor seconds and energy."""

from __future__ import annotations

import os
import platform
import resource
import threading
from pathlib import Path
from typing import Any

import psutil

from lepton_nb.cluster.probe import probe_gpus
from lepton_nb.training.energy import Rapl


def machine() -> dict[str, Any]:
    """{"cpu", "cores", "memory_bytes", "gpus": [{"name", "memory_bytes"}], "driver"}: what this process may use."""
    gpus, _ = probe_gpus()
    return {
        "cpu": _processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_bytes": psutil.virtual_memory().total,
        "gpus": [{"name": gpu.name, "memory_bytes": gpu.memory_bytes} for gpu in gpus],
        "driver": _driver() if gpus else None,
    }


class Meter:
    """What is used from now on: by the processes that this one starts and that have ended, and by the machine.

    Two runs at a time in one process cannot be told apart; neither is then measured.
    """

    _lock = threading.Lock()
    _at_work: set[Meter] = set()  # noqa: RUF012 - shared by all on purpose

    def __init__(self) -> None:
        self._alone = True
        with self._lock:
            self._at_work.add(self)
            if len(self._at_work) > 1:
                for meter in self._at_work:
                    meter._alone = False
        self._seconds = _children_seconds()
        self._energy = Rapl()

    def read(self) -> dict[str, float | None]:
        """{"core_seconds", "energy_j"} since it was made; None for what was not measured. It ends here.

        Energy is the whole machine's, of processors and memory.
        """
        joules = self._energy.read()
        seconds = _children_seconds() - self._seconds
        with self._lock:
            self._at_work.discard(self)
        if not self._alone:
            return {"core_seconds": None, "energy_j": None}
        return {"core_seconds": round(seconds, 3), "energy_j": None if joules is None else round(joules, 3)}


def _children_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _driver() -> str | None:
    import pynvml

    try:
        pynvml.nvmlInit()
        try:
            version = pynvml.nvmlSystemGetDriverVersion()
        finally:
            pynvml.nvmlShutdown()
    except pynvml.NVMLError:
        return None
    return version.decode() if isinstance(version, bytes) else str(version)
