"""The names in a query's SQL, what is known of its columns, and the refusal of what an engine lacks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal, NoReturn

import polars as pl

from lepton_nb.errors import WindowError
from lepton_nb.windowing.calendars import tick_ns
from lepton_nb.windowing.plan import Plan
from lepton_nb.windowing.spec import END, START, listed
from lepton_nb.windowing.sql.lines import quoted

# Civil midnights of a zone are asked for over these years.
FIRST_YEAR, LAST_YEAR = 1970, 2100


class Names:
    """One query in the words of one engine. `typed`: the plan's types are the table's own, not assumed."""

    name: ClassVar[str]
    mark: ClassVar[str]
    assumed_unit: ClassVar[Literal["ms", "us"]] = "us"
    folds_case: ClassVar[bool] = True
    sorts: ClassVar[bool] = True

    def __init__(self, plan: Plan, table: Sequence[str], *, typed: bool) -> None:
        self.plan = plan
        self.typed = typed
        self.table = ".".join(self.quote(part) for part in table)
        self._check_names()
        self.time = self.quote(plan.time)
        self.keys = [self.quote(key) for key in plan.keys]
        self.columns = [self.quote(column) for column in plan.columns]
        self.start, self.end = self.quote(START), self.quote(END)
        # Window functions follow their frame, aggregates of groups nothing.
        self.over = ""
        # What orders the rows of a window: their time, or where it is set the number of each.
        self.number = ""

    @property
    def tick_ns(self) -> int:
        """Nanoseconds of one unit of the time column."""
        return tick_ns(self.plan.time_dtype)

    @property
    def column_unit(self) -> str:
        """One of "ms", "us", "ns"; "" for a column of dates."""
        dtype = self.plan.time_dtype
        return dtype.time_unit if isinstance(dtype, pl.Datetime) else ""

    @property
    def zoned(self) -> bool:
        """Whether the time column has a zone."""
        return getattr(self.plan.time_dtype, "time_zone", None) is not None

    @property
    def zone(self) -> str:
        """The zone of the windows as a literal, "" for UTC."""
        return quoted(self.plan.calendar.zone, "'") if self.plan.calendar.zone else ""

    def quote(self, name: str) -> str:
        """A name, quoted."""
        if not name or "\0" in name:
            raise WindowError(f"{name!r} cannot be a name in SQL; rename it", name=name)
        return quoted(name, self.mark)

    def internal(self, name: str) -> str:
        """A name for a column of an inner SELECT that no column of the query has."""
        taken = {column.lower() for column in (*self.plan.columns, *self.plan.result_schema)}
        name = f"_{name}"
        while name in taken:
            name = f"_{name}"
        return self.quote(name)

    @property
    def index(self) -> str:
        """The column of `times`."""
        return self.internal("index")

    def lacks(self, what: str, why: str, instead: str) -> NoReturn:
        """Raise the WindowError for what this engine lacks."""
        raise WindowError(f"{self.name} cannot run {what}: {why}; {instead}", engine=self.name)

    def no_aggregate(self, what: str, why: str, instead: str) -> NoReturn:
        """Raise the WindowError for an aggregate that this engine lacks."""
        self.lacks(what, why, f"use {instead}, or compute it here with collect()")

    def check_order(self, columns: Sequence[str]) -> None:
        """SQL sorts text by its characters, and knows no other order of it."""
        for column in columns:
            if isinstance(self.plan.input_schema[column], pl.Enum):
                self.lacks(
                    f"a query that sorts by {column!r}",
                    f"the column is Enum, which has an order of its own; {self.name} sorts its text",
                    f"cast it first: frame.with_columns(pl.col({column!r}).cast(pl.String))",
                )

    def check_zone(self) -> None:
        """Where a civil day begins is exact only if every midnight exists, once."""
        zone = self.plan.calendar.zone
        if not zone:
            return
        first, last = pl.datetime(FIRST_YEAR, 1, 1), pl.datetime(LAST_YEAR, 1, 1)
        days = pl.select(pl.datetime_range(first, last, "1d", time_unit="us")).to_series()
        known = days.dt.replace_time_zone(zone, ambiguous="null", non_existent="null")
        if known.null_count():
            day = days.filter(known.is_null())[-1].date()
            self.lacks(
                f"tz={zone!r}",
                f"clocks there have been changed at midnight (on {day}, for one), and engines differ in where such a "
                "day begins",
                "compute it here with collect(), or leave tz out for days in UTC",
            )

    def _check_names(self) -> None:
        if not self.folds_case:
            return
        for names in (self.plan.columns, list(self.plan.result_schema)):
            lowered = [name.lower() for name in names]
            same = [name for name in names if lowered.count(name.lower()) > 1]
            if same:
                self.lacks(
                    f"a query with columns {listed(same)}",
                    "it does not tell upper case from lower case in names",
                    "rename one of them",
                )
