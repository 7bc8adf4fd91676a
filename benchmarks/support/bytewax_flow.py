"""Bytewax as it comes, in one process with a worker for each of two cores, and helped.

Each process starts once and then runs the flow whenever a line comes in; so its start is not counted. The flow reads
the Parquet file, makes Python values of its rows, and folds them into sliding windows with Bytewax's own operator and
event-time clock. There is no recovery store, and the system clock stands still, so that event time alone closes windows
and the results are right.

Helped, it runs in two processes, each with half of the keys, so that no rows go between them and none waits for the
other's interpreter, and it is told that the order of rows within a window does not matter.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl

WORKERS = 2
BATCH_ROWS = 50_000
LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)
# n, sum, max
Totals = list[Any]


class Bytewax:
    """The processes, and what they are asked to do."""

    def __init__(self, file: Path, work: Path, processes: list[subprocess.Popen[str]]) -> None:
        self._file, self._work = file, work
        self._processes = processes

    def run(self) -> int:
        """All windows of the file; returns how many."""
        return self._ask(None)

    def result(self) -> pl.DataFrame:
        """All windows of the file, as a table."""
        self._ask(self._work)
        files = [self._work / f"bytewax-{number}.parquet" for number in range(len(self._processes))]
        parts = [pl.read_parquet(file) for file in files]
        return pl.concat(parts).sort("key", "window_start")

    def _ask(self, folder: Path | None) -> int:
        order = json.dumps({"file": str(self._file), "folder": None if folder is None else str(folder)})
        for process in self._processes:
            assert process.stdin is not None
            process.stdin.write(f"{order}\n")
            process.stdin.flush()
        total = 0
        for process in self._processes:
            assert process.stdout is not None
            line = process.stdout.readline()
            if not line:
                raise RuntimeError(f"Bytewax ended with status {process.wait()}")
            total += int(line)
        return total


@contextlib.contextmanager
def started(file: Path, work: Path, count: int) -> Iterator[Bytewax]:
    """So many processes, until the end of the block: one as it comes, two to help it."""
    with contextlib.ExitStack() as stack:
        processes = []
        for number in range(count):
            process = subprocess.Popen(
                [sys.executable, str(Path(__file__).resolve()), str(number), str(count)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            # Leaving closes its input, at which it ends, and waits for it.
            processes.append(stack.enter_context(process))
        yield Bytewax(file, work, processes)


def windows(file: str, number: int, count: int) -> list[tuple[str, tuple[int, Totals]]]:
    """Key, and window number with its totals: the windows of one of `count` processes' share of the keys."""
    import bytewax.operators as op
    from bytewax.dataflow import Dataflow
    from bytewax.operators import windowing
    from bytewax.testing import TestingSink, cluster_main

    found: list[tuple[str, tuple[int, Totals]]] = []
    clock = windowing.EventClock(
        ts_getter=_time, wait_for_system_duration=timedelta(seconds=2), now_getter=_still, to_system_utc=_never
    )
    slide = windowing.SlidingWindower(
        length=timedelta(minutes=1), offset=timedelta(seconds=10), align_to=datetime(1970, 1, 1, tzinfo=UTC)
    )
    flow = Dataflow("windows")
    rows = op.input("rows", flow, _source(file, number, count))
    folded = windowing.fold_window("fold", rows, clock, slide, _empty, _add, _merged, ordered=count == 1)
    op.output("out", folded.down, TestingSink(found))
    cluster_main(flow, [], 0, worker_count_per_proc=WORKERS // count)
    return found


def _source(file: str, number: int, count: int) -> Any:
    from bytewax.inputs import DynamicSource, StatelessSourcePartition

    class Partition(StatelessSourcePartition[Any]):
        def __init__(self, rows: pl.LazyFrame) -> None:
            self._frames = rows.collect().iter_slices(BATCH_ROWS)

        def next_batch(self) -> list[tuple[str, tuple[datetime, float]]]:
            frame = next(self._frames, None)
            if frame is None:
                raise StopIteration
            keys = frame.get_column("key").cast(pl.String).to_list()
            return list(zip(keys, frame.select("ts", "value").iter_rows(), strict=True))

    class Source(DynamicSource[Any]):
        def build(self, step_id: str, worker_index: int, worker_count: int) -> Partition:
            mine = pl.scan_parquet(file).filter(pl.col("key") % count == number)
            # One worker reads: rows that two read would be out of order by more than the bound.
            return Partition(mine if worker_index == 0 else mine.head(0))

    return Source()


def _time(row: tuple[datetime, float]) -> datetime:
    return row[0]


def _still() -> datetime:
    return LONG_AGO


def _never(_: datetime) -> None:
    return None


def _empty() -> Totals:
    return [0, 0.0, float("-inf")]


def _add(totals: Totals, row: tuple[datetime, float]) -> Totals:
    value = row[1]
    totals[0] += 1
    totals[1] += value
    if value > totals[2]:
        totals[2] = value
    return totals


def _merged(left: Totals, right: Totals) -> Totals:
    return [left[0] + right[0], left[1] + right[1], max(left[2], right[2])]


def _table(found: list[tuple[str, tuple[int, Totals]]]) -> pl.DataFrame:
    rows = [(int(key), window * 10_000_000, *totals) for key, (window, totals) in found]
    schema = {"key": pl.Int64, "window_start": pl.Int64, "n": pl.Int64, "sum": pl.Float64, "max": pl.Float64}
    return pl.DataFrame(rows, schema=schema, orient="row").select(
        "key",
        pl.col("window_start").cast(pl.Datetime("us", "UTC")),
        "n",
        "sum",
        (pl.col("sum") / pl.col("n")).alias("mean"),
        "max",
    )


def main(number: int, count: int) -> None:
    """Run the flow for every line that comes in, and say how many windows it gave."""
    for line in sys.stdin:
        order = json.loads(line)
        found = windows(order["file"], number, count)
        if order["folder"] is not None:
            _table(found).write_parquet(Path(order["folder"]) / f"bytewax-{number}.parquet")
        print(len(found), flush=True)


if __name__ == "__main__":
    # Run by its path, this folder would come first, and with it our names.
    sys.path.pop(0)
    main(int(sys.argv[1]), int(sys.argv[2]))
