"""When a view gets its next frame: once it has shown the last one, and then the newest state, not all between."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

# A view that does not answer (a closed lid, a cut network) is tried again after so long, and twice as long each time.
PATIENCE_S = 2.0
MOST_PATIENCE_S = 60.0


class Pump:
    """At most one frame is on its way; what changes meanwhile is in the next.

    send: called with the number of the frame (from 1), one call at a time, when something is new and the views are
    ready for it. clock: seconds that only grow. Safe to use from any thread.
    """

    def __init__(self, send: Callable[[int], None], clock: Callable[[], float] = time.monotonic) -> None:
        self._send = send
        self._clock = clock
        self._lock = threading.RLock()
        self._views = 0
        self._dirty = False
        self._number = 0
        self._waiting_since: float | None = None
        self._patience_s = PATIENCE_S

    @property
    def number(self) -> int:
        """The last frame that was sent."""
        return self._number

    @property
    def views(self) -> int:
        """How many views are open."""
        return self._views

    def opened(self, *, current: bool = False) -> None:
        """A view is there; it is sent a frame unless it is `current`."""
        with self._lock:
            self._views += 1
            self._waiting_since = None
            self._patience_s = PATIENCE_S
            self._dirty = self._dirty or not current
            self._go()

    def closed(self) -> None:
        """A view has gone."""
        with self._lock:
            self._views = max(0, self._views - 1)
            self._waiting_since = None

    def changed(self) -> None:
        """There is something new to show."""
        with self._lock:
            self._dirty = True
            self._go()

    def shown(self, number: int) -> None:
        """A view has shown the frame of this number."""
        with self._lock:
            self._patience_s = PATIENCE_S
            if number >= self._number:
                self._waiting_since = None
                self._go()

    def missed(self) -> None:
        """What was sent has not arrived: the next frame goes at once."""
        with self._lock:
            self._waiting_since = None
            self._patience_s = PATIENCE_S
            self._dirty = True
            self._go()

    def _go(self) -> None:
        if not self._dirty or not self._views:
            return
        if self._waiting_since is not None:
            if self._clock() - self._waiting_since < self._patience_s:
                return
            self._patience_s = min(MOST_PATIENCE_S, 2 * self._patience_s)
        self._number += 1
        self._dirty = False
        self._waiting_since = self._clock()
        self._send(self._number)
