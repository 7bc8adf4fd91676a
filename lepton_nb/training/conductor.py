"""The client's side of a run: starts the supervisors, passes on rows and commands, and gathers how it went."""

from __future__ import annotations

import contextlib
import errno
import queue
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from lepton_nb.background import Control
from lepton_nb.errors import ClusterError, TrainingError
from lepton_nb.training import supervisor
from lepton_nb.training.feeds import Deliver
from lepton_nb.training.gang import Command, Gang
from lepton_nb.training.part import ClusterPart
from lepton_nb.training.placement import CHOOSE, Seat, place
from lepton_nb.training.result import RankResult
from lepton_nb.training.steering import Steering
from lepton_nb.training.turns import LOCK, turn

if TYPE_CHECKING:
    from distributed import Client, Future

    from lepton_nb.cluster.session import Cluster

TICK_S = 0.5
# How often a run that waits for workers looks for them.
LOOK_S = 0.1
# How long a run that could do with fewer workers waits for more.
REPLACED_S = 5.0
PART_BYTES = 32 * 2**20
# Frameworks whose ranks must all know where every other listens.
EVERYBODY_LISTENS = ("keras",)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Plan:
    """What `least` to `most` ranks need: `arrays` are written once for each host, "job" and "path" among them.

    deliver: what writes further rows there; see `feeds.Feed`.
    """

    least: int
    most: int
    framework: str
    device: str
    arrays: Mapping[str, npt.NDArray[Any]]
    start_timeout_s: float
    deliver: tuple[Deliver, ...] = ()


def conduct(
    cluster: Cluster | ClusterPart,
    plan: Plan,
    control: Control,
    hear: Callable[[Mapping[str, Any]], None],
    steering: Steering | None = None,
) -> RankResult | None:
    """Run `plan` to its end and return the result of rank 0, or None if it was stopped before all ranks were ready.

    `hear` gets every message of every rank, in the calling thread. Another run on the same cluster is waited for,
    and the ranks are placed on the workers that are there then. Ranks that were asked whether they are the right
    number, and are not, have no weights. Raises TrainingError for the rank that failed.
    """
    inbox: queue.SimpleQueue[Any] = queue.SimpleQueue()
    steering = steering or Steering()
    control.on_stop(lambda: inbox.put(None))
    steering.on_change(lambda: inbox.put(None))
    topic = f"lepton-nb-training-{uuid.uuid4().hex}"
    try:
        client = cluster.client
    except ClusterError:  # between the run's start and its first step here
        raise _closed() from None
    queued_under = cluster.turn if isinstance(cluster, ClusterPart) else LOCK
    with _while_open(client), turn(client, control, queued_under, lambda: hear({"kind": "waiting"})) as ours:
        seats = _seats(cluster, plan, control) if ours else None
        if seats is None:
            return None
        client.subscribe_topic(topic, lambda event: inbox.put(event[1]))
        futures = [_submit(client, plan, topic, seat, inbox) for seat in seats]
        try:
            return _Shepherd(client, plan, seats, topic, inbox, control, hear, steering).run()
        finally:
            steering.on_change(None)
            with contextlib.suppress(Exception):  # a closed cluster has nothing left to cancel
                client.cancel(futures, force=True)
                client.unsubscribe_topic(topic)


class _Shepherd:
    def __init__(
        self,
        client: Client,
        plan: Plan,
        seats: tuple[Seat, ...],
        topic: str,
        inbox: queue.SimpleQueue[Any],
        control: Control,
        hear: Callable[[Mapping[str, Any]], None],
        steering: Steering,
    ) -> None:
        self._client = client
        self._plan = plan
        self._topic = topic
        self._inbox = inbox
        self._control = control
        self._hear = hear
        self._steering = steering
        self._looked_s = -TICK_S
        everybody = plan.framework in EVERYBODY_LISTENS and len(seats) > 1
        self._gang = Gang(seats, time.monotonic() + plan.start_timeout_s, everybody_listens=everybody)

    def run(self) -> RankResult | None:
        gang = self._gang
        while not gang.over:
            self._take_all(TICK_S)
            if gang.wants_rows:
                self._write()
            self._tell(gang.due(time.monotonic()))
        for rank, result in sorted(gang.results.items()):
            if result.output:
                self._hear({"kind": "output", "rank": rank, "text": result.output})
        failure = gang.failure()
        if failure is not None:
            raise failure
        # What came as events may still be on its way; the result holds the same messages, whole.
        first = gang.results[0]
        for message in (message for result in gang.results.values() for message in result.messages):
            self._hear(message)
        if CHOOSE in self._plan.arrays and first.weights is None and not gang.stopping:
            return first
        if first.weights is None and not gang.stopping:
            raise TrainingError(
                f"rank 0 of {len(gang.seats)} on {gang.seats[0].address} ended without a word and left no model"
            )
        return first if gang.ready else None

    def _take_all(self, wait_s: float) -> None:
        """Wait for something to happen, at most `wait_s`, and note everything that has."""
        known = len(self._gang.results)
        with contextlib.suppress(queue.Empty):
            self._take(self._inbox.get(timeout=wait_s) if wait_s else self._inbox.get_nowait())
            while True:
                self._take(self._inbox.get_nowait())
        now_s = time.monotonic()
        self._gang.stopping = self._control.stopping
        self._gang.pausing = self._steering.pausing
        # A question to the scheduler, which messages need not wait for each time; an end may be that of the cluster.
        ended = len(self._gang.results) > known
        if ended or self._client.status != "running" or now_s - self._looked_s >= TICK_S:
            self._looked_s = now_s
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

    def _workers(self) -> dict[str, str]:
        """The workers that are there, by address, and the state of each."""
        # Not Client.scheduler_info: its own periodic refresh can put an answer without workers in the place of
        # the one asked for (distributed 2026.7.1), and every worker would count as lost.
        scheduler = self._client.scheduler
        if self._client.status != "running" or scheduler is None:
            raise _closed()
        found = self._client.sync(scheduler.identity, n_workers=-1)["workers"]
        return {address: facts["status"] for address, facts in found.items()}

    def _write(self) -> None:
        gang = self._gang
        leaders = sorted({gang.leader_of(seat.rank) for seat in gang.seats}, key=lambda seat: seat.rank)
        for leader in leaders:
            folder = gang.folders[leader.rank]
            for name, array in self._plan.arrays.items():
                for start, part in _parts(array):
                    self._take_all(0.0)
                    if not gang.wants_rows:
                        return
                    try:
                        self._client.run(
                            supervisor.write_array, folder, name, len(array), start, part, workers=[leader.address]
                        )
                    except OSError as error:
                        # Without a number, or without the folder: the worker or the rank is gone, which is heard of
                        # in its own way. If not, the rows are written again, until the ranks are late.
                        if error.errno not in (None, errno.ENOENT):
                            gang.take_fault(leader.rank, self._why_unwritten(error, folder, leader), time.monotonic())
                        return
        hosts = [(leader.address, gang.folders[leader.rank]) for leader in leaders]
        for deliver in self._plan.deliver:
            if not deliver(self._client, hosts, self._still_wanted):
                return
        gang.rows_written = True

    def _still_wanted(self) -> bool:
        self._take_all(0.0)
        return self._gang.wants_rows

    def _why_unwritten(self, error: OSError, folder: str, leader: Seat) -> str:
        what = f"did not get its rows: {folder} on {leader.host} cannot be written, {error.strerror}"
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            needed = sum(array.nbytes for array in self._plan.arrays.values())
            what += f"; free {needed / 2**20:,.0f} MiB there"
        return what

    def _tell(self, commands: list[Command]) -> None:
        by_worker: dict[str, list[Command]] = {}
        for rank, command in commands:
            by_worker.setdefault(self._gang.seats[rank].address, []).append((rank, command))
        for address, due in by_worker.items():
            answers = self._client.run(supervisor.tell, self._topic, due, workers=[address], on_error="return")
            if isinstance(answers.get(address), BaseException):
                self._gang.take_back(due)


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


def _seats(cluster: Cluster | ClusterPart, plan: Plan, control: Control) -> tuple[Seat, ...] | None:
    """Where the ranks run; None if the run is stopped before. Workers that are lost have time to be replaced."""
    began_s = time.monotonic()
    while len(addresses := cluster.workers) < plan.most:
        wait_s = plan.start_timeout_s if len(addresses) < plan.least else min(REPLACED_S, plan.start_timeout_s)
        if time.monotonic() > began_s + wait_s:
            break
        if control.wait_for_stop(LOOK_S):
            return None
    count = max(plan.least, min(plan.most, len(addresses)))
    return place(addresses, count, cluster.beside if isinstance(cluster, ClusterPart) else 1)


def _closed() -> TrainingError:
    return TrainingError("the cluster was closed while the run went on; keep it open until run.wait() returns")


@contextlib.contextmanager
def _while_open(client: Client) -> Iterator[None]:
    """Errors of every kind come from calls on a cluster that is being closed; they mean just that."""
    try:
        yield
    except Exception as error:
        if isinstance(error, TrainingError):
            raise
        if client.status in ("closing", "closed"):
            raise _closed() from error
        if isinstance(error, OSError):
            raise TrainingError(f"the cluster does not answer: {error}; look whether it still runs") from error
        raise
