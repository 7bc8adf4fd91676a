"""A stream over the same files again and again, later each time, in a process of its own; prints its memory as JSON.

    python benchmarks/support/endless_stream.py FOLDER TIMES SPAN_S WORK

The files in FOLDER are played TIMES times, each time SPAN_S seconds later. Checkpoint and results go to WORK.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

import polars as pl

import lepton_nb as lnb
from lepton_nb.events import Event, Progress
from lepton_nb.windowing.sources.base import Part, Planned, Position, Rows, Source


@dataclass(frozen=True)
class Later(Part):
    """The rows of another part, `seconds` later."""

    part: Part
    seconds: int

    def read(self) -> Rows:
        rows = self.part.read()
        return replace(rows, frame=rows.frame.with_columns(pl.col("ts") + timedelta(seconds=self.seconds)))


class Again(Source):
    """A source of files that starts over. A position is [how often it is through, position in the files]."""

    name = "again"

    def __init__(self, folder: Path, times: int, span_s: int) -> None:
        self._files = lnb.sources.files(folder)
        self._times, self._span_s = times, span_s

    def open(self, columns: Sequence[str], parallel: int) -> None:
        self._files.open(columns, parallel)

    @property
    def schema(self) -> pl.Schema | None:
        return self._files.schema

    @property
    def channels(self) -> tuple[str, ...]:
        return self._files.channels

    def plan(self, before: Position, rows: int, wait_s: float) -> Planned:
        turn, inside = before or (0, None)
        planned = self._files.plan(inside, rows, wait_s)
        if planned.over and turn + 1 < self._times:
            if planned.after == inside:
                return self.plan([turn + 1, None], rows, wait_s)
            return Planned([turn, planned.after])
        return replace(planned, after=[turn, planned.after])

    def parts(self, before: Position, after: Position) -> Sequence[Part]:
        turn, inside = after
        begun = before[1] if before is not None and before[0] == turn else None
        seconds = turn * self._span_s
        return [Later(part.channel, part, seconds) for part in self._files.parts(begun, inside)]

    def close(self) -> None:
        self._files.close()


def memory_bytes(what: str) -> int:
    """VmRSS (now) or VmHWM (the most so far) of this process."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{what}:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f"/proc/self/status has no {what}")


def main(folder: str, times: str, span_s: str, work: str) -> None:
    results = {"n": lnb.count(), "sum": lnb.sum("value"), "mean": lnb.mean("value"), "max": lnb.max("value")}
    query = lnb.windows(time="ts", key="key").sliding("1m", "10s").lateness("2s").agg(**results)
    sink = lnb.sinks.parquet(Path(work) / "results")
    run = query.stream(Again(Path(folder), int(times), int(span_s)), sink, checkpoint=Path(work) / "checkpoint")
    after: list[tuple[int, int, int]] = []

    def note(event: Event) -> None:
        if isinstance(event, Progress):
            after.append((event.done, memory_bytes("VmRSS"), memory_bytes("VmHWM")))

    run.watch(note)
    begin = time.perf_counter()
    run.wait()
    taken_s = time.perf_counter() - begin
    print(json.dumps({"after": after, "peak_bytes": memory_bytes("VmHWM"), "seconds": taken_s}))


if __name__ == "__main__":
    main(*sys.argv[1:])
