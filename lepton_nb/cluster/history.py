"""The last snapshots of a cluster, as columns for plots."""

from __future__ import annotations

import collections
import dataclasses
import threading
from collections.abc import Sequence

from lepton_nb.cluster.snapshot import ClusterSnapshot, TaskCounts, WorkerSnapshot, by_name
from lepton_nb.errors import ClusterError

KEPT_SNAPSHOTS = 600

WORKER_COLUMNS = tuple(f.name for f in dataclasses.fields(WorkerSnapshot) if f.name not in ("address", "name"))
TASK_COLUMNS = tuple(field.name for field in dataclasses.fields(TaskCounts))
MACHINE_COLUMNS = ("wanted", "machine_received_bytes_s", "machine_sent_bytes_s")


class ClusterHistory:
    """Keeps the last `kept` snapshots. One thread may add while others read.

    Times count in seconds from the first snapshot that was ever added, also when that one is no longer kept.
    """

    def __init__(self, kept: int = KEPT_SNAPSHOTS) -> None:
        if kept < 1:
            raise ClusterError(f"kept={kept} snapshots cannot be; give 1 or more")
        self._snapshots: collections.deque[ClusterSnapshot] = collections.deque(maxlen=kept)
        self._first_s: float | None = None
        self._lock = threading.Lock()

    def add(self, snapshot: ClusterSnapshot) -> None:
        """Keep `snapshot`, unless it is older than the last one."""
        with self._lock:
            if self._snapshots and snapshot.at_s <= self._snapshots[-1].at_s:
                return
            if self._first_s is None:
                self._first_s = snapshot.at_s
            self._snapshots.append(snapshot)

    @property
    def snapshots(self) -> tuple[ClusterSnapshot, ...]:
        """What is kept, oldest first."""
        with self._lock:
            return tuple(self._snapshots)

    @property
    def last(self) -> ClusterSnapshot | None:
        """The newest snapshot, if there is one."""
        with self._lock:
            return self._snapshots[-1] if self._snapshots else None

    def __len__(self) -> int:
        return len(self._snapshots)

    def columns(self) -> ClusterColumns:
        """What is kept now, as columns; later additions do not change them."""
        return ClusterColumns(self.snapshots, self._first_s or 0.0)


class ClusterColumns:
    """Snapshots as columns, each with one value a snapshot, oldest first."""

    def __init__(self, snapshots: Sequence[ClusterSnapshot], first_s: float) -> None:
        self._snapshots = snapshots
        self._workers = [{worker.name: worker for worker in seen.workers} for seen in snapshots]
        self.seconds = [seen.at_s - first_s for seen in snapshots]

    @property
    def workers(self) -> tuple[str, ...]:
        """The names of all workers in these snapshots, in order."""
        return tuple(sorted({name for there in self._workers for name in there}, key=by_name))

    def worker(self, name: str, column: str) -> list[float | None]:
        """A number of `WorkerSnapshot` for one worker; None where the worker was not there, or has no such number."""
        if column not in WORKER_COLUMNS:
            raise ClusterError.unknown("column", column, WORKER_COLUMNS)
        return [getattr(there.get(name), column, None) for there in self._workers]

    def cluster(self, column: str) -> list[float]:
        """A number of the cluster: a field of `TaskCounts`, `wanted`, or one of the whole machine's."""
        if column in TASK_COLUMNS:
            return [getattr(seen.tasks, column) for seen in self._snapshots]
        if column in MACHINE_COLUMNS:
            return [getattr(seen, column) for seen in self._snapshots]
        raise ClusterError.unknown("column", column, TASK_COLUMNS + MACHINE_COLUMNS)
