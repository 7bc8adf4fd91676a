"""What a window query asks for, validated and frozen, and the same bound to the columns of a table."""

from __future__ import annotations

import zoneinfo
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import polars as pl

from lepton_nb.errors import WindowError
from lepton_nb.windowing import durations
from lepton_nb.windowing.aggregates import ROWS, Aggregate, Partial, Quantile
from lepton_nb.windowing.assign import Grid, check

START = "window_start"
END = "window_end"
TICK_NS = {"ns": 1, "us": 1_000, "ms": 1_000_000}

# No date further from 1970 can be shown: about 260,000 years.
FARTHEST_NS = 95_000_000 * durations.DAY_NS

Kind = Literal["tumbling", "sliding"]


@dataclass(frozen=True, slots=True)
class Shape:
    """The windows: lengths in nanoseconds; `zone` is the IANA zone whose civil days they follow, "" for UTC."""

    kind: Kind
    size_ns: int
    every_ns: int
    offset_ns: int
    zone: str = ""

    def __post_init__(self) -> None:
        check(self.size_ns, self.every_ns, self.offset_ns, durations.text)
        if not self.zone:
            return
        try:
            zoneinfo.ZoneInfo(self.zone)
        except (zoneinfo.ZoneInfoNotFoundError, ValueError) as error:
            raise WindowError.unknown("time zone", self.zone, zoneinfo.available_timezones()) from error
        if any(length_ns % durations.DAY_NS for length_ns in (self.size_ns, self.every_ns, self.offset_ns)):
            raise WindowError(
                f"tz={self.zone!r} needs a size and an offset of whole days, which then follow that zone's civil days; "
                "shorter windows take no tz (an offset such as '30m' aligns them with zones off the full hour)",
                tz=self.zone,
            )


@dataclass(frozen=True, slots=True)
class Spec:
    """A query without data. `shape` is None and `aggregates` empty until they are given."""

    time: str
    keys: tuple[str, ...]
    shape: Shape | None = None
    aggregates: tuple[tuple[str, Aggregate], ...] = ()

    def __post_init__(self) -> None:
        names = [*self.keys, START, END, *(name for name, _ in self.aggregates)]
        twice = {name for name in names if names.count(name) > 1}
        if twice:
            raise WindowError(
                f"the result would have two columns named {listed(sorted(twice))}; "
                f"give the key or the aggregate another name ({START} and {END} are taken)",
                names=tuple(sorted(twice)),
            )


@dataclass(frozen=True, slots=True)
class Plan:
    """A spec bound to a table's schema: all that a worker needs, and it travels."""

    time: str
    keys: tuple[str, ...]
    time_dtype: pl.DataType
    key_dtypes: tuple[pl.DataType, ...]
    grid: Grid
    zone: str
    aggregates: tuple[tuple[str, Aggregate, pl.DataType | None], ...]

    @property
    def partials(self) -> tuple[Partial, ...]:
        """What every slice keeps, each once; the number of rows always, to count what is set aside."""
        needed = [ROWS]
        for _, aggregate, dtype in self.aggregates:
            needed += aggregate.partials(dtype)
        return tuple(dict.fromkeys(needed))

    @property
    def quantiles(self) -> dict[str, tuple[float, ...]]:
        """The quantiles asked for, by column."""
        found: dict[str, dict[float, None]] = {}
        for _, aggregate, _ in self.aggregates:
            if isinstance(aggregate, Quantile):
                found.setdefault(aggregate.column, {})[aggregate.q] = None
        return {column: tuple(qs) for column, qs in found.items()}

    def value_dtype(self, column: str) -> pl.DataType | None:
        """Type of an aggregated column."""
        return next((dtype for _, aggregate, dtype in self.aggregates if aggregate.column == column), None)

    @property
    def result_schema(self) -> dict[str, pl.DataType]:
        """Columns and types of the result."""
        keys = dict(zip(self.keys, self.key_dtypes, strict=True))
        values = {name: aggregate.dtype(dtype) for name, aggregate, dtype in self.aggregates}
        return {**keys, START: self.time_dtype, END: self.time_dtype, **values}

    @property
    def input_schema(self) -> dict[str, pl.DataType]:
        """Columns that the query reads, and the types that it takes them to have."""
        keys = dict(zip(self.keys, self.key_dtypes, strict=True))
        values = {aggregate.column: dtype for _, aggregate, dtype in self.aggregates if dtype is not None}
        return {**keys, self.time: self.time_dtype, **values}

    @property
    def columns(self) -> list[str]:
        """The columns that the query reads."""
        return list(self.input_schema)

    def check_range(self, first: int, last: int, what: str) -> None:
        """Raise WindowError unless all ticks from `first` to `last` are times that the time column can hold."""
        farthest = _farthest(_tick_ns(self.time, self.time_dtype))
        if not -farthest <= first <= last <= farthest:
            raise _out_of_range(what, self.time, self.time_dtype)


def bind(spec: Spec, schema: pl.Schema) -> Plan:
    """Check `spec` against the columns of a table; raises WindowError that names the fix."""
    if spec.shape is None:
        raise WindowError("the query has no windows yet; call .tumbling(size) or .sliding(size, every)")
    if not spec.aggregates:
        raise WindowError("the query computes nothing yet; call .agg(name=lnb.count(), ...)")
    require((spec.time, *spec.keys, *(a.column for _, a in spec.aggregates if a.column)), schema)
    tick_ns = _tick_ns(spec.time, schema[spec.time])
    if spec.shape.zone and schema[spec.time] == pl.Date:
        raise WindowError(f"column {spec.time!r} is Date, which has no zone; leave tz out: its days are civil days")
    aggregates = []
    for name, aggregate in spec.aggregates:
        dtype = schema[aggregate.column] if aggregate.column else None
        if dtype is not None:
            aggregate.check(dtype)
        aggregates.append((name, aggregate, dtype))
    return Plan(
        time=spec.time,
        keys=spec.keys,
        time_dtype=schema[spec.time],
        key_dtypes=tuple(schema[key] for key in spec.keys),
        grid=_grid(spec, spec.shape, tick_ns, schema[spec.time]),
        zone=spec.shape.zone,
        aggregates=tuple(aggregates),
    )


def require(columns: Iterable[str], schema: pl.Schema) -> None:
    """Raise WindowError, with the closest name, for the first column that is not in the table."""
    for column in columns:
        if column not in schema:
            raise WindowError.unknown("column", column, schema.names())


def _tick_ns(column: str, dtype: pl.DataType) -> int:
    if isinstance(dtype, pl.Datetime):
        return TICK_NS[dtype.time_unit]
    if dtype == pl.Date:
        return durations.DAY_NS
    fixes: list[tuple[bool, str]] = [
        (dtype == pl.String, f"parse it: frame.with_columns(pl.col({column!r}).str.to_datetime(time_zone='UTC'))"),
        (dtype.is_integer(), f"say its unit: frame.with_columns(pl.from_epoch({column!r}, time_unit='ms'))"),
        (dtype == pl.Null, "it holds nothing but nulls; choose the column that holds the times"),
    ]
    fix = next((fix for applies, fix in fixes if applies), "choose the column that holds the times")
    raise WindowError(
        f"the time column {column!r} is {dtype}, not Datetime or Date; {fix}", column=column, dtype=str(dtype)
    )


def _grid(spec: Spec, shape: Shape, tick_ns: int, dtype: pl.DataType) -> Grid:
    lengths = {"size": shape.size_ns, "every": shape.every_ns, "offset": shape.offset_ns}
    for what, length_ns in lengths.items():
        if abs(length_ns) // tick_ns > _farthest(tick_ns):
            raise _out_of_range(f"{what}={durations.text(length_ns)!r}", spec.time, dtype)
        if length_ns % tick_ns:
            raise WindowError(
                f"{what}={durations.text(length_ns)!r} is not a whole number of ticks of column {spec.time!r}, "
                f"which is {dtype} (one tick: {durations.text(tick_ns)}); use a multiple of a tick, "
                "or cast the column to a finer type",
                **{what: length_ns},
            )
    return Grid(shape.size_ns // tick_ns, shape.every_ns // tick_ns, shape.offset_ns % shape.every_ns // tick_ns)


def _farthest(tick_ns: int) -> int:
    """The last tick from the epoch, either way, that a time column with ticks of this length can hold."""
    return min(2**63 - 1, FARTHEST_NS // tick_ns)


def _out_of_range(what: str, column: str, dtype: pl.DataType) -> WindowError:
    nanoseconds = isinstance(dtype, pl.Datetime) and dtype.time_unit == "ns"
    reach, fix = (
        (
            "from 1677 to 2262",
            f", or cast the column: frame.with_columns(pl.col({column!r}).dt.cast_time_unit('us'))",
        )
        if nanoseconds
        else ("about 260,000 years either way of 1970", "")
    )
    return WindowError(
        f"{what} reaches beyond the times that column {column!r}, which is {dtype}, can hold ({reach}); "
        f"use shorter windows{fix}",
        column=column,
        dtype=str(dtype),
    )


def listed(names: Iterable[str]) -> str:
    """Names as an error message lists them."""
    return ", ".join(repr(name) for name in names)
