"""What the notebook wants of a run that goes on: that it waits, or goes on."""

from __future__ import annotations

import threading
from collections.abc import Callable


class Steering:
    """Whether a run is to pause; safe to use from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pausing = False
        self._on_change: Callable[[], None] | None = None

    @property
    def pausing(self) -> bool:
        """True while the run is to wait."""
        return self._pausing

    def set(self, *, pausing: bool) -> None:
        """Say what is wanted now."""
        with self._lock:
            self._pausing = pausing
            callback = self._on_change
        if callback is not None:
            callback()

    def on_change(self, callback: Callable[[], None] | None) -> None:
        """Call `callback`, in the thread that changes something, after each change; None ends that."""
        with self._lock:
            self._on_change = callback
