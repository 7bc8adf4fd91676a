"""Parquet files in rows: positions are row numbers, and cuts fall between row groups where they can."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import unquote

import polars as pl

from lepton_nb import announce
from lepton_nb.data import frames
from lepton_nb.errors import DataError
from lepton_nb.windowing.partials import named
from lepton_nb.windowing.sources.base import Part, Rows
from lepton_nb.windowing.sources.store import File, Store, is_local
from lepton_nb.windowing.sources.values import from_text

MAGIC = b"PAR1"
# What writers name the folder of a null.
NO_KEY = "__HIVE_DEFAULT_PARTITION__"


@dataclass(frozen=True)
class ParquetPart(Part):
    """Rows `start` to `stop` of each file, one after the other; `keys` are columns that its folders tell."""

    store: Store
    slices: tuple[tuple[str, int, int, Mapping[str, str]], ...]
    schema: Mapping[str, pl.DataType]

    def read(self) -> Rows:
        tables = [_read(self.store, path, start, stop, self.schema, keys) for path, start, stop, keys in self.slices]
        return Rows(pl.concat(tables) if len(tables) > 1 else tables[0])


@dataclass
class ParquetFormat:
    """What the source must know of Parquet files; footers are read once."""

    store: Store
    follow: bool
    _bounds: dict[tuple[str, int, str | None], list[int]] = field(default_factory=dict)

    def extent(self, file: File) -> int:
        """Rows of the file."""
        return self._ends(file)[-1]

    def forward(self, file: File, start: int, rows: int) -> tuple[int, int]:
        """Where about `rows` rows from `start` on end, and how many these are."""
        ends = self._ends(file)
        stop = _snap(ends, min(start + rows, ends[-1]), rows // 2)
        return stop, stop - start

    def cut(self, file: File, at: int, slack: int) -> int:
        """A good place for a cut near row `at`, at most `slack` rows away."""
        return _snap(self._ends(file), at, slack)

    def rows_left(self, file: File, start: int) -> int | None:
        """Rows from `start` on; None where that would mean one more look at a store far away."""
        if not is_local(file.path) and _key(file) not in self._bounds:
            return None
        return self.extent(file) - start

    def infer(self, files: Sequence[File], columns: Sequence[str]) -> pl.Schema | None:
        """The types of `columns`, from the first file, and of those that folders such as year=2013 tell, from all."""
        first = next((file for file in files if not self.follow or self.extent(file)), None)
        if first is None:
            return None
        found = _schema(self.store, first.path)
        for name in columns:
            if name not in found and name in _keys(first):
                found[name] = _key_type([_keys(file).get(name) for file in files])
        return pl.Schema({name: found[name] for name in frames.present(found, columns)})

    def part(self, channel: str, slices: Sequence[tuple[File, int, int]], schema: Mapping[str, pl.DataType]) -> Part:
        pieces = tuple(
            (file.path, start, stop, {name: text for name, text in _keys(file).items() if name in schema})
            for file, start, stop in slices
        )
        return ParquetPart(channel, self.store, pieces, schema)

    def _ends(self, file: File) -> list[int]:
        """Row numbers at which row groups end, from 0 on."""
        key = _key(file)
        if key not in self._bounds:
            self._bounds[key] = self._footer(file)
        return self._bounds[key]

    def _footer(self, file: File) -> list[int]:
        import pyarrow
        import pyarrow.parquet

        with self.store.open(file.path) as opened:
            if self.follow:
                # Writers that do not rename show a file before its end is there: it counts when it is whole.
                opened.seek(max(0, file.size - len(MAGIC)))
                if opened.read() != MAGIC:
                    return [0]
                opened.seek(0)
            try:
                metadata = pyarrow.parquet.read_metadata(opened)
            except (pyarrow.ArrowException, OSError) as error:
                raise _unreadable(file.path, error) from error
        ends = [0]
        for i in range(metadata.num_row_groups):
            ends.append(ends[-1] + metadata.row_group(i).num_rows)
        return ends


def _key(file: File) -> tuple[str, int, str | None]:
    return file.path, file.size, file.stamp


def _keys(file: File) -> dict[str, str]:
    """Columns and their values that the folders of a file tell, as in year=2013/month=1/a.parquet."""
    steps = (step.partition("=") for step in file.name.split("/")[:-1])
    return {name: unquote(text) for name, equals, text in steps if equals and name}


def _key_type(texts: Sequence[str | None]) -> pl.DataType:
    """The first type that takes all values."""
    values = pl.Series([None if text == NO_KEY else text for text in texts], dtype=pl.String)
    for dtype in (pl.Int64(), pl.Float64(), pl.Date()):
        if from_text(values, dtype).null_count() == values.null_count():
            return dtype
    return pl.String()


def _snap(ends: Sequence[int], at: int, slack: int) -> int:
    nearest = min(ends, key=lambda end: abs(end - at))
    return nearest if abs(nearest - at) <= slack else at


def _schema(store: Store, path: str) -> pl.Schema:
    try:
        if is_local(path):
            announce.read_file(path)
            return pl.Schema(pl.read_parquet_schema(path))
        with store.open(path) as opened:
            return pl.Schema(pl.read_parquet_schema(opened))
    except (pl.exceptions.PolarsError, OSError) as error:
        raise _unreadable(path, error) from error


def _read(
    store: Store, path: str, start: int, stop: int, schema: Mapping[str, pl.DataType], keys: Mapping[str, str]
) -> pl.DataFrame:
    try:
        found = _schema(store, path)
        # A column of the file goes before one of its folders.
        told = {name: text for name, text in keys.items() if name not in found}
        _fits(found, {name: dtype for name, dtype in schema.items() if name not in told}, path)
        columns = [name for name in schema if name not in told]
        if is_local(path):
            scan = pl.scan_parquet(path, hive_partitioning=False, glob=False)
            table = scan.select(map(named, columns)).slice(start, stop - start).collect()
        else:
            table = _read_remote(store, path, start, stop, columns)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise _unreadable(path, error) from error
    if table.height != stop - start:
        raise DataError(
            f"{path} has become shorter since it was first read; a source's files may only be added to", path=path
        )
    for name, text in told.items():
        value = from_text(pl.Series([None if text == NO_KEY else text], dtype=pl.String), schema[name])[0]
        table = table.with_columns(pl.lit(value, schema[name]).alias(name))
    return table.select(map(named, schema)) if told else table


def _read_remote(store: Store, path: str, start: int, stop: int, columns: Sequence[str]) -> pl.DataFrame:
    """Only the row groups and columns that are needed are fetched."""
    import pyarrow
    import pyarrow.parquet

    with store.open(path) as opened:
        try:
            file = pyarrow.parquet.ParquetFile(opened)
            frames.present(file.schema_arrow.names, columns)
            ends = [0]
            for i in range(file.num_row_groups):
                ends.append(ends[-1] + file.metadata.row_group(i).num_rows)
            groups = [i for i in range(file.num_row_groups) if ends[i] < stop and ends[i + 1] > start]
            read = file.read_row_groups(groups, columns=list(columns))
        except pyarrow.ArrowException as error:
            raise _unreadable(path, error) from error
    table = pl.from_arrow(read)
    assert isinstance(table, pl.DataFrame)
    first = ends[groups[0]] if groups else start
    return table.select(map(named, columns)).slice(start - first, stop - start)


def _fits(found: pl.Schema, schema: Mapping[str, pl.DataType], path: str) -> None:
    for name, dtype in schema.items():
        frames.present(found, [name])
        if found[name] != dtype:
            raise DataError(
                f"column {name!r} is {found[name]} in {path} and {dtype} in the other files; "
                "write it with one type in every file",
                path=path,
                column=name,
            )


def _unreadable(path: str, error: Exception) -> DataError:
    return DataError(f"{path} cannot be read as Parquet: {error}; write the file again, or take it away", path=path)
