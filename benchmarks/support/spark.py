"""Spark in this process's own Java machine: the same window queries over a file, and over a folder as a stream."""

from __future__ import annotations

import contextlib
import os
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

# Spark's own setting, and as many as it has threads here.
DEFAULT, TUNED = 200, 2
COLUMNS = ["key", "window_start", "n", "sum", "mean", "max"]


@dataclass(frozen=True)
class Windows:
    """A batch query. `result` brings all of it here, sorted, as the others do; `discard` computes it only.

    The query is made anew each time: one that has run keeps what it has shuffled, and would not run again.
    """

    session: Any
    rows: Any
    size: str
    every: str | None
    shuffle: int

    def _query(self) -> Any:
        self.session.conf.set("spark.sql.shuffle.partitions", self.shuffle)
        return aggregated(self.rows, self.size, self.every)

    def result(self) -> pl.DataFrame:
        """A table, through Arrow, sorted here: Spark's own sort takes longer."""
        found = pl.from_arrow(self._query().toArrow())
        assert isinstance(found, pl.DataFrame)
        return tidy(found)

    def whole(self) -> pl.DataFrame:
        """A table, sorted by Spark: the whole job, as the others do it."""
        query = self._query().orderBy("key", "window_start")
        found = pl.from_arrow(query.toArrow())
        assert isinstance(found, pl.DataFrame)
        return found

    def discard(self) -> None:
        """Into Spark's "noop" sink."""
        self._query().write.format("noop").mode("overwrite").save()


@dataclass(frozen=True)
class Spark:
    """A session with two threads."""

    session: Any

    def windows(self, file: Path, size: str, every: str | None, shuffle: int) -> Windows:
        """Windows over one Parquet file, in `shuffle` partitions after the shuffle."""
        return Windows(self.session, self.session.read.parquet(str(file)), size, every, shuffle)

    def stream(
        self, folder: Path, size: str, every: str, bound: str, out: Path, checkpoint: Path, shuffle: int
    ) -> None:
        """The same over a folder as a stream, one file a micro-batch, into Parquet files; until all is read."""
        self.session.conf.set("spark.sql.shuffle.partitions", shuffle)
        schema = self.session.read.parquet(str(folder)).schema
        rows = self.session.readStream.schema(schema).option("maxFilesPerTrigger", 1).parquet(str(folder))
        query = (
            aggregated(rows.withWatermark("ts", bound), size, every)
            .writeStream.outputMode("append")
            .trigger(availableNow=True)
            .option("checkpointLocation", str(checkpoint))
            .format("parquet")
            .start(str(out))
        )
        query.awaitTermination()


def aggregated(rows: Any, size: str, every: str | None) -> Any:
    """count, sum, mean and max by key and window."""
    from pyspark.sql import functions as f

    window = f.window("ts", size, every) if every else f.window("ts", size)
    value = f.col("value")
    grouped = rows.groupBy("key", window).agg(
        f.count("*").alias("n"), f.sum(value).alias("sum"), f.avg(value).alias("mean"), f.max(value).alias("max")
    )
    return grouped.withColumn("window_start", f.col("window.start")).select(*COLUMNS)


def tidy(found: pl.DataFrame) -> pl.DataFrame:
    """Columns, types and order of the other contenders."""
    return found.select(COLUMNS).with_columns(pl.col("window_start").cast(pl.Datetime("us", "UTC"))).sort(COLUMNS[:2])


@contextlib.contextmanager
def started(work: Path) -> Iterator[Spark]:
    """A session that ends with its Java machine."""
    # Else it warns of the name that the machine has.
    os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")
    warnings.filterwarnings("ignore", "PySpark does not yet fully support pandas", FutureWarning)
    from pyspark.sql import SparkSession

    settings = {
        "spark.driver.memory": "6g",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.driver.host": "127.0.0.1",
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.log.level": "ERROR",
        "spark.sql.session.timeZone": "UTC",
        "spark.local.dir": str(work / "spark"),
        "spark.sql.warehouse.dir": str(work / "spark-warehouse"),
    }
    builder = SparkSession.builder.master("local[2]").appName("benchmark")
    for name, value in settings.items():
        builder = builder.config(name, value)
    session = builder.getOrCreate()
    gateway = session.sparkContext._gateway
    try:
        yield Spark(session)
    finally:
        session.stop()
        # Stopping the session leaves its Java machine; it ends once its input does.
        gateway.shutdown()
        gateway.proc.stdin.close()
        gateway.proc.wait(60)
