"""What a cluster looks like at one moment: plain values for figures and panels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lepton_nb.cluster.choose import Backend


@dataclass(frozen=True, slots=True)
class WorkerSnapshot:
    """One worker. `cpu_percent` is of one core (200 means two cores busy); `executing` counts tasks at work."""

    address: str
    name: str
    threads: int
    memory_limit_bytes: int
    memory_bytes: int
    spilled_bytes: int
    cpu_percent: float
    executing: int
    ready: int


@dataclass(frozen=True, slots=True)
class ClusterSnapshot:
    """All workers in the order of their names, with the backend and why it was chosen."""

    backend: Backend
    reason: str
    secure: bool
    dashboard: str
    workers: tuple[WorkerSnapshot, ...]


def workers_of(info: Mapping[str, Any]) -> tuple[WorkerSnapshot, ...]:
    """The workers in what a Dask scheduler's `identity(n_workers=-1)` returns."""
    workers = [_worker(address, state) for address, state in info["workers"].items()]
    return tuple(sorted(workers, key=lambda worker: (len(worker.name), worker.name)))


def _worker(address: str, state: Mapping[str, Any]) -> WorkerSnapshot:
    metrics = state.get("metrics", {})
    spilled = metrics.get("spilled_bytes", {})
    return WorkerSnapshot(
        address=address,
        name=str(state["name"]),
        threads=int(state["nthreads"]),
        memory_limit_bytes=int(state["memory_limit"]),
        memory_bytes=int(metrics.get("memory", 0)),
        spilled_bytes=int(spilled.get("disk", 0)) if isinstance(spilled, Mapping) else 0,
        cpu_percent=float(metrics.get("cpu", 0.0)),
        executing=int(metrics.get("executing", 0)),
        ready=int(metrics.get("ready", 0)),
    )
