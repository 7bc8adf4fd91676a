"""The task on a Dask worker that starts one rank, watches it, and never outlives it (nor it the task).

A rank leads a process group of its own: what it starts (the workers of a DataLoader, say) ends with it, unless that
leaves the group. The processes come from `launcher`.

The task leaves the worker's thread pool, so that the worker goes on with other tasks. Commands come through
`tell`, which the client runs on the worker; messages go out as events of the run's topic.
"""

from __future__ import annotations

import collections
import contextlib
import json
import os
import re
import selectors
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from lepton_nb.training.launcher import RankProcess, launch
from lepton_nb.training.placement import Seat
from lepton_nb.training.rendezvous import interface_of
from lepton_nb.training.result import STATE, WEIGHTS, RankResult

KEPT_LINES = 2_000
# While a rank runs, this much of its output is told every so often.
TOLD_LINES = 100
TELL_OUTPUT_EVERY_S = 1.0
KEPT_LINE_BYTES = 2_000
LOOK_EVERY_S = 0.5
# How long a rank that has ended may still be heard, where something outside of its group holds its pipes open.
DRAIN_S = 1.0
# A worker that Dask pauses for want of memory goes on with the tasks that it has.
WORKING = ("running", "paused")
# Dask makes its workers hand every freed block back to the system at once, and a training step frees and takes the same
# blocks all the time. Ranks keep what they have had, up to a limit, in pages as large as the system gives.
_MEMORY = {
    "MALLOC_TRIM_THRESHOLD_": str(2**30),
    "MALLOC_MMAP_THRESHOLD_": str(2**25),
    "MALLOC_TOP_PAD_": str(2**26),
}

_ranks: dict[tuple[str, int], RankProcess] = {}
_ranks_lock = threading.Lock()


def supervise(topic: str, seat: Seat, framework: str, device: str) -> RankResult:
    """Run the rank of `seat` to its end and return how it went; a Dask task.

    The rank is killed when the task is cancelled, which also happens when the client that asked for it is
    gone, and when the worker closes.
    """
    from distributed import get_worker
    from distributed.worker import secede

    worker = get_worker()
    key = worker.get_current_task()
    secede()
    folder = tempfile.mkdtemp(prefix=f"lepton-nb-rank-{seat.rank}-")
    try:
        Path(folder, "seat.json").write_text(json.dumps({**asdict(seat), "device": device}))
        # GPUs do not outlive a fork, and it was never tried which framework has touched one once it is loaded.
        warm = device == "cpu"
        process = launch(framework, Path(folder), f"lnb-rank-{seat.rank}", _environment(seat), warm=warm)
        with _ranks_lock:
            _ranks[topic, seat.rank] = process

        def emit(message: Mapping[str, Any]) -> None:
            worker.log_event(topic, {"rank": seat.rank, **message})

        def unwanted() -> str:
            task = worker.state.tasks.get(key)
            return why_unwanted(None if task is None else task.state, worker.status.name)

        try:
            emit({"kind": "started", "folder": folder})
            return _watch(process, seat.rank, Path(folder), emit, unwanted)
        finally:
            with _ranks_lock:
                del _ranks[topic, seat.rank]
            process.end()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def why_unwanted(task: str | None, worker: str) -> str:
    """Why a rank is to end, from the states that Dask gives its task and its worker; "" while it is wanted."""
    if task not in ("executing", "long-running"):
        return "its task was cancelled"
    return "" if worker in WORKING else f"its worker is {worker}"


def tell(topic: str, commands: Sequence[tuple[int, Mapping[str, Any]]]) -> None:
    """Hand ranks of this worker their commands; "abort" ends one at once. Ranks that are gone are passed over."""
    with _ranks_lock:
        for rank, command in commands:
            process = _ranks.get((topic, rank))
            if process is None:
                continue
            if command["kind"] == "abort":
                process.kill()
                continue
            with contextlib.suppress(BrokenPipeError):
                process.stdin.write(json.dumps(command).encode() + b"\n")
                process.stdin.flush()


def write_array(folder: str, name: str, length: int, start: int, part: np.ndarray[Any, Any]) -> None:
    """Write `part` from row `start` on of the array `name`, of `length` rows, in a rank's folder."""
    path = Path(folder, f"{name}.npy")
    # Written and not mapped: where a disk is full, writing into a map kills the process.
    with path.open("r+b" if start else "wb") as file:
        if start:
            np.lib.format.read_magic(file)
            np.lib.format.read_array_header_1_0(file)
            file.seek(start * part[:1].nbytes, os.SEEK_CUR)
        else:
            description = np.lib.format.dtype_to_descr(part.dtype)
            shape = (length, *part.shape[1:])
            header = {"descr": description, "fortran_order": False, "shape": shape}
            np.lib.format.write_array_header_1_0(file, header)
        file.write(part.data)


def _watch(
    process: RankProcess,
    rank: int,
    folder: Path,
    emit: Callable[[Mapping[str, Any]], None],
    unwanted: Callable[[], str],
) -> RankResult:
    result = RankResult(rank, None)
    output: collections.deque[str] = collections.deque(maxlen=KEPT_LINES)
    cost: dict[str, Any] | None = None
    told_s = time.monotonic()
    for stream, line in _lines(process, unwanted):
        if stream == "output":
            output.append(line)
            if time.monotonic() - told_s >= TELL_OUTPUT_EVERY_S:
                told_s = time.monotonic()
                emit({"kind": "output", "text": "\n".join([*output][-TOLD_LINES:])})
            continue
        message = json.loads(line)
        if message["kind"] == "failed":
            result.error = message
        elif message["kind"] in ("epoch", "steps", "pace", "compiled", "done"):
            result.messages.append({"rank": rank, **message})
        elif message["kind"] == "cost":
            cost = {"rank": rank, **message}
        emit(message)
    result.messages += [] if cost is None else [cost]
    result.exit_code = process.exit_code()
    result.output = "\n".join(output)
    if result.error is None and result.exit_code != 0:
        result.error = {"kind_of": "crash", "message": _how_it_ended(result.exit_code, unwanted()), "traceback": ""}
    if result.error is None and (folder / WEIGHTS).exists():
        result.weights = (folder / WEIGHTS).read_bytes()
        result.state = (folder / STATE).read_bytes() if (folder / STATE).exists() else None
    return result


def _lines(process: RankProcess, unwanted: Callable[[], str]) -> Iterator[tuple[str, str]]:
    """Lines of the rank's messages and output as they come, until the rank has ended or is `unwanted`."""
    ended_s: float | None = None
    with selectors.DefaultSelector() as selector:
        readers = {"message": LineReader(b"\n"), "output": LineReader(b"\r\n|\r|\n", KEPT_LINE_BYTES)}
        selector.register(process.stdout, selectors.EVENT_READ, "message")
        selector.register(process.stderr, selectors.EVENT_READ, "output")
        looked_s = time.monotonic()
        while selector.get_map() or ended_s is None:
            # Its pipes are closed a moment before a rank has ended.
            for key, _ in selector.select(LOOK_EVERY_S if selector.get_map() else 0.01):
                chunk = os.read(key.fd, 1 << 16)
                if not chunk:
                    selector.unregister(key.fileobj)
                for line in readers[key.data].take(chunk):
                    yield key.data, line
            now_s = time.monotonic()
            if ended_s is None and process.exit_code() is not None:
                ended_s = now_s
            if ended_s is not None and now_s - ended_s > DRAIN_S:
                return
            if now_s - looked_s >= LOOK_EVERY_S:
                looked_s = now_s
                if ended_s is None and unwanted():
                    return


class LineReader:
    """Bytes in, whole lines out, cut at `ends` (a pattern); of each at most `limit` bytes are kept, if it is given."""

    def __init__(self, ends: bytes, limit: int | None = None) -> None:
        self._ends = re.compile(ends)
        self._limit = limit
        self._rest = b""

    def take(self, chunk: bytes) -> list[str]:
        """The lines that `chunk` completes; an empty one, the end, completes what is left."""
        *whole, rest = self._ends.split(self._rest + chunk)
        self._rest = rest[: self._limit]
        if not chunk and self._rest:
            whole, self._rest = [self._rest], b""
        return [line[: self._limit].decode(errors="replace") for line in whole]


def _how_it_ended(exit_code: int | None, unwanted: str) -> str:
    if exit_code is None:
        return "was given up while it ran" + (f": {unwanted}" if unwanted else "")
    if exit_code < 0:
        return f"was killed by signal {-exit_code}" + (" (out of memory?)" if exit_code == -9 else "")
    return f"ended with exit status {exit_code}"


def _environment(seat: Seat) -> dict[str, str]:
    threads = str(max(1, len(os.sched_getaffinity(0)) // (seat.local_ranks * seat.beside)))
    interface = interface_of(seat.bind_host)
    return {
        **os.environ,
        **_MEMORY,
        "GLIBC_TUNABLES": os.environ.get("GLIBC_TUNABLES", "glibc.malloc.hugetlb=1"),
        "OMP_NUM_THREADS": threads,
        "MKL_NUM_THREADS": threads,
        "OPENBLAS_NUM_THREADS": threads,
        "GLOO_SOCKET_IFNAME": interface,
        "NCCL_SOCKET_IFNAME": interface,
    }
