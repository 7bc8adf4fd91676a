"""What a cluster looks like at one moment: plain values for figures and panels."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lepton_nb.cluster.children import METRIC as CHILDREN
from lepton_nb.cluster.choose import Backend
from lepton_nb.cluster.traffic import METRIC


@dataclass(frozen=True, slots=True)
class WorkerSnapshot:
    """One worker, as it told the scheduler last: some half a second ago, more in a large cluster.

    cpu_percent: of one core (200 means two cores busy). It and memory_bytes are those of the worker's process and of
        all processes that it started, such as the ranks of a training.
    children, children_cpu_percent, children_memory_bytes: of the processes that it started alone, and how many there
        are; looked at once a second or less often.
    memory_limit_bytes: holds for own_memory_bytes, the worker's process without the others.
    children_shared_once: memory that several of the started processes share counts once (Linux), not in each of them.
    executing, ready, in_memory: tasks at work, tasks here that wait for a thread, and results kept here, on disk too.
    received_bytes_s, sent_bytes_s: task results fetched from other workers, and sent to them and to clients. What
        tasks send by themselves, such as the gradients of a training, is in the traffic of the machine alone.
    gpu_percent, gpu_memory_bytes, gpu_memory_limit_bytes: of this worker's GPU, all programs on it counted; None
        where the worker has no GPU, or the GPU tells nothing that can be.
    """

    address: str
    name: str
    threads: int
    memory_limit_bytes: int
    memory_bytes: int
    spilled_bytes: int
    cpu_percent: float
    executing: int
    ready: int
    in_memory: int = 0
    received_bytes_s: float = 0.0
    sent_bytes_s: float = 0.0
    gpu_percent: float | None = None
    gpu_memory_bytes: int | None = None
    gpu_memory_limit_bytes: int | None = None
    children: int = 0
    children_cpu_percent: float = 0.0
    children_memory_bytes: int = 0
    children_shared_once: bool = True

    @property
    def own_memory_bytes(self) -> int:
        """The memory of the worker's process alone."""
        return self.memory_bytes - self.children_memory_bytes

    @property
    def gpu_tells(self) -> bool:
        """True where something is known of the worker's GPU."""
        known = (self.gpu_percent, self.gpu_memory_bytes, self.gpu_memory_limit_bytes)
        return any(value is not None for value in known)


@dataclass(frozen=True, slots=True)
class TaskCounts:
    """All tasks that the scheduler knows of.

    waiting: for a worker, or for other tasks; processing: given to a worker; in_memory: whose result is kept.
    finished, failed: ends so far, since the cluster began; a task that is computed again counts again.
    """

    waiting: int = 0
    processing: int = 0
    in_memory: int = 0
    finished: int = 0
    failed: int = 0


@dataclass(frozen=True, slots=True)
class WorkerLoss:
    """A worker's process ended without being asked to, at `at_s` (seconds since the epoch), and was started anew."""

    at_s: float
    worker: str
    reason: str


@dataclass(frozen=True, slots=True)
class ClusterSnapshot:
    """All workers in the order of their names, with the backend and why it was chosen.

    at_s: seconds since the epoch.
    wanted: how many workers there should be; fewer are there while some start, or start again.
    losses: every worker's process that died, oldest first.
    machine_received_bytes_s, machine_sent_bytes_s: through all network interfaces of the workers' machine, loopback
        and all programs counted.
    """

    backend: Backend
    reason: str
    secure: bool
    dashboard: str
    workers: tuple[WorkerSnapshot, ...]
    at_s: float = 0.0
    wanted: int = 0
    tasks: TaskCounts = TaskCounts()
    losses: tuple[WorkerLoss, ...] = ()
    machine_received_bytes_s: float = 0.0
    machine_sent_bytes_s: float = 0.0


def look(dask_scheduler: Any) -> dict[str, Any]:
    """What a snapshot needs of a Dask scheduler; runs beside it, so that one question is enough."""
    counts: dict[str, int] = {}
    ended: dict[str, int] = {}
    for prefix in dask_scheduler.task_prefixes.values():
        for state, count in prefix.states.items():
            counts[state] = counts.get(state, 0) + count
        for state, count in prefix.state_counts.items():
            ended[state] = ended.get(state, 0) + count
    recent = dask_scheduler.monitor.recent()
    return {
        "identity": dask_scheduler.identity(n_workers=-1),
        "tasks": {
            "waiting": counts.get("waiting", 0) + counts.get("queued", 0) + counts.get("no-worker", 0),
            "processing": counts.get("processing", 0),
            "in_memory": counts.get("memory", 0),
            "finished": ended.get("memory", 0),
            "failed": ended.get("erred", 0),
        },
        "received_bytes_s": float(recent.get("host_net_io.read_bps", 0.0)),
        "sent_bytes_s": float(recent.get("host_net_io.write_bps", 0.0)),
    }


def workers_of(info: Mapping[str, Any], backend: Backend = "cpu") -> tuple[WorkerSnapshot, ...]:
    """The workers in what a Dask scheduler's `identity(n_workers=-1)` returns."""
    workers = [_worker(address, state, backend) for address, state in info["workers"].items()]
    return tuple(sorted(workers, key=lambda worker: by_name(worker.name)))


def by_name(name: str) -> tuple[int, str]:
    """Sorts names of workers: 2 comes before 10."""
    return len(name), name


def _worker(address: str, state: Mapping[str, Any], backend: Backend) -> WorkerSnapshot:
    # All empty until the worker's first report.
    metrics = state.get("metrics", {})
    names = ("spilled_bytes", "task_counts", METRIC, CHILDREN)
    spilled, tasks, traffic, children = (metrics.get(name) or {} for name in names)
    started_percent, started_bytes = float(children.get("cpu_percent", 0.0)), int(children.get("memory_bytes", 0))
    # Dask tells of the first GPU of the machine where a worker has none of its own.
    gpu = metrics if backend == "cuda" else {}
    limit = _within(gpu.get("gpu-memory-total"), 1, math.inf)
    most = math.inf if limit is None else limit
    return WorkerSnapshot(
        address=address,
        name=str(state.get("name", state.get("id"))),
        threads=int(state["nthreads"]),
        memory_limit_bytes=int(state["memory_limit"]),
        memory_bytes=int(metrics.get("memory", 0)) + started_bytes,
        spilled_bytes=int(spilled.get("disk", 0)),
        cpu_percent=float(metrics.get("cpu", 0.0)) + started_percent,
        executing=int(tasks.get("executing", 0)) + int(tasks.get("long-running", 0)),
        ready=int(tasks.get("ready", 0)) + int(tasks.get("constrained", 0)),
        in_memory=int(tasks.get("memory", 0)),
        received_bytes_s=float(traffic.get("received_bytes_s", 0.0)),
        sent_bytes_s=float(traffic.get("sent_bytes_s", 0.0)),
        gpu_percent=_within(gpu.get("gpu_utilization"), 0, 100),
        gpu_memory_bytes=None if (used := _within(gpu.get("gpu_memory_used"), 0, most)) is None else int(used),
        gpu_memory_limit_bytes=None if limit is None else int(limit),
        children=int(children.get("count", 0)),
        children_cpu_percent=started_percent,
        children_memory_bytes=started_bytes,
        children_shared_once=bool(children.get("shared_once", True)),
    )


def _within(value: Any, least: float, most: float) -> float | None:
    """None for what is no number, or cannot be: a driver may not know, and says so in more than one way."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if least <= value <= most and math.isfinite(value) else None
