"""A query out of plain values, such as those of a form: which windows and aggregates there are, and what each takes.

Errors are the query's own. They begin with the label of the field that is wrong, and carry its name as `field`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import polars as pl

from lepton_nb.errors import LeptonError, WindowError
from lepton_nb.windowing import durations, functions
from lepton_nb.windowing.aggregates import Aggregate
from lepton_nb.windowing.plan import bind
from lepton_nb.windowing.query import WindowQuery, windows


@dataclass(frozen=True, slots=True)
class Parameter:
    """One value that a kind of windows, or an aggregate, takes. An optional one may be left out."""

    name: str
    label: str
    kind: Literal["duration", "rows", "number", "zone"]
    default: str | int | float | None
    help: str
    optional: bool = False


@dataclass(frozen=True, slots=True)
class WindowKind:
    """A kind of windows: the method of a query that asks for it, and what that takes."""

    method: str
    label: str
    parameters: tuple[Parameter, ...]


@dataclass(frozen=True, slots=True)
class Function:
    """An aggregate. column: whether it needs one, may have one. parameter: what else it takes."""

    label: str
    column: Literal["needed", "optional"] = "needed"
    parameter: Parameter | None = None


_SIZE = Parameter("size", "Size", "duration", "1h", "how long a window is: 30s, 10m, 1h, 1d, 1w, 1mo")
_EVERY = Parameter("every", "Every", "duration", "10m", "a new window begins this often")
_OFFSET = Parameter("offset", "Offset", "duration", "0s", "moves all windows by this much: 30m", optional=True)
_ZONE = Parameter(
    "tz", "Time zone", "zone", "UTC", "whole days are those of this zone, such as Europe/Paris", optional=True
)
_STEP = Parameter("every", "Step", "duration", "10m", "a window grows by this much until it has its size")
_GAP = Parameter("gap", "Gap", "duration", "30m", "a session ends where nothing comes for longer than this")
_BACK = Parameter("size", "Looks back", "duration", "1h", "each row's result covers this long up to the row")
_ROWS = Parameter("rows", "Rows", "rows", 20, "how many rows of a key make a window")
_EVERY_ROWS = Parameter(
    "every",
    "Every so many rows",
    "rows",
    None,
    "a new window begins after this many rows; as many as it has if empty",
    optional=True,
)

KINDS: Mapping[str, WindowKind] = {
    "tumbling": WindowKind("tumbling", "tumbling: one after the other", (_SIZE, _OFFSET, _ZONE)),
    "sliding": WindowKind("sliding", "sliding: overlapping", (_SIZE, _EVERY, _OFFSET, _ZONE)),
    "cumulating": WindowKind("cumulating", "cumulating: growing, then anew", (_SIZE, _STEP, _OFFSET, _ZONE)),
    "session": WindowKind("session", "session: by activity", (_GAP,)),
    "rolling": WindowKind("rolling", "rolling: a time back from each row", (_BACK,)),
    "rolling rows": WindowKind("rolling", "rolling: the last rows", (_ROWS,)),
    "counting": WindowKind("counting", "counting: a number of rows", (_ROWS, _EVERY_ROWS)),
}

FUNCTIONS: Mapping[str, Function] = {
    "count": Function("count", "optional"),
    "sum": Function("sum"),
    "mean": Function("mean"),
    "min": Function("minimum"),
    "max": Function("maximum"),
    "quantile": Function(
        "quantile", parameter=Parameter("q", "Quantile", "number", 0.95, "which quantile, from 0 to 1")
    ),
    "std": Function("standard deviation"),
    "var": Function("variance"),
    "first": Function("first value"),
    "last": Function("last value"),
    "distinct": Function(
        "different values",
        parameter=Parameter(
            "error", "Relative error", "number", None, "to bear for speed, such as 0.02; exact if empty", optional=True
        ),
    ),
    "top_k": Function("most frequent values", parameter=Parameter("k", "How many", "rows", 3, "how many of them")),
}


@dataclass(frozen=True, slots=True)
class AggregateRow:
    """One column of the result. name: made of function and column if left out. parameter: see `FUNCTIONS`."""

    function: str = "count"
    column: str = ""
    name: str = ""
    parameter: float | None = None

    @property
    def result_name(self) -> str:
        """What the column is called."""
        if self.name.strip():
            return self.name.strip()
        if not self.column:
            return "rows" if self.function == "count" else self.function
        if self.function == "quantile" and self.parameter is not None:
            return f"p{100 * self.parameter:.6g}_{self.column}".replace(".", "_")
        return f"{self.function}_{self.column}"

    def aggregate(self) -> Aggregate:
        """The aggregate itself. Raises WindowError for what cannot be."""
        if self.function not in FUNCTIONS:
            raise WindowError.unknown("aggregate", self.function, FUNCTIONS)
        known = FUNCTIONS[self.function]
        if not self.column and known.column == "needed":
            raise WindowError(f"{known.label} needs a column; choose one")
        if self.parameter is not None and known.parameter is None:
            raise WindowError(f"{known.label} takes no further value; leave out {self.parameter}")
        if known.parameter is not None and self.parameter is None and not known.parameter.optional:
            raise WindowError(
                f"{known.label} needs a value for “{known.parameter.label}”: {known.parameter.help}; "
                f"for example {known.parameter.default}"
            )
        more: dict[str, Any] = {}
        if known.parameter is not None and self.parameter is not None:
            whole = known.parameter.kind == "rows" and float(self.parameter).is_integer()
            more = {known.parameter.name: int(self.parameter) if whole else self.parameter}
        made: Aggregate = getattr(functions, self.function)(*([self.column] if self.column else []), **more)
        return made


@dataclass(frozen=True)
class QueryChoices:
    """A query as plain values. sizes: parameter → value, as the kind of windows in `KINDS` takes them; "" and None
    stand for one that is left out."""

    time: str
    keys: Sequence[str] = ()
    kind: str = "tumbling"
    sizes: Mapping[str, str | int | None] = field(default_factory=lambda: {"size": "1h"})
    out_of_order: str = ""
    allowed: str = ""
    aggregates: Sequence[AggregateRow] = (AggregateRow(),)

    def query(self, schema: Mapping[str, pl.DataType] | None = None) -> WindowQuery:
        """The query, without data. schema: types of the source's columns, where known, which are then checked too.

        Raises WindowError, its message beginning with the label of the wrong field.
        """
        if not self.time:
            raise WindowError(f"Time column: {no_time_column(schema)}", field="time")
        with blamed("keys", "Keys"):
            query = windows(time=self.time, key=list(self.keys))
        query = self._lateness(self._shaped(query))
        query = self._aggregated(query)
        if schema is not None:
            self._check(query, schema)
        return query

    def _shaped(self, query: WindowQuery) -> WindowQuery:
        if self.kind not in KINDS:
            with blamed("kind", "Windows"):
                raise WindowError.unknown("kind of windows", self.kind, KINDS)
        kind = KINDS[self.kind]
        by_name = {parameter.name: parameter for parameter in kind.parameters}
        for name in self.sizes:
            if name not in by_name:
                with blamed(name, "Windows"):
                    raise WindowError.unknown(f"value of {self.kind} windows", name, by_name)
        given = {}
        for name, parameter in by_name.items():
            value = self.sizes.get(name)
            value = value.strip() if isinstance(value, str) else value
            if value not in (None, ""):
                with blamed(name, parameter.label):
                    given[name] = _checked(parameter, value)
            elif not parameter.optional:
                raise WindowError(
                    f"{parameter.label}: {parameter.help}; for example {parameter.default}", field=parameter.name
                )
        with blamed(kind.parameters[0].name, "Windows"):
            shaped: WindowQuery = getattr(query, kind.method)(**given)
        return shaped

    def _lateness(self, query: WindowQuery) -> WindowQuery:
        given: dict[str, str] = {}
        for name, label, value in (
            ("out_of_order", "Out of order", self.out_of_order),
            ("allowed", "Allowed lateness", self.allowed),
        ):
            if value.strip():
                given[name] = value
                with blamed(name, label):
                    query = query.lateness(**given)
        return query

    def _aggregated(self, query: WindowQuery) -> WindowQuery:
        made: dict[str, Aggregate] = {}
        for number, row in enumerate(self.aggregates, 1):
            with blamed("aggregates", f"Aggregate {number}"):
                if row.result_name in made:
                    raise WindowError(f"{row.result_name!r} is there already; give this one another name")
                made[row.result_name] = row.aggregate()
        with blamed("aggregates", "Aggregates"):
            if not made:
                raise WindowError("nothing is computed yet; add what to compute of each window, such as a count")
            return query.agg(**made)

    def _check(self, query: WindowQuery, schema: Mapping[str, pl.DataType]) -> None:
        """Hold it against the columns one thing at a time, so that the error names the right field."""
        known = pl.Schema(schema)
        counting = functions.count()
        with blamed("time", "Time column"):
            bind(windows(time=self.time).tumbling("1d").agg(rows=counting).spec, known)
        with blamed("keys", "Keys"):
            bind(windows(time=self.time, key=list(self.keys)).tumbling("1d").agg(**{"\x00rows": counting}).spec, known)
        # What the windows ask of the time column.
        with blamed(KINDS[self.kind].parameters[0].name, "Windows"):
            bind(self._shaped(windows(time=self.time)).agg(rows=counting).spec, known)
        for number, row in enumerate(self.aggregates, 1):
            with blamed("aggregates", f"Aggregate {number}"):
                bind(self._shaped(windows(time=self.time)).agg(value=row.aggregate()).spec, known)
        bind(query.spec, known)


def no_time_column(schema: Mapping[str, pl.DataType] | None) -> str:
    """What to do where no time column is chosen: choose one or, where the source has none, make one."""
    known = {} if schema is None else dict(schema)
    if schema is None or any(dtype in (pl.Datetime, pl.Date) for dtype in known.values()):
        return "choose the column that holds the time of the events"
    if not known:
        return "the source has no columns; give a table with a column of times, Datetime or Date"
    text = next((name for name, dtype in known.items() if dtype == pl.String), None)
    whole = next((name for name, dtype in known.items() if dtype.is_integer()), None)
    fix = "add one"
    if text is not None:
        fix = f"if {text!r} is one, parse it: frame.with_columns(pl.col({text!r}).str.to_datetime(time_zone='UTC'))"
    elif whole is not None:
        fix = f"if {whole!r} is one, say its unit: frame.with_columns(pl.from_epoch({whole!r}, time_unit='ms'))"
    return f"no column of the source holds times, Datetime or Date; {fix}, and give that table"


@contextlib.contextmanager
def blamed(name: str, label: str) -> Iterator[None]:
    """What goes wrong inside is the fault of this field."""
    try:
        yield
    except LeptonError as error:
        raise type(error)(f"{label}: {error.message}", **{**error.facts, "field": name}) from error


def _checked(parameter: Parameter, value: str | int) -> str | int:
    """A value of a kind of windows. Raises WindowError where it is of another type."""
    if parameter.kind == "rows":
        try:
            return int(value)
        except ValueError:
            raise WindowError(
                f"{value!r} is not a whole number of rows; for example {parameter.default or 10}"
            ) from None
    if parameter.kind == "duration":
        durations.length(str(value), "the length")
    # A query says UTC by naming no zone.
    return "" if parameter.kind == "zone" and value == "UTC" else str(value)
