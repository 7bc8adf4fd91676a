"""Where a stream's time goes: the package's own functions, timed from outside while they work."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import functools
import os
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from lepton_nb.windowing import arrivals, kinds, slices, tasks
from lepton_nb.windowing.checkpoint import Checkpoint
from lepton_nb.windowing.sinks.dataset import ParquetSink
from lepton_nb.windowing.sources.file_source import FileSource
from lepton_nb.windowing.sources.parquet_files import ParquetPart
from lepton_nb.windowing.stores import slices as slice_store
from lepton_nb.windowing.stores.slices import SliceStore

READ, SORT_OUT, PRE_AGGREGATE = "read the files", "look for late rows", "pre-aggregate"
MERGE, WINDOWS = "merge into the state", "make windows"
SINK, CHECKPOINT = "write the sink", "write the checkpoint"
SYNC = ", waiting for the disk"
# Name of the function that holds it, and what it is counted as.
TIMED: list[tuple[Any, str, str]] = [
    (FileSource, "plan", READ),
    (FileSource, "parts", READ),
    (ParquetPart, "read", READ),
    (arrivals, "sort_out", SORT_OUT),
    (slices, "merge", MERGE),
    (SliceStore, "absorb", MERGE),
    (SliceStore, "advance", WINDOWS),
    (slice_store, "windows_table", WINDOWS),
    (ParquetSink, "write", SINK),
    (tasks, "save", CHECKPOINT),
    (Checkpoint, "intend", CHECKPOINT),
    (Checkpoint, "complete", CHECKPOINT),
    (Checkpoint, "set_aside", CHECKPOINT),
]


class Clock:
    """Seconds by thread and label; what a function calls is taken off its own time."""

    def __init__(self) -> None:
        self.seconds: collections.Counter[tuple[int, str]] = collections.Counter()
        self._own = threading.local()

    def timed(self, function: Callable[..., Any], label: str) -> Callable[..., Any]:
        """`function`, with its time counted under `label`."""

        @functools.wraps(function)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            with self.counting(label):
                return function(*args, **kwargs)

        return wrapper

    def fsync(self, descriptor: int) -> None:
        """os.fsync, counted for whoever waits for it."""
        stack = self._stack()
        if not stack:
            _fsync(descriptor)
            return
        with self.counting(f"{stack[-1][0]}{SYNC}"):
            _fsync(descriptor)

    @contextlib.contextmanager
    def counting(self, label: str) -> Iterator[None]:
        """Count the time until the end of the block."""
        stack = self._stack()
        stack.append((label, 0.0))
        begin = time.perf_counter()
        try:
            yield
        finally:
            taken = time.perf_counter() - begin
            _, inner = stack.pop()
            self.seconds[threading.get_ident(), label] += taken - inner
            if stack:
                outer, before = stack[-1]
                stack[-1] = (outer, before + taken)

    def _stack(self) -> list[tuple[str, float]]:
        if not hasattr(self._own, "stack"):
            self._own.stack = []
        found: list[tuple[str, float]] = self._own.stack
        return found


_fsync = os.fsync


@contextlib.contextmanager
def timing() -> Iterator[Clock]:
    """While this is open, every stream of this process is timed."""
    clock = Clock()
    kind = kinds.SLICES
    with contextlib.ExitStack() as undo:
        for owner, name, label in TIMED:
            function = getattr(owner, name)
            undo.callback(setattr, owner, name, function)
            setattr(owner, name, clock.timed(function, label))
        undo.callback(setattr, kinds, "SLICES", kind)
        kinds.SLICES = dataclasses.replace(kind, scan=clock.timed(kind.scan, PRE_AGGREGATE))
        undo.callback(setattr, os, "fsync", _fsync)
        os.fsync = clock.fsync
        yield clock


def show(clock: Clock, total_s: float, batches: int, rows: int) -> None:
    """Milliseconds a batch, share of the whole time, and the rate if it were nothing but that; by thread.

    Threads that read ahead come one after the other and count as one.
    """
    main = next(thread for thread, label in clock.seconds if label == CHECKPOINT)
    print(f"  {'of ' + str(batches) + ' batches, each':50}{'ms':>9} {'share':>7} {'alone, M rows/s':>16}")
    for title, own in (("in order", True), ("ahead", False)):
        parts: collections.Counter[str] = collections.Counter()
        for (thread, label), seconds in clock.seconds.items():
            if (thread == main) == own:
                parts[label] += seconds
        if parts:
            parts["the rest, and waiting"] = max(0.0, total_s - sum(parts.values()))
        for label, seconds in parts.most_common():
            alone = rows / seconds / 1e6 if seconds > 0 else float("inf")
            print(f"  {title + ': ' + label:50}{seconds / batches * 1e3:9.2f} {seconds / total_s:7.1%} {alone:16.1f}")
    print(f"  {'all':50}{total_s / batches * 1e3:9.2f} {1:7.1%} {rows / total_s / 1e6:16.1f}")
