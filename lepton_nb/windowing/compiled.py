"""The loops of `kernels` as machine code, where Numba is installed and there are rows enough to be worth the wait.

Loading them takes a quarter of a second, and two thirds the first time on a machine, when they are compiled. It goes on
beside the work that asked for it, which does with NumPy until they are there. Results are the same either way, but for
the last digits of sums of floats where some rows lie too far apart to be counted in cells.
"""

from __future__ import annotations

import functools
import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from lepton_nb.background import BackgroundRun, Control
from lepton_nb.events import Status
from lepton_nb.windowing import kernels

_log = logging.getLogger(__name__)

# So many rows take as long to count as the loops take to load.
WORTH_ROWS = 5_000_000


@dataclass(frozen=True, slots=True)
class Loops:
    """The compiled functions of `kernels`, under their names."""

    count: Callable[..., int]
    gather: Callable[..., None]


class Loader:
    """Loads the loops once, in the background, after enough rows were counted."""

    def __init__(self, load: Callable[[], Loops], worth_rows: int = WORTH_ROWS) -> None:
        self._load = load
        self._missing_rows = worth_rows
        self._lock = threading.Lock()
        self._run: BackgroundRun[None] | None = None
        self._loops: Loops | None = None

    def loops_for(self, rows: int) -> Loops | None:
        """The loops with which to count so many rows; None while NumPy must do."""
        if self._loops is None and self._run is None:
            with self._lock:
                self._missing_rows -= rows
                if self._missing_rows <= 0 and self._run is None:
                    self._run = BackgroundRun(self._work, name="compile")
                    try:
                        self._run.start()
                    except RuntimeError as error:
                        _log.warning("windows are counted with NumPy: %s", error)
        return self._loops

    def wait(self) -> Loops | None:
        """The loops after they were loaded, if that was begun; None where Numba is missing or fails."""
        if self._run is not None and self._run.status is not Status.PENDING:
            self._run.wait()
        return self._loops

    def _work(self, control: Control) -> None:
        try:
            self._loops = self._load()
        except ModuleNotFoundError as error:
            _log.info("windows are counted with NumPy: %s", error)
        except Exception as error:
            # Numba's own errors, a NumPy that it does not know, a processor that it does not know.
            _log.warning("windows are counted with NumPy, as Numba failed: %r", error)


def compiled() -> Loops:
    """Compile the loops, or read them from Numba's cache. Raises ModuleNotFoundError without it."""
    import numba
    from numba import types

    if getattr(numba.config, "DISABLE_JIT", False):
        raise ModuleNotFoundError("NUMBA_DISABLE_JIT is set")

    number = types.int64

    def array(dtype: Any, *, readonly: bool = False) -> Any:
        return types.Array(dtype, 1, "C", readonly=readonly)

    numbers, written = array(number, readonly=True), array(number)
    count, gather = [], []
    for dtype in (types.float64, types.int64):
        values, kept = array(dtype, readonly=True), [array(dtype)] * 3
        count.append(number(numbers, numbers, *[number] * 6, written, written, values, number, *kept))
        gather.append(types.void(numbers, values, number, *kept))

    def loops(*, cache: bool) -> Loops:
        compile_ = functools.partial(numba.njit, nogil=True, cache=cache)
        return Loops(compile_(count)(kernels.count), compile_(gather)(kernels.gather))

    try:
        return loops(cache=True)
    except Exception as error:
        # No folder to write to, a full disk, a file that was cut off: then they are compiled in every process.
        _log.info("compiled loops cannot be kept: %r", error)
        return loops(cache=False)


LOADER = Loader(compiled)
