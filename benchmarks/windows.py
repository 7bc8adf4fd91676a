"""Windows over a Parquet file: ours against DuckDB, Polars by hand, Polars group_by_dynamic and Spark.

    python benchmarks/windows.py [--only tumbling,sliding,overlap] [--rows 10000000] [--keys 1000] [--rounds 5]
                                 [--without-spark]

Every row is read from one file on disk (which the operating system keeps in memory), sorted by time, about one row a
second for each key. All contenders give the same windows with count, sum, mean and max, sorted by key and start; their
results are compared before anything is timed. Then they take turns, each in a process of its own, and medians are
printed. `group_by_dynamic`, which takes seconds, takes fewer turns. Spark's start and a first run are not counted. Its
targets are held to Spark as it comes, doing the whole job as the others do: the sorted result as a table here. Three
more lines help it: two shuffle partitions instead of 200; with these, Polars sorts what it brings; or the result is
thrown away ("noop" sink).

overlap: time follows rows read and rows of the result, not size / every.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
from support import machine, tables
from support.contest import Contender, Targets, Times, chosen, same, show, take_turns
from support.spark import DEFAULT, TUNED, Spark, started

import lepton_nb as lnb

PARTS = ("tumbling", "sliding", "overlap")
# Turns of a contender that takes seconds and is equally quick in each.
SLOW_ROUNDS = 2
ORDER = ["key", "window_start"]
AGGREGATES = [
    pl.len().cast(pl.Int64).alias("n"),
    pl.col("value").sum().alias("sum"),
    pl.col("value").mean().alias("mean"),
    pl.col("value").max().alias("max"),
]


def ours(file: Path, size: str, every: str) -> pl.DataFrame:
    query = lnb.windows(file, time="ts", key="key").sliding(size, every)
    results = {"n": lnb.count(), "sum": lnb.sum("value"), "mean": lnb.mean("value"), "max": lnb.max("value")}
    return query.agg(**results).collect()


def polars_truncate(file: Path, engine: str) -> pl.DataFrame:
    start = pl.col("ts").dt.truncate("1m").alias("window_start")
    return pl.scan_parquet(file).group_by("key", start).agg(AGGREGATES).sort(ORDER).collect(engine=engine)


def polars_slices(file: Path, engine: str) -> pl.DataFrame:
    """Aggregate 10 s slices, put each into its six windows, aggregate again."""
    slices = (
        pl.scan_parquet(file)
        .group_by("key", pl.col("ts").dt.truncate("10s").alias("slice"))
        .agg(
            pl.len().cast(pl.Int64).alias("n"),
            pl.col("value").sum().alias("sum"),
            pl.col("value").max().alias("max"),
        )
    ).collect(engine=engine)
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
        .collect(engine=engine)
    )


def polars_dynamic(file: Path, size: str, every: str, offset: str) -> pl.DataFrame:
    """`offset` moves the first window back, else those that start before a key's first row are missing."""
    grouped = pl.scan_parquet(file).group_by_dynamic("ts", every=every, period=size, offset=offset, group_by="key")
    return grouped.agg(AGGREGATES).rename({"ts": "window_start"}).sort(ORDER).collect()


def duckdb_windows(file: Path, overlap: int, every_s: int) -> pl.DataFrame:
    every_us = every_s * 1_000_000
    one = f"""
        select key, epoch_us(ts) // {every_us} * {every_us} as window_start,
               count(*) as n, sum(value) as sum, avg(value) as mean, max(value) as max
        from read_parquet('{file}') group by all order by 1, 2
    """
    many = f"""
        with slices as (
            select key, epoch_us(ts) // {every_us} as slice,
                   count(*) as n, sum(value) as sum, max(value) as max
            from read_parquet('{file}') group by all),
        spread as (select key, slice - unnest(range({overlap})) as slice, n, sum, max from slices)
        select key, slice * {every_us} as window_start, sum(n)::bigint as n, sum(sum) as sum,
               sum(sum) / sum(n) as mean, max(max) as max
        from spread group by all order by 1, 2
    """
    found = pl.from_arrow(connect().sql(many if overlap > 1 else one).to_arrow_table())
    assert isinstance(found, pl.DataFrame)
    return found.with_columns(pl.col("window_start").cast(pl.Datetime("us", "UTC")))


def apart(function: Callable[..., pl.DataFrame], *arguments: Any, rounds: int | None = None) -> Contender:
    return Contender(functools.partial(function, *arguments), rounds=rounds, apart=True)


def ours_apart(file: Path, size: str, every: str) -> Contender:
    return Contender(functools.partial(ours, file, size, every), lambda: plain(ours(file, size, every)), apart=True)


def plain(found: pl.DataFrame) -> pl.DataFrame:
    return found.drop("window_end")


def contest(title: str, contenders: dict[str, Contender], rows: int, rounds: int) -> Times:
    agreed = same({name: contender.result() for name, contender in contenders.items()})
    print(f"\n{title}: {agreed.height:,} windows, results agree; {machine.load()}")
    del agreed
    times = take_turns(contenders, rounds)
    show(times, rows)
    return times


def tumbling(file: Path, options: argparse.Namespace, spark: Spark | None, targets: Targets) -> Times:
    contenders = {
        "ours": ours_apart(file, "1m", "1m"),
        "duckdb": apart(duckdb_windows, file, 1, 60),
        "polars by hand, streaming": apart(polars_truncate, file, "streaming"),
        "polars by hand, in memory": apart(polars_truncate, file, "in-memory"),
        "polars group_by_dynamic": apart(polars_dynamic, file, "1m", "1m", "0s", rounds=SLOW_ROUNDS),
        **spark_contender(spark, file, "1 minute", None),
    }
    times = contest("tumbling 1 min", contenders, options.rows, options.rounds)
    targets.at_most("tumbling 1 min: ours / DuckDB", times.ratio("ours", "duckdb"), 1.0)
    spark_target(times, targets, "tumbling 1 min: Spark local[2] / ours", 8)
    return times


def sliding(file: Path, options: argparse.Namespace, spark: Spark | None, targets: Targets) -> Times:
    contenders = {
        "ours": ours_apart(file, "1m", "10s"),
        "duckdb, slices by hand": apart(duckdb_windows, file, 6, 10),
        "polars by hand, streaming": apart(polars_slices, file, "streaming"),
        "polars by hand, in memory": apart(polars_slices, file, "in-memory"),
        "polars group_by_dynamic": apart(polars_dynamic, file, "1m", "10s", "-50s", rounds=SLOW_ROUNDS),
        **spark_contender(spark, file, "1 minute", "10 seconds"),
    }
    times = contest("sliding 1 min every 10 s", contenders, options.rows, options.rounds)
    ratio = times.ratio("polars group_by_dynamic", "ours")
    targets.at_least("sliding 1 min every 10 s: Polars group_by_dynamic / ours", ratio, 10)
    spark_target(times, targets, "sliding 1 min every 10 s: Spark local[2] / ours", 15)
    return times


def overlap(folder: Path, options: argparse.Namespace, targets: Targets) -> None:
    """60 s every 1 s beside tumbling 1 s: as many windows, each over 60 times as many rows."""
    span_s = max(1, round(3_600 * options.rows / 10_000_000))
    file = tables.written(tables.table(options.rows, options.keys, span_s), folder / "dense.parquet")
    contenders = {
        "60 s every 1 s": apart(ours, file, "60s", "1s"),
        "tumbling 1 s": apart(ours, file, "1s", "1s"),
    }
    heights = {name: contender.result().height for name, contender in contenders.items()}
    said = ", ".join(f"{name}: {height:,} windows" for name, height in heights.items())
    print(f"\noverlap, {options.rows:,} rows in {span_s:,} s: {said}; {machine.load()}")
    times = take_turns(contenders, options.rounds)
    show(times, options.rows, ours="tumbling 1 s")
    targets.at_most("60 s every 1 s / tumbling 1 s", times.ratio("60 s every 1 s", "tumbling 1 s"), 2.5)


@functools.cache
def connect() -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect()
    connection.execute(f"set threads = {os.cpu_count()}; set timezone = 'UTC'")
    return connection


def spark_contender(spark: Spark | None, file: Path, size: str, every: str | None) -> dict[str, Contender]:
    if spark is None:
        return {}
    plain, tuned = spark.windows(file, size, every, DEFAULT), spark.windows(file, size, every, TUNED)
    return {
        # As many turns as ours: its compiler still makes it quicker after several.
        "spark local[2]": Contender(plain.whole, plain.result),
        "spark, 2 partitions": Contender(tuned.whole, tuned.result),
        "spark, 2, sorted by Polars": Contender(tuned.result),
        "spark, 2, result discarded": Contender(tuned.discard, tuned.result),
    }


def spark_target(times: Times, targets: Targets, what: str, limit: float) -> None:
    if "spark local[2]" in times.taken:
        targets.at_least(what, times.ratio("spark local[2]", "ours"), limit)
    else:
        targets.not_measured(what, "--without-spark")


def beside_bandwidth(found: dict[str, Times], file: Path, rows: int) -> None:
    """Rows a second as bytes a second, beside what the memory could do."""
    rates = machine.bandwidth()
    said = ", ".join(f"{name} {rate / 1e9:.1f} GB/s" for name, rate in rates.items())
    print(f"\nmemory bandwidth (NumPy on arrays of 1 GiB, one thread a core): {said}")
    on_disk = file.stat().st_size / rows
    for name, times in found.items():
        rate = rows / times.median("ours")
        print(
            f"  ours, {name}: {rate / 1e6:.1f} million rows/s = {rate * tables.ROW_BYTES / 1e9:.2f} GB/s of columns "
            f"({tables.ROW_BYTES} bytes a row, {rate * on_disk / 1e9:.2f} GB/s in the file), "
            f"{rate * tables.ROW_BYTES / rates['copy']:.1%} of copy"
        )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", metavar="PART,...", help=f"some of {', '.join(PARTS)}")
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--keys", type=int, default=1_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--without-spark", action="store_true")
    options = parser.parse_args()
    parts = chosen(options.only, PARTS)
    packages = ("polars", "duckdb", "numpy") + (() if options.without_spark else ("pyspark",))
    print(machine.describe(packages))
    print(
        f"{options.rows:,} rows, {options.keys:,} keys; {options.rounds} rounds in turn, {SLOW_ROUNDS} of "
        f"group_by_dynamic; count, sum, mean, max; Polars with {pl.thread_pool_size()} threads"
    )
    targets = Targets()
    found: dict[str, Times] = {}
    with tables.work_folder() as work:
        frame = tables.table(options.rows, options.keys, max(options.rows // options.keys, 1))
        file = tables.written(frame, Path(work) / "rows.parquet")
        del frame
        print(f"one Parquet file of {file.stat().st_size / 1e6:.0f} MB")
        needed = not options.without_spark and {"tumbling", "sliding"} & set(parts)
        with started(Path(work)) if needed else contextlib.nullcontext() as spark:
            batch: dict[str, Callable[..., Times]] = {"tumbling": tumbling, "sliding": sliding}
            for name in batch:
                if name in parts:
                    found[name] = batch[name](file, options, spark, targets)
        if "overlap" in parts:
            overlap(Path(work), options, targets)
        if found:
            beside_bandwidth(found, file, options.rows)
    return targets.status


if __name__ == "__main__":
    raise SystemExit(main())
