"""A gate for reports that are made in one process: so many run their cells at once, others have their kernel ready."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

from lepton_nb.background import Control

LOOK_S = 0.1


class Gate:
    """Lets `places` reports through at a time."""

    def __init__(self, places: int) -> None:
        self._places = threading.Semaphore(places)

    @contextlib.contextmanager
    def passed(self, control: Control) -> Iterator[None]:
        """Wait for a place, and hold it during the context; one that is asked to stop does not wait for it."""
        held = False
        while not held and not control.stopping:
            held = self._places.acquire(timeout=LOOK_S)
        try:
            yield
        finally:
            if held:
                self._places.release()
