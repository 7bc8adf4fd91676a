"""Results as a table of a DuckDB file."""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from lepton_nb.errors import WindowError
from lepton_nb.windowing.partials import named
from lepton_nb.windowing.sinks.base import Sink

if TYPE_CHECKING:
    import duckdb

# Of each table that streams write: what it holds, and the last batch in it.
NOTES = "lepton_nb_sinks"
PATIENCE_S = 30.0
POLL_S = 0.05


def _holds(dtype: pl.DataType, kind: type[pl.DataType]) -> bool:
    """Whether values of a nested type have parts of another."""
    if isinstance(dtype, pl.Struct):
        return any(_holds(inner, kind) for inner in dtype.to_schema().values())  # type: ignore[arg-type]
    if isinstance(dtype, pl.List | pl.Array):
        return _holds(dtype.inner, kind)  # type: ignore[arg-type]
    return dtype == kind


class DuckDBSink(Sink):
    """See `lepton_nb.windowing.sinks.duckdb`. The file is opened for each batch anew, so that others get at it too."""

    name = "duckdb"

    def __init__(
        self,
        path: str | os.PathLike[str],
        table: str = "windows",
        *,
        patience_s: float = PATIENCE_S,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        if not isinstance(table, str) or not table or table == NOTES:
            raise WindowError(f"the table of a duckdb sink needs a name of its own, not {table!r}")
        self._path = Path(path).expanduser().absolute()
        self._table = table
        self._patience_s, self._clock, self._sleep = patience_s, clock, sleep
        self._schema: pl.Schema | None = None
        self._window: list[str] = []
        self._refires = False

    def open(self, schema: pl.Schema, keys: Sequence[str], *, refires: bool) -> None:
        self._window = [*keys, "window_start", "window_end"]
        self._refires = refires
        note = json.dumps({"columns": {k: str(v) for k, v in schema.items()}, "keys": list(keys)}, sort_keys=True)
        for name, dtype in schema.items():
            if dtype in (pl.Object, pl.Null, pl.Unknown):
                raise WindowError(f"DuckDB cannot store column {name!r}, which is {dtype}; leave it out of the query")
            inside = {
                kind for kind in (pl.Duration, pl.Int128, pl.UInt128) if dtype.is_nested() and _holds(dtype, kind)
            }
            if inside:
                raise WindowError(
                    f"DuckDB cannot give back column {name!r}, which has {inside.pop().__name__} values in lists; "
                    "cast the column before the query, for example to Int64, or use a Parquet sink",
                    column=name,
                )
        twice = [name for name in schema if sum(other.lower() == name.lower() for other in schema) > 1]
        if twice:
            raise WindowError(
                f"DuckDB does not tell {' from '.join(map(repr, twice))}, as it ignores case; rename one in the query",
                names=tuple(twice),
            )
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._connected() as connection:
            _run(connection, "CREATE TABLE IF NOT EXISTS lepton_nb_sinks (name VARCHAR, note VARCHAR, batch BIGINT)")
            known = _run(connection, "SELECT note FROM lepton_nb_sinks WHERE name = ?", [self._table])
            there = _run(connection, "SELECT 1 FROM information_schema.tables WHERE table_name = ?", [self._table])
            if known and known[0][0] != note:
                raise WindowError(
                    f"the table {self._table!r} in {self._path} holds the results of another query; "
                    "give the sink another table or file, or drop this one",
                    path=str(self._path),
                    table=self._table,
                )
            if there and not known:
                raise WindowError(
                    f"{self._path} holds a table {self._table!r} that no stream has written; "
                    "give the sink another table: sinks.duckdb(path, table=...)",
                    path=str(self._path),
                    table=self._table,
                )
            if not there:
                with _rows(connection, encoded(pl.DataFrame(schema=schema))) as given:
                    _run(connection, f"CREATE TABLE {quoted(self._table)} AS SELECT * FROM {given}")  # noqa: S608
            if known and not there:
                # Somebody dropped the table: its results are computed anew.
                _run(connection, "DELETE FROM lepton_nb_sinks WHERE name = ?", [self._table])
            if not (known and there):
                _run(connection, "INSERT INTO lepton_nb_sinks VALUES (?, ?, -1)", [self._table, note])
        self._schema = schema

    def write(self, batch: int, rows: pl.DataFrame, retracted: pl.DataFrame) -> None:
        schema = self._opened()
        table = quoted(self._table)
        with self._connected() as connection:
            stored = _run(connection, "SELECT batch FROM lepton_nb_sinks WHERE name = ?", [self._table])
            if not stored:
                raise WindowError(
                    f"the note on {self._table!r} in {self._path} is gone; start the stream with a new file",
                    path=str(self._path),
                )
            last = stored[0][0]
            if batch < last:
                raise WindowError(
                    f"{self._table!r} in {self._path} holds batches up to {last}, and batch {batch} is to be written: "
                    "another run's results; start the stream with that run's checkpoint, or give the sink another file",
                    path=str(self._path),
                    batch=batch,
                    last=last,
                )
            # Identifiers are quoted, values are bound: no statement takes anything else from outside.
            replaces = self._refires or batch == last
            for windows in [retracted, rows.select(map(named, self._window))] if replaces else [retracted]:
                if windows.height:
                    with _rows(connection, encoded(windows.select(map(named, self._window)))) as given:
                        same = (f"{table}.{n} IS NOT DISTINCT FROM {given}.{n}" for n in map(quoted, self._window))
                        # The bounds let DuckDB pass over most of the table.
                        start = f"(SELECT min(window_start) FROM {given})"  # noqa: S608
                        stop = f"(SELECT max(window_start) FROM {given})"  # noqa: S608
                        near = f"{table}.window_start BETWEEN {start} AND {stop}"
                        _run(connection, f"DELETE FROM {table} USING {given} WHERE {near} AND {' AND '.join(same)}")  # noqa: S608
            if rows.height:
                with _rows(connection, encoded(rows.select(map(named, schema)))) as given:
                    _run(connection, f"INSERT INTO {table} SELECT * FROM {given}")  # noqa: S608
            _run(connection, "UPDATE lepton_nb_sinks SET batch = ? WHERE name = ?", [batch, self._table])

    def table(self) -> pl.DataFrame:
        schema = self._opened()
        with self._connected(read_only=True) as connection:
            found = pl.from_arrow(connection.table(quoted(self._table)).to_arrow_table())
        assert isinstance(found, pl.DataFrame)
        return decoded(found, schema).sort(map(named, self._window), maintain_order=True)

    def _opened(self) -> pl.Schema:
        if self._schema is None:
            raise WindowError("the duckdb sink is not open; call open(schema, keys, refires=...) first")
        return self._schema

    @contextlib.contextmanager
    def _connected(self, read_only: bool = False) -> Iterator[duckdb.DuckDBPyConnection]:
        """A connection with a transaction, which is stored at the end, or not at all."""
        try:
            import duckdb
        except ImportError as error:
            raise WindowError("a duckdb sink needs DuckDB; pip install duckdb") from error

        connection: duckdb.DuckDBPyConnection = self._connect(duckdb, read_only)
        try:
            connection.begin()
            yield connection
            connection.commit()
        except duckdb.Error as error:
            raise WindowError(
                f"the results cannot be written to or read from {self._path}: {error}; make room or give another file, "
                "then start the stream again: it goes on where it was",
                path=str(self._path),
            ) from error
        finally:
            # What was not committed is rolled back.
            connection.close()

    def _connect(self, duckdb: Any, read_only: bool) -> Any:
        until_s = self._clock() + self._patience_s
        while True:
            try:
                return duckdb.connect(str(self._path), read_only=read_only)
            except (duckdb.IOException, duckdb.ConnectionException) as error:
                # Others may read the file between batches: their turn ends, or not.
                busy = isinstance(error, duckdb.ConnectionException) or "lock" in str(error)
                if not busy or self._clock() >= until_s:
                    advice = "close it there" if busy else "give a path of a DuckDB file, or of one that can be made"
                    raise WindowError(
                        f"{self._path} cannot be opened: {error}; {advice}", path=str(self._path)
                    ) from error
            except duckdb.Error as error:
                raise WindowError(
                    f"{self._path} cannot be opened: {error}; give a path of a DuckDB file, or of one that can be made",
                    path=str(self._path),
                ) from error
            self._sleep(POLL_S)


def quoted(name: str) -> str:
    """`name` as an identifier of SQL."""
    return '"' + name.replace('"', '""') + '"'


def encoded(rows: pl.DataFrame) -> pl.DataFrame:
    """`rows` in types that DuckDB gives back as they are."""
    return rows.with_columns(
        named(name).cast(stored) for name, dtype in rows.schema.items() if (stored := _stored(dtype)) != dtype
    )


def decoded(rows: pl.DataFrame, schema: pl.Schema) -> pl.DataFrame:
    """What `encoded` made, with the types that it had."""
    return rows.select(named(name).cast(dtype) for name, dtype in schema.items())


def _stored(dtype: pl.DataType) -> pl.DataType:
    if isinstance(dtype, pl.Duration):
        return pl.Int64()
    if isinstance(dtype, pl.Enum | pl.Categorical):
        return pl.String()
    if dtype == pl.Int128:
        return pl.Decimal(38, 0)
    return dtype


def _run(connection: duckdb.DuckDBPyConnection, statement: str, values: Sequence[Any] = ()) -> list[Any]:
    return list(connection.execute(statement, list(values)).fetchall())


@contextlib.contextmanager
def _rows(connection: duckdb.DuckDBPyConnection, rows: pl.DataFrame) -> Iterator[str]:
    """The name under which a statement finds `rows`."""
    name = "lepton_nb_rows"
    connection.register(name, rows.to_arrow())
    try:
        yield name
    finally:
        connection.unregister(name)
