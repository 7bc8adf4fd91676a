"""Progress of a report where no bar is drawn: plain lines on stderr."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TextIO

from lepton_nb.events import Event, Progress


def lines(name: str, stream: TextIO | None = None) -> Callable[[Event], None]:
    """A watcher of events that writes a line to `stream` (stderr when None) for each section of the notebook."""
    stream = sys.stderr if stream is None else stream
    last = ""

    def write(event: Event) -> None:
        nonlocal last
        if isinstance(event, Progress) and event.values.get("cell", "") != last:
            last = str(event.values["cell"])
            stream.write(f"{name} [{event.done + 1}/{event.total}] {last}\n")
            stream.flush()

    return write
