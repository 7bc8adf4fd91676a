"""The task on a Dask worker that starts one rank, watches it, and never outlives it (nor it the task).

The task leaves the worker's thread pool, so that the worker goes on with other tasks. Commands come through
`tell`, which the client runs on the worker; messages go out as events of the run's topic.
"""

from __future__ import annotations

import collections
import contextlib
import json
import os
import selectors
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any

import numpy as np

from lepton_nb.training.placement import Seat
from lepton_nb.training.rendezvous import interface_of
from lepton_nb.training.result import RankResult

KEPT_LINES = 100
LOOK_EVERY_S = 0.5
RANK_MODULES = {"torch": "lepton_nb.training.torch_rank"}

_ranks: dict[tuple[str, int], subprocess.Popen[bytes]] = {}
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
        process = subprocess.Popen(
            [sys.executable, "-m", RANK_MODULES[framework], folder],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=_environment(seat),
            start_new_session=True,
        )
        with _ranks_lock:
            _ranks[topic, seat.rank] = process

        def emit(message: Mapping[str, Any]) -> None:
            worker.log_event(topic, {"rank": seat.rank, **message})

        def wanted() -> bool:
            state = worker.state.tasks.get(key)
            return (
                state is not None and state.state in ("executing", "long-running") and worker.status.name == "running"
            )

        try:
            emit({"kind": "started", "folder": folder, "pid": process.pid})
            return _watch(process, seat.rank, Path(folder), emit, wanted)
        finally:
            with _ranks_lock:
                del _ranks[topic, seat.rank]
            _end(process)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def tell(topic: str, commands: Sequence[tuple[int, Mapping[str, Any]]]) -> None:
    """Hand ranks of this worker their commands; "abort" ends one at once. Ranks that are gone are passed over."""
    with _ranks_lock:
        for rank, command in commands:
            process = _ranks.get((topic, rank))
            if process is None or process.stdin is None:
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
    if start == 0:
        whole = np.lib.format.open_memmap(path, mode="w+", dtype=part.dtype, shape=(length, *part.shape[1:]))
    else:
        whole = np.lib.format.open_memmap(path, mode="r+")
    whole[start : start + len(part)] = part


def _watch(process: subprocess.Popen[bytes], rank: int, folder: Path, emit: Any, wanted: Any) -> RankResult:
    result = RankResult(rank, None)
    output: collections.deque[str] = collections.deque(maxlen=KEPT_LINES)
    for stream, line in _lines(process, wanted):
        if stream == "output":
            output.append(line)
            continue
        message = json.loads(line)
        if message["kind"] == "failed":
            result.error = message
        elif message["kind"] in ("epoch", "steps", "done"):
            result.messages.append(message)
        emit(message)
    if wanted():
        process.wait()
    result.exit_code = process.poll()
    result.output = "\n".join(output)
    if result.error is None and result.exit_code != 0:
        result.error = {"kind_of": "crash", "message": _how_it_ended(result.exit_code), "traceback": ""}
    weights = folder / "weights.pt"
    if result.error is None and weights.exists():
        result.weights = weights.read_bytes()
    return result


def _lines(process: subprocess.Popen[bytes], wanted: Any) -> Iterator[tuple[str, str]]:
    """Lines of the rank's messages and output as they come, until both end or the rank is not `wanted` any more."""
    assert process.stdout is not None
    assert process.stderr is not None
    with selectors.DefaultSelector() as selector:
        rests: dict[str, bytes] = {"message": b"", "output": b""}
        selector.register(process.stdout, selectors.EVENT_READ, "message")
        selector.register(process.stderr, selectors.EVENT_READ, "output")
        looked_s = time.monotonic()
        while selector.get_map():
            for key, _ in selector.select(LOOK_EVERY_S):
                name: str = key.data
                chunk = os.read(key.fd, 1 << 16)
                *whole, rests[name] = (rests[name] + chunk).split(b"\n")
                if not chunk:
                    selector.unregister(key.fileobj)
                    whole, rests[name] = [rests[name]] if rests[name] else [], b""
                for line in whole:
                    yield name, line.decode(errors="replace")
            if time.monotonic() - looked_s >= LOOK_EVERY_S:
                looked_s = time.monotonic()
                if not wanted():
                    return


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()
    pipes: tuple[IO[bytes] | None, ...] = (process.stdin, process.stdout, process.stderr)
    for pipe in pipes:
        if pipe is not None:
            with contextlib.suppress(BrokenPipeError):
                pipe.close()


def _how_it_ended(exit_code: int | None) -> str:
    if exit_code is None:
        return "was given up while it ran"
    if exit_code < 0:
        return f"was killed by signal {-exit_code}" + (" (out of memory?)" if exit_code == -9 else "")
    return f"ended with exit status {exit_code}"


def _environment(seat: Seat) -> dict[str, str]:
    threads = str(max(1, len(os.sched_getaffinity(0)) // seat.local_ranks))
    interface = interface_of(seat.bind_host)
    # Dask makes its workers hand every freed block back to the system at once. A training step frees and takes
    # blocks all the time, and spent about half of its time on that.
    inherited = {name: value for name, value in os.environ.items() if name != "MALLOC_TRIM_THRESHOLD_"}
    return {
        **inherited,
        "OMP_NUM_THREADS": threads,
        "MKL_NUM_THREADS": threads,
        "OPENBLAS_NUM_THREADS": threads,
        "GLOO_SOCKET_IFNAME": interface,
        "NCCL_SOCKET_IFNAME": interface,
    }
