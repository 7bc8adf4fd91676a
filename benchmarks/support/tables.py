"""The rows that all contenders get, as Parquet files."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import polars as pl

OUT = Path(__file__).resolve().parents[1] / "out"
START_US = 1_357_000_000_000_000
# Columns ts, key and value of a row, in memory.
ROW_BYTES = 24


def work_folder() -> tempfile.TemporaryDirectory[str]:
    """A folder on the checkout's disk, removed afterwards: /tmp is in memory on some machines."""
    OUT.mkdir(exist_ok=True)
    return tempfile.TemporaryDirectory(prefix="work-", dir=OUT)


def table(rows: int, keys: int, span_s: int) -> pl.DataFrame:
    """Columns ts (Datetime us, UTC, sorted), key (Int64), value (Float64), spread evenly over `span_s` seconds."""
    random = np.random.default_rng(2013)
    return pl.DataFrame(
        {
            "ts": np.sort(random.integers(0, span_s * 1_000_000, rows)) + START_US,
            "key": random.integers(0, keys, rows),
            "value": random.normal(size=rows),
        }
    ).with_columns(pl.col("ts").cast(pl.Datetime("us", "UTC")))


def disordered(frame: pl.DataFrame, by_s: float) -> pl.DataFrame:
    """Every row comes up to `by_s` seconds late: in order of time plus a random delay shorter than that."""
    delay = np.random.default_rng(2014).integers(0, int(by_s * 1_000_000), frame.height)
    return frame[np.argsort(frame.get_column("ts").to_physical().to_numpy() + delay, kind="stable")]


def written(frame: pl.DataFrame, path: Path) -> Path:
    """One Parquet file as Polars writes it: zstd, row groups of 250,000 rows or so."""
    frame.write_parquet(path)
    return path


def written_in_files(frame: pl.DataFrame, folder: Path, rows: int) -> list[Path]:
    """Files of `rows` rows, in order."""
    folder.mkdir()
    starts = range(0, frame.height, rows)
    return [written(frame.slice(start, rows), folder / f"part-{i:04d}.parquet") for i, start in enumerate(starts)]
