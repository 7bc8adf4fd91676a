"""A Dask nanny that leaves the environment of the user's process as it was, and tells why its worker died.

Dask's own sets OMP_NUM_THREADS=1 and the like in its own process, which is the notebook's kernel here, so that the
workers inherit them (distributed 2026.7.1, nanny.py), and leaves them there: whatever the user then imports or starts
would use one core.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from distributed import Nanny
from distributed.core import Status

from lepton_nb.cluster.snapshot import WorkerLoss


class Borrowed:
    """Environment variables that several may set at a time, put back when the last of them is done."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._users = 0
        self._before: dict[str, str | None] = {}

    @contextmanager
    def variables(self, names: Iterable[str]) -> Iterator[None]:
        """Within this context, the variables `names` may be set freely."""
        with self._lock:
            self._users += 1
            for name in names:
                self._before.setdefault(name, os.environ.get(name))
        try:
            yield
        finally:
            with self._lock:
                self._users -= 1
                if self._users == 0:
                    for name, value in self._before.items():
                        if value is None:
                            os.environ.pop(name, None)
                        else:
                            os.environ[name] = value
                    self._before.clear()


_borrowed = Borrowed()


class TidyNanny(Nanny):
    """Starts, and starts again, worker processes; in between, this process has its own environment.

    on_loss: called, in Dask's own thread, when a worker process ended without being asked to.
    """

    def __init__(self, *args: Any, on_loss: Callable[[WorkerLoss], object], **options: Any) -> None:
        super().__init__(*args, **options)
        self._on_loss = on_loss
        self._started_pid: int | None = None
        self._killed_pid: int | None = None

    async def instantiate(self) -> Status:
        """Start the worker process."""
        with _borrowed.variables(self.pre_spawn_env):
            status = await super().instantiate()
        self._started_pid = self.pid
        return status

    async def kill(self, timeout: float = 5, reason: str = "nanny-kill") -> None:
        """End the worker process, because somebody asked for it."""
        self._killed_pid = self._started_pid
        await super().kill(timeout, reason)

    async def _on_worker_exit(self, exitcode: int) -> None:
        if self.status == Status.running and self._started_pid not in (None, self._killed_pid):
            self._on_loss(WorkerLoss(time.time(), str(self.name), self._reason(exitcode)))
        await super()._on_worker_exit(exitcode)

    def _reason(self, exitcode: int) -> str:
        # Dask's own watch over the worker's memory ends it by a signal.
        if getattr(self.memory_manager, "_last_terminated_pid", None) == self._started_pid:
            return "it came too close to its memory limit"
        return death(exitcode)


def death(exitcode: int) -> str:
    """What an exit code says of a process that has ended."""
    if exitcode >= 0:
        return f"its process ended with exit code {exitcode}"
    try:
        name = f" ({signal.Signals(-exitcode).name})"
    except ValueError:
        name = ""
    return f"its process was killed by signal {-exitcode}{name}"
