"""A query bound to the columns of a table: all that a worker needs, and it travels."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import polars as pl

from lepton_nb.errors import WindowError
from lepton_nb.windowing import durations
from lepton_nb.windowing.aggregates import Aggregate
from lepton_nb.windowing.assign import Grid, LastRows, Layout, Rolling, RowBlocks, Sessions, Steps
from lepton_nb.windowing.calendars import Calendar, tick_ns
from lepton_nb.windowing.partials import ROWS, Partial, named
from lepton_nb.windowing.spec import END, START, CountingShape, GridShape, RollingShape, SessionShape, Spec

# No date further from 1970 can be shown: about 260,000 years.
FARTHEST_NS = 95_000_000 * durations.DAY_NS
# The epoch was a Thursday; weeks begin on Monday.
MONDAY_NS = 4 * durations.DAY_NS


@dataclass(frozen=True, slots=True)
class Plan:
    """A spec bound to a table's schema.

    `layout` counts in units of `calendar`; `out_of_order` and `allowed` in ticks of the time column.
    """

    spec: Spec
    layout: Layout
    calendar: Calendar
    key_dtypes: tuple[pl.DataType, ...]
    aggregates: tuple[tuple[str, Aggregate, pl.DataType | None], ...]
    out_of_order: int
    allowed: int

    @property
    def time(self) -> str:
        """The time column."""
        return self.spec.time

    @property
    def keys(self) -> tuple[str, ...]:
        """The key columns."""
        return self.spec.keys

    @property
    def time_dtype(self) -> pl.DataType:
        """Type of the time column: Datetime or Date."""
        return self.calendar.dtype

    @property
    def refires(self) -> bool:
        """True where a row can make a stream emit a window again.

        A late one within the allowed lateness does, and one that is just in time for a session that has ended.
        """
        return self.allowed > 0 or isinstance(self.layout, Sessions)

    @property
    def partials(self) -> tuple[Partial, ...]:
        """What every slice keeps, each once; the number of rows always, to count what is set aside."""
        needed: list[Partial] = [ROWS]
        for _, aggregate, dtype in self.aggregates:
            needed += aggregate.partials(dtype)
        return tuple(dict.fromkeys(needed))

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
        values: dict[str, pl.DataType] = {}
        for _, aggregate, dtype in self.aggregates:
            values |= _types(aggregate, dtype)
        return {**keys, self.time: self.time_dtype, **values}

    @property
    def columns(self) -> list[str]:
        """The columns that the query reads."""
        return list(self.input_schema)

    @property
    def farthest(self) -> int:
        """The last tick from the epoch, either way, that the time column can hold."""
        return min(2**63 - 1, FARTHEST_NS // tick_ns(self.time_dtype))

    def check_range(self, first: int, last: int, what: str) -> None:
        """Raise WindowError unless all ticks from `first` to `last` are times that the time column can hold."""
        if not -self.farthest <= first <= last <= self.farthest:
            raise _out_of_range(what, self.time, self.time_dtype)


def bind(spec: Spec, schema: pl.Schema) -> Plan:
    """Check `spec` against the columns of a table; raises WindowError that names the fix."""
    if spec.shape is None:
        raise WindowError(
            "the query has no windows yet; call .tumbling(size) or .sliding(size, every), "
            "or .cumulating, .session, .rolling, .counting"
        )
    if not spec.aggregates:
        raise WindowError("the query computes nothing yet; call .agg(name=lnb.count(), ...)")
    require((spec.time, *spec.keys, *(c for _, a in spec.aggregates for c in a.columns)), schema)
    dtype = schema[spec.time]
    check_time(spec.time, dtype)
    aggregates = []
    for name, aggregate in spec.aggregates:
        value_dtype = _value_dtype(aggregate, schema)
        if value_dtype is not None:
            aggregate.check(value_dtype)
        aggregates.append((name, aggregate, value_dtype))
    layout, calendar = _layout(spec, dtype)
    return Plan(
        spec=spec,
        layout=layout,
        calendar=calendar,
        key_dtypes=tuple(schema[key] for key in spec.keys),
        aggregates=tuple(aggregates),
        out_of_order=_ticks(spec.lateness.out_of_order_ns, "out_of_order", spec, dtype),
        allowed=_ticks(spec.lateness.allowed_ns, "allowed", spec, dtype),
    )


def _value_dtype(aggregate: Aggregate, schema: pl.Schema) -> pl.DataType | None:
    """The type of what an aggregate reads: that of its column, a struct of several, None for rows as such."""
    if aggregate.column:
        return schema[aggregate.column]
    return pl.Struct({column: schema[column] for column in aggregate.columns}) if aggregate.columns else None


def _types(aggregate: Aggregate, dtype: pl.DataType | None) -> dict[str, pl.DataType]:
    """The columns that an aggregate reads and their types."""
    if aggregate.column and dtype is not None:
        return {aggregate.column: dtype}
    return dict(dtype.to_schema()) if isinstance(dtype, pl.Struct) else {}  # type: ignore[arg-type]


def require(columns: Iterable[str], schema: pl.Schema) -> None:
    """Raise WindowError, with the closest name, for the first column that is not in the table."""
    for column in columns:
        if column not in schema:
            raise WindowError.unknown("column", column, schema.names())


def check_time(column: str, dtype: pl.DataType) -> None:
    """Raise WindowError, naming the cast, unless a column of this type holds times."""
    if isinstance(dtype, pl.Datetime) or dtype == pl.Date:
        return
    fixes: list[tuple[bool, str]] = [
        (dtype == pl.String, f"parse it: frame.with_columns(pl.col({column!r}).str.to_datetime(time_zone='UTC'))"),
        (dtype.is_integer(), f"say its unit: frame.with_columns(pl.from_epoch({column!r}, time_unit='ms'))"),
        (dtype == pl.Null, "it holds nothing but nulls; choose the column that holds the times"),
    ]
    fix = next((fix for applies, fix in fixes if applies), "choose the column that holds the times")
    raise WindowError(
        f"the time column {column!r} is {dtype}, not Datetime or Date; {fix}", column=column, dtype=str(dtype)
    )


def _layout(spec: Spec, dtype: pl.DataType) -> tuple[Layout, Calendar]:
    match spec.shape:
        case GridShape():
            return _grid(spec, spec.shape, dtype)
        case SessionShape(gap_ns):
            return Sessions(_ticks(gap_ns, "gap", spec, dtype)), Calendar(dtype)
        case RollingShape(size_ns, None):
            return Rolling(_ticks(size_ns, "size", spec, dtype)), Calendar(dtype)
        case RollingShape(_, int(rows)):
            return LastRows(rows), Calendar(dtype)
        case CountingShape(rows, every):
            return RowBlocks(rows, every), Calendar(dtype)
    raise AssertionError(spec.shape)


def _grid(spec: Spec, shape: GridShape, dtype: pl.DataType) -> tuple[Grid | Steps, Calendar]:
    if shape.zone and dtype == pl.Date:
        raise WindowError(f"column {spec.time!r} is Date, which has no zone; leave tz out: its days are civil days")
    make = Steps if shape.kind == "cumulating" else Grid
    turn = shape.size if shape.kind == "cumulating" else shape.every
    if shape.months:
        calendar = Calendar(dtype, shape.zone, months=True, shift=_ticks(shape.offset.ns, "offset", spec, dtype))
        return make(shape.size.months, shape.every.months, shape.offset.months % turn.months), calendar
    size = _ticks(shape.size.ns, "size", spec, dtype) + shape.inclusive
    every = _ticks(shape.every.ns, "every", spec, dtype)
    _ticks(shape.offset.ns, "offset", spec, dtype)
    offset_ns = (shape.offset.ns + (MONDAY_NS if shape.weeks else 0)) % turn.ns
    return make(size, every, offset_ns // tick_ns(dtype)), Calendar(dtype, shape.zone)


def _ticks(length_ns: int, what: str, spec: Spec, dtype: pl.DataType) -> int:
    tick = tick_ns(dtype)
    if abs(length_ns) // tick > min(2**63 - 1, FARTHEST_NS // tick):
        raise _out_of_range(f"{what}={durations.text(length_ns)!r}", spec.time, dtype)
    if length_ns % tick:
        raise WindowError(
            f"{what}={durations.text(length_ns)!r} is not a whole number of ticks of column {spec.time!r}, "
            f"which is {dtype} (one tick: {durations.text(tick)}); use a multiple of a tick, "
            "or cast the column to a finer type",
            **{what: length_ns},
        )
    return length_ns // tick


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


def slice_of(plan: Plan) -> pl.Expr:
    """The slice of a row's time, as the layout's `slice_of` numbers it."""
    layout = plan.layout
    assert isinstance(layout, Grid | Steps | Rolling)
    found: pl.Expr = layout.slice_of(plan.calendar.units(named(plan.time)))
    return found
