"""A Dask nanny that leaves the environment of the user's process as it was.

Dask's own sets OMP_NUM_THREADS=1 and the like in its own process, which is the notebook's kernel here, so that the
workers inherit them (distributed 2026.7.1, nanny.py), and leaves them there: whatever the user then imports or starts
would use one core.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from distributed import Nanny
from distributed.core import Status


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
    """Starts, and starts again, worker processes; in between, this process has its own environment."""

    async def instantiate(self) -> Status:
        """Start the worker process."""
        with _borrowed.variables(self.pre_spawn_env):
            return await super().instantiate()
