"""A stream of Parquet files: ours against Spark Structured Streaming and Bytewax, its ceiling, and its memory.

    python benchmarks/streams.py [--only stream,memory] [--rows 10000000] [--keys 1000] [--rounds 3]
                                 [--bytewax-rows 400000] [--memory-rows 100000000] [--without-spark] [--without-bytewax]

A folder of files of a million rows each, about one row a second for each key, up to 2 s out of order. Sliding
windows of 1 min every 10 s with count, sum, mean and max. Ours writes a checkpoint every batch and a Parquet sink,
both forced to the disk; Spark takes a file a micro-batch, with a checkpoint, a Parquet sink and two shuffle partitions;
Bytewax keeps its results in memory and no checkpoint, on fewer rows. Its target is held to Bytewax as it comes, with
two workers; one more line helps it: two processes, each with half of the keys. What each gives is compared with the
batch query before anything is timed: Spark's append mode leaves out the windows that its watermark has not passed, the
others give all. Starting Spark, Bytewax and Python, and a first run, are not counted. Ours, Spark and Bytewax have
processes of their own.

The ceiling is a bare loop over the same batches in memory: it merges slices and does nothing else. A breakdown says
where the time between it and ours goes.

memory: the files are played again and again, later each time, in a fresh process; its peak is what the system says.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import polars as pl
from support import bare_loop, breakdown, bytewax_flow, machine, spark, tables
from support.bytewax_flow import Bytewax
from support.contest import Contender, Targets, chosen, same, show, take_turns
from support.spark import Spark

import lepton_nb as lnb

PARTS = ("stream", "memory")
FILE_ROWS = 1_000_000
DISORDER_S = 2
# Contenders that take long take this many turns.
SLOW_ROUNDS = 2
RESULTS = {"n": lnb.count(), "sum": lnb.sum("value"), "mean": lnb.mean("value"), "max": lnb.max("value")}


class Ours:
    """The stream, each time in new folders."""

    def __init__(self, folder: Path, work: Path) -> None:
        self._folder, self._work = folder, work

    def run(self) -> Path:
        """From start to end; returns the folder of results."""
        place = Path(tempfile.mkdtemp(prefix="ours-", dir=self._work))
        sink = lnb.sinks.parquet(place / "results")
        query = lnb.windows(time="ts", key="key").sliding("1m", "10s").lateness(f"{DISORDER_S}s").agg(**RESULTS)
        query.stream(lnb.sources.files(self._folder), sink, checkpoint=place / "checkpoint").wait()
        return place / "results"

    def result(self) -> pl.DataFrame:
        """What the sink has stored."""
        return tidy(pl.read_parquet(self.run() / "**/*.parquet", hive_partitioning=False))


class SparkStream:
    """Spark's stream, each time in new folders."""

    def __init__(self, session: Spark, folder: Path, work: Path) -> None:
        self._session, self._folder, self._work = session, folder, work
        self._numbers = itertools.count()

    def run(self) -> Path:
        """From start to end; returns the folder of results."""
        place = self._work / f"spark-{next(self._numbers)}"
        bound = f"{DISORDER_S} seconds"
        places = (place / "results", place / "checkpoint")
        self._session.stream(self._folder, "1 minute", "10 seconds", bound, *places, spark.TUNED)
        return place / "results"

    def result(self) -> pl.DataFrame:
        """What the sink has stored."""
        return tidy(pl.read_parquet(self.run() / "*.parquet"))


def tidy(found: pl.DataFrame) -> pl.DataFrame:
    """Columns, types and order alike."""
    return spark.tidy(found)


def expected(rows: pl.DataFrame) -> pl.DataFrame:
    """The batch query."""
    return tidy(lnb.windows(rows, time="ts", key="key").sliding("1m", "10s").agg(**RESULTS).collect())


def closed(windows: pl.DataFrame, rows: pl.DataFrame) -> pl.DataFrame:
    """The windows that end before the last watermark, 2 s behind the latest time."""
    latest = rows.get_column("ts").max()
    assert latest is not None
    return windows.filter(pl.col("window_start") + timedelta(minutes=1, seconds=DISORDER_S) <= latest)


def stream(rows: pl.DataFrame, options: argparse.Namespace, work: Path, targets: Targets) -> None:
    folder = work / "rows"
    tables.written_in_files(rows, folder, FILE_ROWS)
    few = rows.head(options.bytewax_rows)
    few_file = tables.written(few, work / "few.parquet")
    batches = [rows.slice(start, FILE_ROWS).rechunk() for start in range(0, rows.height, FILE_ROWS)]
    counts = {"ours": rows.height, "bare loop, in memory": rows.height}
    with contextlib.ExitStack() as stack:
        ours = Ours(folder, work)
        contenders = {
            "ours": Contender(ours.run, ours.result, apart=True),
            "bare loop, in memory": Contender(lambda: bare_loop.merge_slices(batches)),
        }
        all_windows = expected(rows)
        same({"batch": all_windows, "ours": contenders["ours"].result()})
        if not options.without_spark:
            session = stack.enter_context(spark.started(work))
            found = SparkStream(session, folder, work)
            contenders["spark local[2]"] = Contender(found.run, found.result, rounds=SLOW_ROUNDS)
            counts["spark local[2]"] = rows.height
            same({"batch, closed windows": closed(all_windows, rows), "spark": found.result()})
        if not options.without_bytewax:
            for name, count in (("bytewax", 1), ("bytewax, 2 processes", 2)):
                processes: Bytewax = stack.enter_context(bytewax_flow.started(few_file, work, count))
                contenders[name] = Contender(processes.run, processes.result, rounds=SLOW_ROUNDS)
                counts[name] = few.height
                same({"batch, fewer rows": expected(few), name: processes.result()})
        print(
            f"\nstream, sliding 1 min every 10 s, {DISORDER_S} s of disorder: {all_windows.height:,} windows, "
            f"results agree; {machine.load()}"
        )
        times = take_turns(contenders, options.rounds)
    show(times, counts)
    explain(ours, rows.height, len(batches))
    rate = rows.height / times.median("ours")
    ceiling = rows.height / times.median("bare loop, in memory")
    print(f"  ours does {rate / ceiling:.0%} of the bare loop's {ceiling / 1e6:.1f} million events/s")
    targets.at_least("stream: million events/s", rate / 1e6, 6)
    for name, limit in (("spark local[2]", 15), ("bytewax", 75)):
        what = f"stream: ours / {name}, events/s"
        if name in contenders:
            targets.at_least(what, rate / (counts[name] / times.median(name)), limit)
        else:
            targets.not_measured(what, "left out on request")


def explain(ours: Ours, rows: int, batches: int) -> None:
    """One more run, with the package's functions timed from outside."""
    with breakdown.timing() as clock:
        begin = time.perf_counter()
        ours.run()
        total_s = time.perf_counter() - begin
    print("\nwhere the time of a stream goes, from one more run")
    breakdown.show(clock, total_s, batches, rows)


def memory(rows: pl.DataFrame, options: argparse.Namespace, work: Path, targets: Targets) -> None:
    folder = work / "again"
    tables.written_in_files(rows, folder, FILE_ROWS)
    turns = max(1, round(options.memory_rows / rows.height))
    script = Path(__file__).resolve().parent / "support" / "endless_stream.py"
    command = [
        sys.executable,
        str(script),
        str(folder),
        str(turns),
        str(rows.height // options.keys),
        str(work / "endless"),
    ]
    answer = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    found: Mapping[str, Any] = json.loads(answer.stdout)
    marks = found["after"]
    events = marks[-1][0]
    print(f"\nmemory: {events:,} events, {turns} times the same files, each time later: {found['seconds']:.1f} s")
    for share in (0.1, 0.25, 0.5, 0.75, 1.0):
        done, now, most = marks[max(0, round(len(marks) * share) - 1)]
        print(f"  after {done:12,} events: {now / 1e9:.2f} GB resident, peak {most / 1e9:.2f} GB")
    targets.at_most(f"memory: GB resident over {events:,} streamed events", found["peak_bytes"] / 1e9, 1.5)
    shutil.rmtree(folder)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", metavar="PART,...", help=f"some of {', '.join(PARTS)}")
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--keys", type=int, default=1_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--bytewax-rows", type=int, default=400_000)
    parser.add_argument("--memory-rows", type=int, default=100_000_000)
    parser.add_argument("--without-spark", action="store_true")
    parser.add_argument("--without-bytewax", action="store_true")
    options = parser.parse_args()
    parts = chosen(options.only, PARTS)
    left_out = {"pyspark": options.without_spark, "bytewax": options.without_bytewax}
    print(machine.describe(("polars", "numpy", *(name for name, out in left_out.items() if not out))))
    print(
        f"{options.rows:,} rows in files of {FILE_ROWS:,} (Bytewax: the first {options.bytewax_rows:,}), "
        f"{options.keys:,} keys; {options.rounds} rounds in turn, {SLOW_ROUNDS} of Spark and Bytewax; "
        f"Polars with {pl.thread_pool_size()} threads"
    )
    targets = Targets()
    ordered = tables.table(options.rows, options.keys, max(options.rows // options.keys, 1))
    rows = tables.disordered(ordered, DISORDER_S)
    del ordered
    with tables.work_folder() as work:
        if "stream" in parts:
            stream(rows, options, Path(work), targets)
        if "memory" in parts:
            memory(rows, options, Path(work), targets)
    return targets.status


if __name__ == "__main__":
    raise SystemExit(main())
