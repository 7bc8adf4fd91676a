"""Results as a Parquet dataset, one folder a day, one file a batch and day."""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import polars as pl

from lepton_nb.errors import WindowError
from lepton_nb.files import sync
from lepton_nb.windowing.partials import named
from lepton_nb.windowing.sinks.base import Sink

# Under this name each file notes which query it belongs to.
NOTE = "lepton_nb"
DATA = re.compile(r"batch-(\d{12})\.parquet")
DAY = re.compile(r"window_day=(\d{4,6}-\d{2}-\d{2})")
# Columns that a dataset with windows that can come again has besides.
BATCH, RETRACTED = "batch", "retracted"


class ParquetSink(Sink):
    """A folder such as `window_day=2013-01-31/batch-000000000012.parquet`; see `lepton_nb.windowing.sinks.parquet`."""

    name = "parquet"

    def __init__(self, path: str | os.PathLike[str]) -> None:
        text = os.fspath(path)
        if "://" in text:
            raise WindowError(
                f"a parquet sink writes to a local folder, not to {text}; copy the folder there afterwards"
            )
        self._path = Path(text).expanduser().absolute()
        self._schema: pl.Schema | None = None
        self._keys: tuple[str, ...] = ()
        self._refires = False
        self._note = ""
        self._last: int | None = None

    def open(self, schema: pl.Schema, keys: Sequence[str], *, refires: bool) -> None:
        self._keys, self._refires, self._last = tuple(keys), refires, None
        reserved = ["window_day", *([BATCH, RETRACTED] if refires else [])]
        if taken := [name for name in reserved if name in schema]:
            raise WindowError(f"the parquet sink needs the name {taken[0]!r} for itself; rename that aggregate or key")
        self._schema = schema
        described = {"columns": {k: str(v) for k, v in schema.items()}, "keys": list(keys), "refires": refires}
        self._note = json.dumps(described)
        with _writing(self._path):
            self._path.mkdir(parents=True, exist_ok=True)
            self._refuse_foreign()
            self._agree()
            for left in self._path.glob("window_day=*/_*.tmp"):
                # A write was interrupted; its batch comes again.
                left.unlink()

    def write(self, batch: int, rows: pl.DataFrame, retracted: pl.DataFrame) -> None:
        schema = self._opened()
        if self._refires:
            rows = pl.concat([self._marked(retracted, schema, batch, True), self._marked(rows, schema, batch, False)])
        elif retracted.height:
            raise WindowError(
                "windows were taken back from a parquet sink that was opened for final ones; open it anew"
            )
        name = f"batch-{batch:012d}.parquet"
        moves: list[tuple[Path, Path]] = []
        if self._last is None:
            self._refuse_other_run(batch)
        with _writing(self._path):
            try:
                for day, of_day in self._by_day(rows):
                    folder = self._path / f"window_day={day}"
                    folder.mkdir(exist_ok=True)
                    temporary = folder / f"_{name}.tmp"
                    moves.append((temporary, folder / name))
                    of_day.write_parquet(
                        temporary, compression="zstd", compression_level=1, metadata={NOTE: self._note}
                    )
                    sync(temporary)
            except BaseException:
                for temporary, _ in moves:
                    with contextlib.suppress(OSError):
                        temporary.unlink()
                raise
            if self._last is None or batch <= self._last:
                # It may have been written before, into other days.
                self._remove(batch, {final for _, final in moves})
            for temporary, final in moves:
                os.replace(temporary, final)
            for folder in {final.parent for _, final in moves} | {self._path}:
                sync(folder)
        self._last = batch

    def table(self) -> pl.DataFrame:
        schema = self._opened()
        order = [named(name) for name in (*self._keys, "window_start", "window_end")]
        files = self._files()
        if not files:
            return pl.DataFrame(schema=schema)
        scan = pl.scan_parquet(files, hive_partitioning=False, glob=False)
        if self._refires:
            # The last batch with a window has all of its rows: a rolling window has one for each row of its time.
            scan = scan.filter(pl.col(BATCH) == pl.col(BATCH).max().over(order), ~pl.col(RETRACTED))
        try:
            return scan.select(map(named, schema)).sort(order, maintain_order=True).collect()
        except pl.exceptions.PolarsError as error:
            raise WindowError(f"the dataset in {self._path} cannot be read: {error}", path=str(self._path)) from error

    def _opened(self) -> pl.Schema:
        if self._schema is None:
            raise WindowError("the parquet sink is not open; call open(schema, keys, refires=...) first")
        return self._schema

    def _marked(self, rows: pl.DataFrame, schema: pl.Schema, batch: int, retracted: bool) -> pl.DataFrame:
        missing = [pl.lit(None, dtype).alias(name) for name, dtype in schema.items() if name not in rows.columns]
        return rows.with_columns(missing).select(
            *map(named, schema), pl.lit(batch, pl.Int64).alias(BATCH), pl.lit(retracted).alias(RETRACTED)
        )

    def _by_day(self, rows: pl.DataFrame) -> list[tuple[str, pl.DataFrame]]:
        """Rows by the UTC day on which their window starts."""
        if not rows.height:
            return []
        start = rows.get_column("window_start")
        if isinstance(start.dtype, pl.Datetime):
            start = start.dt.convert_time_zone("UTC") if start.dtype.time_zone else start
        days = start.dt.date().alias("window_day")
        if days.min() == days.max():
            return [(str(days[0]), rows)]
        by_day = rows.with_columns(days).partition_by("window_day", as_dict=True, include_key=False)
        return [(str(day), of_day) for (day,), of_day in sorted(by_day.items())]

    def _remove(self, batch: int, kept: set[Path]) -> None:
        """Remove what an earlier write of this batch has left."""
        for old in self._files():
            if _number(old) == batch and old not in kept:
                old.unlink()
                sync(old.parent)

    def _files(self) -> list[Path]:
        return sorted(path for path in self._path.glob("window_day=*/batch-*.parquet") if DATA.fullmatch(path.name))

    def _refuse_other_run(self, batch: int) -> None:
        last = max(map(_number, self._files()), default=batch)
        if last > batch:
            raise WindowError(
                f"{self._path} holds batches up to {last}, and batch {batch} is to be written: another run's results; "
                "start the stream with that run's checkpoint, or give the sink an empty folder",
                path=str(self._path),
                batch=batch,
                last=last,
            )

    def _refuse_foreign(self) -> None:
        for found in self._path.iterdir():
            if found.name.startswith((".", "_")):
                continue
            inside = list(found.iterdir()) if found.is_dir() and DAY.fullmatch(found.name) else [found]
            for path in inside:
                if not (path.parent != self._path and (DATA.fullmatch(path.name) or path.name.startswith((".", "_")))):
                    raise WindowError(
                        f"{self._path} holds {path.relative_to(self._path)}, which a stream has not written; "
                        "give the sink a folder of its own",
                        path=str(path),
                    )

    def _agree(self) -> None:
        """Hold what this query will write against what is there: each file says which query it belongs to."""
        files = self._files()
        if not files:
            return
        try:
            found = pl.read_parquet_metadata(files[-1]).get(NOTE)
        except pl.exceptions.PolarsError as error:
            raise WindowError(f"{files[-1]} cannot be read: {error}; empty the folder", path=str(files[-1])) from error
        if found != self._note:
            raise WindowError(
                f"{self._path} holds the results of another query; give the sink another folder, or empty this one",
                path=str(self._path),
            )


def _number(file: Path) -> int:
    """The batch that a data file belongs to."""
    found = DATA.fullmatch(file.name)
    assert found is not None
    return int(found[1])


@contextlib.contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, pl.exceptions.ComputeError) as error:
        raise WindowError(
            f"the results cannot be written to {path}: {error}; make room or give another folder, then start the "
            "stream again: it goes on where it was",
            path=str(path),
        ) from error
