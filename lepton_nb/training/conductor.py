"""The client's side of a run: starts the supervisors, passes on rows and commands, and gathers how it went."""

from __future__ import annotations

import contextlib
import queue
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from lepton_nb.background import Control
from lepton_nb.errors import TrainingError
from lepton_nb.training import supervisor
from lepton_nb.training.gang import Gang
from lepton_nb.training.placement import Seat
from lepton_nb.training.result import RankResult

if TYPE_CHECKING:
    from distributed import Client, Future

LOCK = "lepton-nb-training"
TICK_S = 0.5
PART_BYTES = 32 * 2**20


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Plan:
    """What the ranks need: `arrays` are written once for each host, "job" and "path" among them."""

    seats: tuple[Seat, ...]
    framework: str
    device: str
    arrays: Mapping[str, npt.NDArray[Any]]
    start_timeout_s: float


def conduct(
    client: Client, plan: Plan, control: Control, hear: Callable[[Mapping[str, Any]], None]
) -> RankResult | None:
    """Run `plan` to its end and return the result of rank 0, or None if it was stopped before all ranks were ready.

    `hear` gets every message of every rank, in the calling thread. Another run on the same cluster is waited for.
    Raises TrainingError for the rank that failed.
    """
    inbox: queue.SimpleQueue[Any] = queue.SimpleQueue()
    control.on_stop(lambda: inbox.put(None))
    topic = f"lepton-nb-training-{uuid.uuid4().hex}"
    with _turn(client, control) as ours:
        if not ours:
            return None
        client.subscribe_topic(topic, lambda event: inbox.put(event[1]))
        futures = [_submit(client, plan, topic, seat, inbox) for seat in plan.seats]
        try:
            return _Shepherd(client, plan, topic, inbox, control, hear).run()
        finally:
            with contextlib.suppress(Exception):  # a closed cluster has nothing left to cancel
                client.cancel(futures, force=True)
                client.unsubscribe_topic(topic)


class _Shepherd:
    def __init__(
        self,
        client: Client,
        plan: Plan,
        topic: str,
        inbox: queue.SimpleQueue[Any],
        control: Control,
        hear: Callable[[Mapping[str, Any]], None],
    ) -> None:
        self._client = client
        self._plan = plan
        self._topic = topic
        self._inbox = inbox
        self._control = control
        self._hear = hear
        self._gang = Gang(plan.seats, time.monotonic() + plan.start_timeout_s)

    def run(self) -> RankResult | None:
        gang = self._gang
        while not gang.over:
            self._take_all()
            gang.stopping = self._control.stopping
            if gang.wants_rows:
                self._write()
                continue
            self._tell(gang.due(time.monotonic()))
        failure = gang.failure()
        if failure is not None:
            raise failure
        # What came as events may still be on its way; the result holds the same messages, whole.
        first = gang.results[0]
        for message in first.messages:
            self._hear({"rank": 0, **message})
        if first.weights is None and not gang.stopping:
            raise TrainingError(
                f"rank 0 of {len(gang.seats)} on {gang.seats[0].address} ended without a word and left no model"
            )
        return first if gang.ready else None

    def _take_all(self) -> None:
        """Wait for something to happen, at most TICK_S, and note everything that has."""
        try:
            self._take(self._inbox.get(timeout=TICK_S))
            while True:
                self._take(self._inbox.get_nowait())
        except queue.Empty:
            pass
        now_s = time.monotonic()
        self._gang.take_workers(self._workers(), now_s)
        self._gang.take_time(now_s)

    def _take(self, item: Any) -> None:
        if item is None:
            return
        now_s = time.monotonic()
        if isinstance(item, Mapping):
            self._gang.take_message(item, now_s)
            self._hear(item)
        else:
            rank, future = item
            self._gang.take_result(_result_of(rank, future), now_s)

    def _workers(self) -> tuple[str, ...]:
        # Not Client.scheduler_info: its own periodic refresh can put an answer without workers in the place of
        # the one asked for (distributed 2026.7.1), and every worker would count as lost.
        scheduler = self._client.scheduler
        if self._client.status == "running" and scheduler is not None:
            with contextlib.suppress(Exception):  # closing in this very moment: the same as closed
                return tuple(self._client.sync(scheduler.identity, n_workers=-1)["workers"])
        raise TrainingError("the cluster was closed while the run went on; keep it open until run.wait() returns")

    def _write(self) -> None:
        for leader in {self._gang.leader_of(seat.rank) for seat in self._plan.seats}:
            folder = self._gang.folders[leader.rank]
            for name, array in self._plan.arrays.items():
                for start, part in _parts(array):
                    if self._control.stopping:
                        return
                    self._client.run(
                        supervisor.write_array, folder, name, len(array), start, part, workers=[leader.address]
                    )
        self._gang.rows_written = True

    def _tell(self, commands: list[tuple[int, dict[str, Any]]]) -> None:
        by_worker: dict[str, list[tuple[int, dict[str, Any]]]] = {}
        for rank, command in commands:
            by_worker.setdefault(self._plan.seats[rank].address, []).append((rank, command))
        for address, due in by_worker.items():
            self._client.run(supervisor.tell, self._topic, due, workers=[address], on_error="ignore")


def _submit(client: Client, plan: Plan, topic: str, seat: Seat, inbox: queue.SimpleQueue[Any]) -> Future[RankResult]:
    future = client.submit(
        supervisor.supervise,
        topic,
        seat,
        plan.framework,
        plan.device,
        key=f"{topic}-rank-{seat.rank}",
        workers=[seat.address],
        allow_other_workers=False,
        pure=False,
        retries=0,
    )
    future.add_done_callback(lambda done: inbox.put((seat.rank, done)))
    return future


def _result_of(rank: int, future: Future[RankResult]) -> RankResult:
    if future.status == "finished":
        result: RankResult = future.result()
        return result
    if future.status == "error":
        error = {"kind_of": "crash", "message": f"was not started: {future.exception()!r}", "traceback": ""}
    else:
        error = {"kind_of": "lost", "message": "was cancelled on the cluster", "traceback": ""}
    return RankResult(rank, None, error=error)


def _parts(array: npt.NDArray[Any]) -> Iterator[tuple[int, npt.NDArray[Any]]]:
    """The array in parts of about 32 MiB, so that no worker ever holds much more than that."""
    rows = max(1, PART_BYTES // max(1, array.nbytes // max(1, len(array))))
    for start in range(0, len(array), rows):
        yield start, np.ascontiguousarray(array[start : start + rows])


@contextlib.contextmanager
def _turn(client: Client, control: Control) -> Iterator[bool]:
    """Wait for the cluster's turn to train; False if the run is stopped before.

    The scheduler takes the turn back from a client that is gone (distributed.scheduler.locks.lease-timeout, 30 s).
    """
    from distributed import Lock

    lock = Lock(LOCK, scheduler_rpc=client.scheduler, loop=client.loop)
    try:
        while not lock.acquire(timeout=TICK_S):
            if control.stopping:
                yield False
                return
        try:
            yield True
        finally:
            if client.status == "running":  # a closed cluster holds no locks
                lock.release()
    finally:
        lock.refresh_callback.stop()
