"""Snapshots of a cluster that never was, for figures and histories."""

from __future__ import annotations

from typing import Any

from lepton_nb.cluster.history import ClusterHistory
from lepton_nb.cluster.snapshot import ClusterSnapshot, WorkerSnapshot


def a_worker(name: object, **values: Any) -> WorkerSnapshot:
    """An idle worker; `values` are what it says of itself."""
    idle: dict[str, Any] = {
        "threads": 1,
        "memory_limit_bytes": 2_000_000_000,
        "memory_bytes": 100_000_000,
        "spilled_bytes": 0,
        "cpu_percent": 0.0,
        "executing": 0,
        "ready": 0,
    }
    return WorkerSnapshot(address=f"tls://127.0.0.1:900{name}", name=str(name), **(idle | values))


def a_snapshot(at_s: float, *workers: WorkerSnapshot, **values: Any) -> ClusterSnapshot:
    """A cluster at `at_s`."""
    start: dict[str, Any] = {"backend": "cpu", "reason": "CPU backend: no GPU found", "secure": True, "dashboard": ""}
    return ClusterSnapshot(workers=workers, at_s=at_s, **(start | values))


def a_history(*snapshots: ClusterSnapshot) -> ClusterHistory:
    """A history of `snapshots`."""
    history = ClusterHistory()
    for snapshot in snapshots:
        history.add(snapshot)
    return history
