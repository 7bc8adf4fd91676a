"""What a run costs: time of processors and GPUs, and energy where the machine counts it."""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lepton_nb.training.energy import RAPL_ROOT, GpuState, NvidiaGpu, Rapl

# Counters of energy move every millisecond; those of some virtual machines are there and never do.
STILL_S = 2.0


class Meter:
    """Measures what this process, a rank, costs from now on: make it first, and `read` it now and then.

    It counts the rank itself and the processes that it started, not Dask's worker or the notebook. The rank with
    `local_rank` 0 also reads the energy of its machine (see `Rapl`), so that each machine is counted once: it is that
    of the whole machine, other programs on it included.

    device: "cpu", or the rank's GPU as its framework calls it ("cuda", "cuda:1"). rapl_root: where the machine's
    counters are. clock: seconds that only grow.
    """

    def __init__(
        self,
        *,
        rank: int,
        host: str,
        local_rank: int,
        device: str = "cpu",
        rapl_root: Path = RAPL_ROOT,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._where = {"rank": rank, "host": host, "local_rank": local_rank}
        self._clock = clock
        self._began_s = self._read_s = clock()
        self._cpu_before_s = _cpu_s()
        self._rapl = Rapl(rapl_root) if local_rank == 0 else None
        self._gpu = None if device == "cpu" else NvidiaGpu(device)
        self._rows = 0
        self._rows_per_s: float | None = None
        # Rows and seconds of the steps since the last read.
        self._recent = (0, 0.0)
        self._gpu_s = 0.0
        self._gpu_unknown = ""
        self._gpu_energy_before_j = None if self._gpu is None else self._gpu.read().energy_j

    def note_step(self, rows: int, took_s: float) -> None:
        """Count a training step over so many of this rank's rows, which took `took_s` with reading the rows."""
        self._rows += rows
        self._recent = (self._recent[0] + rows, self._recent[1] + took_s)

    def read(self) -> dict[str, Any]:
        """What it has come to, as plain values that JSON can hold; takes about a millisecond without a GPU.

        rank, host, local_rank; elapsed_s: since the meter was made.
        cpu_s: seconds of one core, in the process and in those that it started, user and system.
        rows: how many this rank has trained on, a row counting once an epoch. rows_per_s: of the steps since the read
        before, or of the last ones there were; None before the first. Waiting for other ranks is part of a step.
        memory_bytes, peak_memory_bytes: of the process, resident, now and at most.
        gpu: the GPU's UUID, None without one. gpu_utilisation: the share of time (0 to 1) in which it was at work, as
        it says just now. gpu_s: the sum over all reads of that share times the seconds since the read before, so it
        is an estimate, the better the more often it is read; None where there is a GPU that does not tell.
        gpu_memory_bytes: in use on it now. gpu_energy_j: since the meter was made. All four are of the whole GPU,
        other programs on it included. gpu_reason: why something of it is None.
        cpu_energy_j: of the whole machine since the meter was made; None where it is not measured (energy_reason
        says why) and for ranks with another local_rank than 0.
        """
        now_s = self._clock()
        elapsed_s, since_s, self._read_s = now_s - self._began_s, now_s - self._read_s, now_s
        memory = _memory_bytes()
        if self._recent[1] > 0:
            self._rows_per_s = self._recent[0] / self._recent[1]
        self._recent = (0, 0.0)
        return {
            **self._where,
            "elapsed_s": elapsed_s,
            "cpu_s": _cpu_s() - self._cpu_before_s,
            "rows": self._rows,
            "rows_per_s": self._rows_per_s,
            "memory_bytes": memory["VmRSS"],
            "peak_memory_bytes": memory["VmHWM"],
            **self._read_gpu(since_s),
            **self._read_energy(elapsed_s),
        }

    def _read_gpu(self, since_s: float) -> dict[str, Any]:
        state = GpuState(None, None, None) if self._gpu is None else self._gpu.read()
        energy_j, reason = None, ""
        if self._gpu is not None:
            if state.utilisation is None:
                self._gpu_unknown = self._gpu.reason or "the GPU does not say how busy it is"
            else:
                self._gpu_s += state.utilisation * since_s
            if state.energy_j is not None and self._gpu_energy_before_j is not None:
                energy_j = state.energy_j - self._gpu_energy_before_j
            reason = self._gpu_unknown or ("the GPU does not count its energy" if energy_j is None else "")
        return {
            "gpu": None if self._gpu is None else self._gpu.uuid,
            "gpu_s": None if self._gpu_unknown else self._gpu_s,
            "gpu_utilisation": state.utilisation,
            "gpu_memory_bytes": state.memory_bytes,
            "gpu_energy_j": energy_j,
            "gpu_reason": reason,
        }

    def _read_energy(self, elapsed_s: float) -> dict[str, Any]:
        if self._rapl is None:
            return {"cpu_energy_j": None, "energy_reason": ""}
        energy_j, reason = self._rapl.read(), self._rapl.reason
        if energy_j == 0 and elapsed_s > STILL_S:
            energy_j, reason = None, "the RAPL counters of this machine stand still"
        return {"cpu_energy_j": energy_j, "energy_reason": reason}


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What the ranks of a run cost together, up to their last reports; costs of several attempts add up.

    core_s: seconds of one core. gpu_s: seconds of a GPU at work; None where a GPU was used and did not tell, and
    gpu_reason says why. energy_j: of the machines' processors and of the GPUs used, the whole of them, other programs
    included; None where nothing was measured. energy_reason: why energy is None, or what it lacks; "" for all.
    ranks: how many at once, at most. elapsed_s: from the first rank's start to the last report, of each attempt.
    """

    core_s: float
    gpu_s: float | None
    gpu_reason: str
    energy_j: float | None
    energy_reason: str
    ranks: int
    elapsed_s: float

    def __add__(self, other: Cost) -> Cost:
        """This attempt and another, one after the other."""
        gpu_s = None if self.gpu_s is None or other.gpu_s is None else self.gpu_s + other.gpu_s
        energies = [each.energy_j for each in (self, other) if each.energy_j is not None]
        return Cost(
            core_s=self.core_s + other.core_s,
            gpu_s=gpu_s,
            gpu_reason=_joined([self.gpu_reason, other.gpu_reason]),
            energy_j=sum(energies) if energies else None,
            energy_reason=_joined([self.energy_reason, other.energy_reason]),
            ranks=max(self.ranks, other.ranks),
            elapsed_s=self.elapsed_s + other.elapsed_s,
        )

    def __str__(self) -> str:
        gpu = (
            f"GPU-seconds not measured ({self.gpu_reason})"
            if self.gpu_s is None
            else f"{_short(self.gpu_s)} GPU-seconds"
        )
        if self.energy_j is None:
            energy = f"energy not measured ({self.energy_reason})"
        else:
            energy = f"energy {_joules(self.energy_j)}"
            energy += f" without what is not measured ({self.energy_reason})" if self.energy_reason else ""
        return f"{_short(self.core_s)} core-seconds, {gpu}, {energy}"


def combine(reports: Iterable[Mapping[str, Any]]) -> Cost:
    """The cost of one attempt from what `Meter.read` gave in its ranks; of each rank the latest report counts.

    A machine's energy, and what is of a GPU, is counted once, though several ranks share it. What a rank that was
    killed used after its last report is not in it.
    """
    latest: dict[int, Mapping[str, Any]] = {}
    for report in reports:
        if report["rank"] not in latest or report["elapsed_s"] >= latest[report["rank"]]["elapsed_s"]:
            latest[report["rank"]] = report
    last = [latest[rank] for rank in sorted(latest)]
    devices = _by_device(last)
    unknown = [report["gpu_reason"] for report in devices if report["gpu_s"] is None]
    energies, missing = _energies(last, devices)
    return Cost(
        core_s=sum(report["cpu_s"] for report in last),
        gpu_s=None if unknown else sum(report["gpu_s"] for report in devices),
        gpu_reason=_joined(unknown),
        energy_j=sum(energies) if energies else None,
        energy_reason=_joined(missing),
        ranks=len(last),
        elapsed_s=max((report["elapsed_s"] for report in last), default=0.0),
    )


def _by_device(reports: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Of the ranks that use a GPU, one for each GPU: that which watched it longest."""
    found: dict[tuple[Any, ...], Mapping[str, Any]] = {}
    for report in reports:
        if report["gpu"] is None and report["gpu_s"] is not None:
            continue
        key = (report["host"], report["gpu"] or report["rank"])
        if key not in found or report["elapsed_s"] > found[key]["elapsed_s"]:
            found[key] = report
    return list(found.values())


def _energies(reports: list[Mapping[str, Any]], devices: list[Mapping[str, Any]]) -> tuple[list[float], list[str]]:
    """Every energy that was measured, and why others were not."""
    energies: list[float] = []
    missing: list[str] = [] if reports else ["no rank has reported"]
    for host in dict.fromkeys(report["host"] for report in reports):
        first = [report for report in reports if report["host"] == host and report["local_rank"] == 0]
        if not first:
            missing.append(f"the rank that reads the counters of {host} has not reported")
        elif first[0]["cpu_energy_j"] is None:
            missing.append(first[0]["energy_reason"])
        else:
            energies.append(first[0]["cpu_energy_j"])
    for report in devices:
        if report["gpu_energy_j"] is None:
            missing.append(report["gpu_reason"])
        else:
            energies.append(report["gpu_energy_j"])
    return energies, missing


def _joined(reasons: Iterable[str]) -> str:
    parts = (part for reason in reasons for part in reason.split("; "))
    return "; ".join(dict.fromkeys(part for part in parts if part))


def _short(number: float) -> str:
    return "0" if number == 0 else f"{number:,.1f}"


def _joules(energy_j: float) -> str:
    for unit, size in (("MJ", 1e6), ("kJ", 1e3)):
        if energy_j >= size:
            return f"{energy_j / size:,.2f} {unit}"
    return f"{energy_j:,.1f} J"


def _cpu_s() -> float:
    """Seconds of this process and of all that it started, those that are over and waited for included."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used) + _living_children_s()


def _living_children_s() -> float:
    # Not psutil: it looks at every process of the machine, which takes 20 ms. Where the kernel has no such lists
    # (CONFIG_PROC_CHILDREN), children count once they are over.
    ticks, pending = 0, [os.getpid()]
    while pending:
        for listed in Path(f"/proc/{pending.pop()}/task").glob("*/children"):
            # A process may end between two looks at it; its parent then counts it.
            with suppress(FileNotFoundError, ProcessLookupError):
                children = [int(word) for word in listed.read_text().split()]
                pending += children
                ticks += sum(_ticks(child) for child in children)
    return ticks / os.sysconf("SC_CLK_TCK")


def _ticks(pid: int) -> int:
    with suppress(FileNotFoundError, ProcessLookupError):
        # The name before the last bracket may hold anything; user, system, and both of its own children follow.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return sum(int(field) for field in fields[11:15])
    return 0


def _memory_bytes() -> dict[str, int]:
    # Not getrusage: its peak goes on from that of the process that started this one.
    found = {}
    for line in Path("/proc/self/status").read_text().splitlines():
        name, _, rest = line.partition(":")
        if name in ("VmRSS", "VmHWM"):
            found[name] = int(rest.split()[0]) * 1024
    return found
