"""Batch windows: ours against hand-written Polars, DuckDB and Polars group_by_dynamic, in one process.

    python benchmarks/windows.py [--rows 10000000] [--keys 1000] [--repeats 5]

Rows come about once a second for each key, sorted by time. All contenders give the same windows, sorted by
key and start, and their results are compared before anything is timed. They take turns; the medians are printed.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import time
from collections.abc import Callable

import duckdb
import numpy as np
import polars as pl

import lepton_nb as lnb

TARGET = 1.3
START_US = 1_357_000_000_000_000
Contender = Callable[[], pl.DataFrame]


def table(rows: int, keys: int) -> pl.DataFrame:
    """Columns ts (Datetime us, UTC), key (Int64), value (Float64)."""
    random = np.random.default_rng(2013)
    span_us = max(rows // keys, 1) * 1_000_000
    return pl.DataFrame(
        {
            "ts": np.sort(random.integers(0, span_us, rows)) + START_US,
            "key": random.integers(0, keys, rows),
            "value": random.normal(size=rows),
        }
    ).with_columns(pl.col("ts").cast(pl.Datetime("us", "UTC")))


AGGREGATES = [
    pl.len().cast(pl.Int64).alias("n"),
    pl.col("value").sum().alias("sum"),
    pl.col("value").mean().alias("mean"),
    pl.col("value").max().alias("max"),
]
ORDER = ["key", "window_start"]


def ours(frame: pl.DataFrame, size: str, every: str) -> pl.DataFrame:
    query = lnb.windows(frame, time="ts", key="key").sliding(size, every)
    results = {"n": lnb.count(), "sum": lnb.sum("value"), "mean": lnb.mean("value"), "max": lnb.max("value")}
    return query.agg(**results).collect().drop("window_end")


def polars_truncate(frame: pl.DataFrame) -> pl.DataFrame:
    start = pl.col("ts").dt.truncate("1m").alias("window_start")
    return frame.lazy().group_by("key", start).agg(AGGREGATES).sort(ORDER).collect()


def polars_slices(frame: pl.DataFrame) -> pl.DataFrame:
    """Aggregate 10 s slices, put each into its six windows, aggregate again."""
    slices = (
        frame.lazy()
        .group_by("key", pl.col("ts").dt.truncate("10s").alias("slice"))
        .agg(
            pl.len().cast(pl.Int64).alias("n"),
            pl.col("value").sum().alias("sum"),
            pl.col("value").max().alias("max"),
        )
    ).collect()
    shifted = [
        slices.lazy().with_columns((pl.col("slice") - pl.duration(seconds=10 * i)).alias("window_start"))
        for i in range(6)
    ]
    return (
        pl.concat(shifted)
        .group_by("key", "window_start")
        .agg(pl.col("n").sum(), pl.col("sum").sum(), pl.col("max").max())
        .with_columns((pl.col("sum") / pl.col("n")).alias("mean"))
        .select("key", "window_start", "n", "sum", "mean", "max")
        .sort(ORDER)
        .collect()
    )


def polars_dynamic(frame: pl.DataFrame, size: str, every: str, offset: str) -> pl.DataFrame:
    """`offset` moves the first window back, else those that start before a key's first row are missing."""
    grouped = frame.lazy().group_by_dynamic("ts", every=every, period=size, offset=offset, group_by="key")
    return grouped.agg(AGGREGATES).rename({"ts": "window_start"}).sort(ORDER).collect()


def duckdb_windows(connection: duckdb.DuckDBPyConnection, overlap: int, every_s: int) -> pl.DataFrame:
    answer = connection.sql(
        f"""
        with slices as (
            select key, epoch_us(ts) // {every_s * 1_000_000} as slice,
                   count(*) as n, sum(value) as sum, max(value) as max
            from frame group by all),
        spread as (select key, slice - unnest(range({overlap})) as slice, n, sum, max from slices)
        select key, slice * {every_s * 1_000_000} as window_start, sum(n)::bigint as n, sum(sum) as sum,
               sum(sum) / sum(n) as mean, max(max) as max
        from spread group by all order by 1, 2
        """
        if overlap > 1
        else f"""
        select key, epoch_us(ts) // {every_s * 1_000_000} * {every_s * 1_000_000} as window_start,
               count(*) as n, sum(value) as sum, avg(value) as mean, max(value) as max
        from frame group by all order by 1, 2
        """
    )
    found = pl.from_arrow(answer.to_arrow_table())
    assert isinstance(found, pl.DataFrame)
    return found.with_columns(pl.col("window_start").cast(pl.Datetime("us", "UTC")))


def compare(title: str, contenders: dict[str, Contender], repeats: int) -> float:
    """Print medians and ratios; returns ours over hand-written Polars."""
    from polars.testing import assert_frame_equal

    results = {name: run() for name, run in contenders.items()}
    expected = results["polars by hand"]
    for found in results.values():
        assert_frame_equal(found, expected, rel_tol=1e-9, abs_tol=1e-9)
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(repeats):
        for name, run in contenders.items():
            begin = time.perf_counter()
            run()
            times[name].append(time.perf_counter() - begin)
    medians = {name: statistics.median(taken) for name, taken in times.items()}
    print(f"\n{title}: {expected.height:,} windows, results agree")
    print(f"  {'':22}{'median s':>9} {'min':>7} {'max':>7}   ours / it")
    for name, median_s in medians.items():
        taken = times[name]
        print(f"  {name:22}{median_s:9.3f} {min(taken):7.3f} {max(taken):7.3f} {medians['ours'] / median_s:9.2f}")
    return medians["ours"] / medians["polars by hand"]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--keys", type=int, default=1_000)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    print(
        f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.2f}, "
        f"Python {platform.python_version()}, Polars {pl.__version__} "
        f"({pl.thread_pool_size()} threads), DuckDB {duckdb.__version__}"
    )
    print(f"{options.rows:,} rows, {options.keys:,} keys, {options.repeats} rounds in turn; count, sum, mean, max")
    frame = table(options.rows, options.keys)
    connection = duckdb.connect()
    connection.execute(f"set threads = {os.cpu_count()}; set timezone = 'UTC'")
    connection.register("frame", frame.to_arrow())
    ratios = [
        compare(
            "tumbling 1 min",
            {
                "ours": lambda: ours(frame, "1m", "1m"),
                "polars by hand": lambda: polars_truncate(frame),
                "duckdb": lambda: duckdb_windows(connection, 1, 60),
                "group_by_dynamic": lambda: polars_dynamic(frame, "1m", "1m", "0s"),
            },
            options.repeats,
        ),
        compare(
            "sliding 1 min every 10 s",
            {
                "ours": lambda: ours(frame, "1m", "10s"),
                "polars by hand": lambda: polars_slices(frame),
                "duckdb": lambda: duckdb_windows(connection, 6, 10),
                "group_by_dynamic": lambda: polars_dynamic(frame, "1m", "10s", "-50s"),
            },
            options.repeats,
        ),
    ]
    verdict = "met" if max(ratios) <= TARGET else "MISSED"
    print(f"\ntarget: at most {TARGET} times hand-written Polars; worst {max(ratios):.2f}: {verdict}")
    return 0 if max(ratios) <= TARGET else 1


if __name__ == "__main__":
    raise SystemExit(main())
