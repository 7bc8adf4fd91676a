"""Any frame, in Polars form: the one place that knows which kinds of frame lepton_nb accepts.

Accepted: Polars (eager, lazy), pandas, pyarrow Table, Dask DataFrame, and a path, glob, folder or URL (or a
list of them) to Parquet, CSV or JSON lines. Files are told apart by their ending; nothing is unpickled.
"""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

import polars as pl
import polars.selectors as cs

from lepton_nb import announce
from lepton_nb.errors import DataError

if TYPE_CHECKING:
    import pandas
    import pyarrow
    from dask.dataframe import DataFrame as DaskFrame

Frame: TypeAlias = "pl.DataFrame | pl.LazyFrame | pandas.DataFrame | pyarrow.Table | DaskFrame | str | os.PathLike[str] | Sequence[str | os.PathLike[str]]"  # noqa: E501

T = TypeVar("T")

PARQUET = (".parquet", ".pq")
CSV = (".csv", ".csv.gz", ".csv.zst")
# Rows from which the type of a CSV column is told.
CSV_ROWS_LOOKED_AT = 10_000
JSON_LINES = (".jsonl", ".ndjson", ".json")
KINDS = "a Polars, pandas or Dask DataFrame, a pyarrow Table, or a path to Parquet, CSV or JSON lines"


def lazy(frame: Frame) -> pl.LazyFrame:
    """`frame` as a Polars LazyFrame; files are scanned, not read.

    Raises DataError for a kind that is not accepted, a missing file, or an unknown file ending.
    """
    if isinstance(frame, pl.LazyFrame):
        return frame
    if isinstance(frame, pl.DataFrame):
        return frame.lazy()
    paths = paths_of(frame)
    if paths is not None:
        files = files_of(paths)
        for file in files:
            announce.read_file(file)
        return _scan(files, has_key_folders(paths))
    if _is_a(frame, "pyarrow", "Table"):
        return _from_arrow(frame).lazy()
    if _is_a(frame, "pandas", "DataFrame"):
        return _from_pandas(frame).lazy()
    if is_dask(frame):
        return _from_pandas(frame.compute()).lazy()  # type: ignore[union-attr]
    raise DataError(f"cannot read a {type(frame).__name__} as a table; give {KINDS}")


def eager(frame: Frame, columns: Sequence[str] | None = None) -> pl.DataFrame:
    """`frame` as a Polars DataFrame in memory, with only `columns` if given (read from files selectively).

    Raises DataError for what `lazy` refuses, for a column that is not there (with the closest name), and
    for a file that cannot be read.
    """
    if isinstance(frame, pl.DataFrame):
        return frame if columns is None else frame.select(map(named, present(frame.columns, columns)))
    scanned = lazy(frame)
    if columns is not None:
        scanned = scanned.select(map(named, present(column_names(scanned), columns)))
    return _reading(scanned.collect)


def schema(frame: pl.DataFrame | pl.LazyFrame) -> pl.Schema:
    """Names and dtypes, without reading rows; DataError where a file cannot be read."""
    return frame.schema if isinstance(frame, pl.DataFrame) else _reading(frame.collect_schema)


def column_names(frame: pl.DataFrame | pl.LazyFrame) -> list[str]:
    """The column names, without reading rows."""
    return schema(frame).names()


def named(column: str) -> pl.Expr:
    """The column of exactly this name; `pl.col` would read "^...$" as a pattern, and "*" as all."""
    return cs.by_name(column).as_expr()


def present(known: Iterable[str], wanted: Iterable[str]) -> list[str]:
    """`wanted` as a list, once each is known to be among `known`; DataError names the closest otherwise."""
    names = list(known)
    chosen = list(wanted)
    for name in chosen:
        if name not in names:
            raise DataError.unknown("column", name, names)
    return chosen


def partitions(frame: Frame, count: int) -> list[Any]:
    """`frame` in about `count` parts, each of which a worker can read by itself.

    Files are split by file, or by rows where there are fewer Parquet files than `count`: such a part is a lazy scan
    of a few hundred bytes, and only the worker reads rows (the absolute path must mean the same there). Every part
    reads its files with the types of the whole table, and fails where the whole would. A frame in memory is sliced,
    and its rows travel. Parts are Polars LazyFrames, at least one; those of a Dask DataFrame are Dask `Delayed`
    objects that yield LazyFrames on a worker (submit them with `client.compute`). Row order is kept.
    """
    if count < 1:
        raise DataError(f"a frame cannot be split into {count} parts; give 1 or more")
    if is_dask(frame):
        from dask.delayed import delayed

        return [delayed(part_from_pandas)(part) for part in frame.to_delayed()]  # type: ignore[union-attr]
    paths = paths_of(frame)
    if paths is not None:
        # A worker may have been started in another folder.
        files = [file if "://" in file else os.path.abspath(file) for file in files_of(paths)]
        key_folders = has_key_folders(paths)
        known = schema(_scan(files, key_folders))
        if len(files) < count and _ending(files[0]) == "Parquet":
            scan = _scan(files, key_folders, known)
            rows = _reading(scan.select(pl.len()).collect).item()
            return [scan.slice(start, stop - start) for start, stop in _bounds(rows, count)]
        return [_scan(files[start:stop], key_folders, known) for start, stop in _bounds(len(files), count)]
    table = eager(frame)
    return [table.slice(start, stop - start).lazy() for start, stop in _bounds(table.height, count)]


def _bounds(total: int, count: int) -> list[tuple[int, int]]:
    count = max(1, min(count, total))
    return [(total * i // count, total * (i + 1) // count) for i in range(count)]


def paths_of(frame: Any) -> list[str | os.PathLike[str]] | None:
    """The paths, globs, folders or URLs that `frame` consists of; None where it is no path and no list of them."""
    if isinstance(frame, str | os.PathLike):
        return [frame]
    if isinstance(frame, list | tuple) and frame and all(isinstance(item, str | os.PathLike) for item in frame):
        return list(frame)
    return None


def files_of(paths: Iterable[str | os.PathLike[str]]) -> list[str]:
    """The files behind `paths`: URLs as they are, globs and folders expanded and sorted."""
    found: list[str] = []
    for item in paths:
        path = os.fspath(item)
        if "://" in path:
            found.append(path)
            continue
        path = os.path.expanduser(path)
        if os.path.isdir(path):
            inside = _inside(Path(path))
            if not inside:
                raise DataError(f"the folder {path} holds no Parquet, CSV or JSON-lines file", path=path)
            found += inside
        elif glob.has_magic(path) and not os.path.exists(path):
            matched = sorted(glob.glob(path, recursive=True))
            if not matched:
                raise DataError(f"no file matches {path}; check the pattern and the current folder", path=path)
            found += matched
        elif os.path.exists(path):
            found.append(path)
        else:
            raise DataError(f"there is no file {path}; check the name and the current folder", path=path)
    kinds = {_ending(file) for file in found}
    if None in kinds:
        strange = next(file for file in found if _ending(file) is None)
        raise DataError(
            f"cannot tell what {strange} holds; the name should end in {', '.join(PARQUET + CSV + JSON_LINES)}",
            path=strange,
        )
    if len(kinds) > 1:
        raise DataError(
            f"one table cannot mix kinds of file ({', '.join(sorted(k for k in kinds if k))}); read them apart"
        )
    return found


def _inside(folder: Path) -> list[str]:
    """The data files below `folder`, sorted. Names that begin with "." or "_" are left out, as other readers do:
    such are copies that editors keep, and what writers note beside the data."""
    return sorted(
        str(path)
        for path in folder.rglob("*")
        if path.is_file()
        and _ending(path.name) is not None
        and not any(part.startswith((".", "_")) for part in path.relative_to(folder).parts)
    )


def has_key_folders(paths: Iterable[str | os.PathLike[str]]) -> bool:
    """True if a folder among `paths` is divided into folders such as year=2013, each of which gives a column."""
    return any("=" in child.name for path in paths if os.path.isdir(path) for child in Path(path).iterdir())


def _ending(name: str) -> str | None:
    plain = name.split("?")[0].lower()
    for kind, endings in (("Parquet", PARQUET), ("CSV", CSV), ("JSON lines", JSON_LINES)):
        if plain.endswith(endings):
            return kind
    return None


def _scan(files: list[str], key_folders: bool, known: pl.Schema | None = None) -> pl.LazyFrame:
    """A scan of files of one kind; `known`: the schema to read them with, instead of the one they suggest."""
    kind = _ending(files[0])
    if kind == "Parquet":
        return pl.scan_parquet(files, schema=known, hive_partitioning=key_folders)
    if kind == "CSV":
        return _scan_csv(files) if known is None else pl.scan_csv(files, schema=known, try_parse_dates=True)
    return pl.scan_ndjson(files, schema=known)


def _scan_csv(files: list[str]) -> pl.LazyFrame:
    """A scan that takes times for times only where they are written year first: 1/2/2024 is two days."""
    scan = pl.scan_csv(files, try_parse_dates=True, infer_schema_length=CSV_ROWS_LOOKED_AT)
    times = [name for name, dtype in _reading(scan.collect_schema).items() if dtype in (pl.Date, pl.Datetime)]
    if not times:
        return scan
    written = pl.scan_csv(files, infer_schema=False).select(named(time).drop_nulls().first() for time in times)
    first = _reading(written.collect).row(0, named=True)
    other = {name: pl.String for name in times if not re.match(r"\s*[+-]?\d{4}-", first[name] or "")}
    if not other:
        return scan
    return pl.scan_csv(files, try_parse_dates=True, infer_schema_length=CSV_ROWS_LOOKED_AT, schema_overrides=other)


def _reading(read: Callable[[], T]) -> T:
    try:
        return read()
    except (pl.exceptions.PolarsError, OSError) as error:
        text = str(error)
        advice = "; look whether the file is whole, and what its name says"
        if "empty CSV" in text or "empty reader" in text:
            text, advice = "a file is empty", "; give one with rows"
        elif "object-store" in text:
            text, advice = text.splitlines()[0], "; look whether the address is right, and the network there"
        elif "NDJSON" in text:
            advice = "; a .json file holds one object a line"
        if "infer_schema_length" in text:
            text = text.splitlines()[0]
            advice = (
                f"; the first {CSV_ROWS_LOOKED_AT:,} rows look otherwise: read the file with "
                "polars.read_csv(file, infer_schema_length=None) and give the table"
            )
        raise DataError(f"the table cannot be read: {text}{advice}") from error


def part_from_pandas(part: Any) -> pl.LazyFrame:
    """A pandas table, such as a partition of a Dask DataFrame, with its columns as ours."""
    return _from_pandas(part).lazy()


def _from_pandas(frame: Any) -> pl.DataFrame:
    if frame.columns.has_duplicates:
        raise DataError("the pandas DataFrame has two columns of the same name; rename one")
    named_index = any(name is not None for name in frame.index.names)
    return pl.from_pandas(frame, include_index=named_index)


def _from_arrow(table: Any) -> pl.DataFrame:
    converted = pl.from_arrow(table)
    assert isinstance(converted, pl.DataFrame)
    return converted


def _is_a(value: object, module: str, name: str) -> bool:
    """True if `value` is of class `name` from `module`, without importing that module."""
    return any(c.__name__ == name and c.__module__.split(".")[0] == module for c in type(value).__mro__)


def is_dask(value: object) -> bool:
    """True for a Dask DataFrame, without importing Dask."""
    kind = type(value)
    return kind.__module__.split(".")[0] in ("dask", "dask_expr") and hasattr(value, "to_delayed")
