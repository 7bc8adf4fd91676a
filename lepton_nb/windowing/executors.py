"""Where the steps of a stream's batches run: in this process, or on the workers of a cluster."""

from __future__ import annotations

import contextlib
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lepton_nb.errors import ClusterError
from lepton_nb.windowing import tasks
from lepton_nb.windowing.clocks import RowClock
from lepton_nb.windowing.programs import Bound
from lepton_nb.windowing.sources.base import Part
from lepton_nb.windowing.tasks import Piece, Scanned, Stepped

if TYPE_CHECKING:
    from distributed import Client

# A batch is begun anew this many times when workers are lost.
MOST_TRIES = 4


class Executor(ABC):
    """Runs the steps of batches of one stream."""

    shards: int
    parallel: int

    def __init__(self, folder: Path, bound: Bound, *, durable: bool) -> None:
        self.folder = folder
        self.bound = bound
        self.durable = durable

    @abstractmethod
    def scan(self, parts: Sequence[Part], clocks: Sequence[RowClock]) -> tuple[list[Scanned], Any]:
        """Read parts, each with its clock: what they held, and a handle on their pieces for `step`."""

    @abstractmethod
    def step(self, number: int, scanned: Any, watermark: int | None) -> list[Stepped]:
        """Merge the partial results into the state after batch `number` - 1: one answer a shard."""

    def retried(self, work: Any) -> Any:
        """The result of `work()`, done anew where workers were lost."""
        return work()

    def close(self) -> None:
        """Let go of what is held in memory."""
        tasks.forget(self.folder)


class Here(Executor):
    """In this process; Polars uses all cores."""

    shards = 1
    parallel = 1

    def scan(self, parts: Sequence[Part], clocks: Sequence[RowClock]) -> tuple[list[Scanned], Any]:
        """One part after the other."""
        done = [tasks.scan(part, self.bound, clock, 1) for part, clock in zip(parts, clocks, strict=True)]
        return [scanned for scanned, _ in done], [pieces[0] for _, pieces in done]

    def step(self, number: int, scanned: Any, watermark: int | None) -> list[Stepped]:
        """One shard holds all keys."""
        return [tasks.step(self.folder, number, 0, 1, scanned, watermark, self.bound, self.durable)]


class Workers(Executor):
    """On a Dask cluster: a scan for each part, a step for each shard, as many shards as threads.

    The workers must see the checkpoint folder under the same path. A worker that is lost takes nothing with it but
    time: its tasks are run again elsewhere, from the source and from the state on disk.
    """

    def __init__(self, client: Client, folder: Path, bound: Bound, *, durable: bool) -> None:
        super().__init__(folder, bound, durable=durable)
        self._client = client
        self.parallel = threads(client)
        self.shards = self.parallel if bound.keys else 1

    def scan(self, parts: Sequence[Part], clocks: Sequence[RowClock]) -> tuple[list[Scanned], Any]:
        """The pieces stay on the workers."""
        client: Any = self._client
        done = [
            client.submit(tasks.scan, part, self.bound, clock, self.shards, pure=False)
            for part, clock in zip(parts, clocks, strict=True)
        ]
        heads = [client.submit(_head, scan, pure=False) for scan in done]
        pieces = [[client.submit(_piece, scan, n, pure=False) for scan in done] for n in range(self.shards)]
        return client.gather(heads), pieces

    def step(self, number: int, scanned: Any, watermark: int | None) -> list[Stepped]:
        """A shard prefers the worker that has its state in memory."""
        client: Any = self._client
        addresses = sorted(client.scheduler_info(n_workers=-1)["workers"])
        steps = []
        for shard in range(self.shards):
            where = {"workers": [addresses[shard % len(addresses)]], "allow_other_workers": True} if addresses else {}
            arguments = (
                self.folder,
                number,
                shard,
                self.shards,
                scanned[shard],
                watermark,
                self.bound,
                self.durable,
            )
            steps.append(client.submit(tasks.step, *arguments, pure=False, **where))
        found: list[Stepped] = client.gather(steps)
        return found

    def retried(self, work: Any) -> Any:
        """Begins a batch anew where its workers died; after a few times a ClusterError."""
        from distributed import CancelledError
        from distributed.comm.core import CommClosedError
        from distributed.scheduler import KilledWorker

        for left in reversed(range(MOST_TRIES)):
            try:
                return work()
            except Exception as error:
                if self._client.status != "running":
                    raise ClusterError(
                        f"the cluster was closed while the stream ran ({error}); start the stream again with another: "
                        "it goes on where it was if it has a checkpoint folder"
                    ) from error
                if not isinstance(error, CancelledError | CommClosedError | KilledWorker):
                    raise
                if not left:
                    raise ClusterError(
                        f"workers died while they did a batch of the stream, {MOST_TRIES} times "
                        f"({error}); start the stream again, and if that fails too, give the workers more memory "
                        "or smaller batches (batch_rows=...)"
                    ) from error
        raise AssertionError

    def close(self) -> None:
        """The workers let go too."""
        super().close()
        if self._client.status == "running":
            with contextlib.suppress(OSError):  # a worker that is gone holds nothing
                self._client.run(tasks.forget, self.folder, on_error="ignore")


def threads(client: Client) -> int:
    """How many threads a cluster has. Raises ClusterError where it is closed or has none."""
    if client.status != "running":
        raise ClusterError("the cluster is closed; start one with lnb.Cluster(...), or stream without it")
    found = sum(client.nthreads().values())
    if not found:
        raise ClusterError("the cluster has no workers; call cluster.scale(2), or stream without it")
    return int(found)


def _head(pair: tuple[Scanned, list[Piece]]) -> Scanned:
    return pair[0]


def _piece(pair: tuple[Scanned, list[Piece]], shard: int) -> Piece:
    return pair[1][shard]
