"""Progress of a report on stderr: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO

from lepton_nb.events import Event, Progress


@contextmanager
def shown(name: str, stream: TextIO | None = None) -> Iterator[Callable[[Event], None]]:
    """A watcher of a run's events that draws on `stream` (stderr when None) while the block lasts."""
    stream = sys.stderr if stream is None else stream
    if stream.isatty():
        from tqdm import tqdm

        with tqdm(desc=name, unit="cell", file=stream, leave=False, dynamic_ncols=True) as bar:

            def draw(event: Event) -> None:
                if isinstance(event, Progress):
                    bar.total = event.total
                    bar.n = event.done
                    bar.set_postfix_str(str(event.values.get("cell", "")), refresh=True)

            yield draw
        return
    last = ""

    def write(event: Event) -> None:
        nonlocal last
        if isinstance(event, Progress) and event.values.get("cell", "") != last:
            last = str(event.values["cell"])
            stream.write(f"{name} [{event.done + 1}/{event.total}] {last}\n")
            stream.flush()

    yield write
