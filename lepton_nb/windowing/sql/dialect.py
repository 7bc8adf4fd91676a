"""What the SQL of all engines has in common: the shape of the statement for each kind of windows.

An engine fills in how it counts time and cuts it into steps. A row has a "moment", by which rows are ordered and bounds
computed, and for windows by the clock a "unit": what starts and ends are counted in.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

from lepton_nb.windowing.assign import Grid, LastRows, Rolling, RowBlocks, Sessions, Steps
from lepton_nb.windowing.durations import Length
from lepton_nb.windowing.sql.lines import nested, select
from lepton_nb.windowing.sql.values import Values


class Dialect(Values):
    """The SQL of one engine for one query."""

    # What an engine fills in.

    @abstractmethod
    def moment(self) -> str:
        """The row's time, in what `bound` takes; whole ticks may be added to it."""

    @abstractmethod
    def bound(self, moment: str, ticks: int = 0) -> str:
        """A moment, so many ticks later, as a timestamp."""

    @abstractmethod
    def unit(self) -> str:
        """The row's time in what windows are counted in."""

    @abstractmethod
    def floor(self, unit: str, every: Length, offset: Length) -> str:
        """The last step at or before `unit`, of those at `offset` plus multiples of `every`."""

    @abstractmethod
    def length(self, length: Length) -> str:
        """A length, to be added to a unit or multiplied."""

    @abstractmethod
    def instant(self, unit: str) -> str:
        """A unit as a timestamp."""

    @abstractmethod
    def times(self, number: int) -> str:
        """A table with the column `index`: the numbers from 0 to below `number`."""

    @abstractmethod
    def quotient(self, number: str, divisor: int) -> str:
        """The integer part of a quotient."""

    def preceding(self, ticks: int) -> str:
        """How far the frame of a window reaches back from a moment."""
        return str(ticks)

    # The statement.

    def text(self) -> str:
        """The SELECT."""
        match self.plan.layout:
            case Grid():
                lines = self.grid()
            case Steps():
                lines = self.cumulating()
            case Sessions(gap):
                lines = self.session(gap)
            case Rolling(size):
                lines = self.rolling(size)
            case LastRows(rows):
                lines = self.last_rows(rows)
            case RowBlocks(rows, every):
                lines = self.counting(rows, every)
        return "\n".join(lines) + "\n"

    def grid(self) -> list[str]:
        """Tumbling and sliding: each row in the windows that begin at its last step, and at the ones before."""
        size, every, offset = self.lengths()
        number = -(-(size.ns or size.months) // (every.ns or every.months))
        even = (size.ns or size.months) % (every.ns or every.months) == 0
        unit, start = self.internal("unit"), self.internal("start")
        first = self.floor(self.unit(), every, offset)
        if number > 1:
            first = f"{first} - {self.index} * {self.length(every)}"
        inner = [*self.columns, f"{first} AS {start}"] + ([] if even else [f"{self.unit()} AS {unit}"])
        end = f"{start} + {self.length(size)}"
        return self.grouped(
            self.instant(start),
            self.instant(end),
            nested(self.rows(inner, number), self.internal("rows")),
            where=[] if even else [f"{unit} < {end}"],
            by=[start],
        )

    def cumulating(self) -> list[str]:
        """Each row in the windows that end with its step and the later ones, up to the end of the turn."""
        size, every, offset = self.lengths()
        turns = (size.ns or size.months) // (every.ns or every.months)
        start, end = self.internal("start"), self.internal("end")
        first = self.floor(self.unit(), every, offset)
        last = f"{first} + {self.length(every)}" + (f" + {self.index} * {self.length(every)}" if turns > 1 else "")
        inner = [*self.columns, f"{self.floor(self.unit(), size, offset)} AS {start}", f"{last} AS {end}"]
        return self.grouped(
            self.instant(start),
            self.instant(end),
            nested(self.rows(inner, turns), self.internal("rows")),
            where=[f"{end} <= {start} + {self.length(size)}"],
            by=[start, end],
        )

    def session(self, gap: int) -> list[str]:
        """Gaps and islands: a session begins where the row before is further away than the gap, or there is none."""
        moment, begins, session = (self.internal(name) for name in ("moment", "begins", "session"))
        ordered = self.window(f"ORDER BY {moment}")
        rows = nested(self.rows([*self.columns, f"{self.moment()} AS {moment}"]), self.internal("rows"))
        close = f"{moment} - lag({moment}) OVER ({ordered}) <= {gap}"
        marked = nested(
            select(["*", f"CASE WHEN {close} THEN 0 ELSE 1 END AS {begins}"], rows), self.internal("marked")
        )
        numbered = select(["*", f"sum({begins}) OVER ({ordered}) AS {session}"], marked)
        return self.grouped(
            self.bound(f"min({moment})"),
            self.bound(f"max({moment})", gap),
            nested(numbered, self.internal("numbered")),
            by=[session],
        )

    def rolling(self, size: int) -> list[str]:
        """One result a row, over a range of time that ends with it and with the rows of its own time."""
        moment = self.internal("moment")
        rows = nested(self.rows([*self.columns, f"{self.moment()} AS {moment}"]), self.internal("rows"))
        frame = f"ORDER BY {moment} RANGE BETWEEN {self.preceding(size - 1)} PRECEDING AND CURRENT ROW"
        return self.framed(self.bound(moment, 1 - size), self.bound(moment, 1), rows, frame)

    def last_rows(self, rows: int) -> list[str]:
        """One result a row, over it and the ones before."""
        moment, self.number = self.internal("moment"), self.internal("number")
        frame = f"ORDER BY {self.number} ROWS BETWEEN {rows - 1} PRECEDING AND CURRENT ROW"
        first = f"min({moment}) OVER {self.internal('frame')}"
        source = nested(self.numbered(), self.internal("numbered"))
        return self.framed(self.bound(first), self.bound(moment, 1), source, frame)

    def counting(self, rows: int, every: int) -> list[str]:
        """Groups of so many rows by their number; incomplete ones are left out."""
        moment, self.number, window = (self.internal(name) for name in ("moment", "number", "window"))
        overlap = -(-rows // every)
        number = self.quotient(self.number, every) + (f" - {self.index}" if overlap > 1 else "")
        source = nested(self.numbered(), self.internal("numbered"))
        if overlap > 1:
            source[-1] += f" CROSS JOIN {self.times(overlap)}"
        windows = select([*self.columns, moment, self.number, f"{number} AS {window}"], source)
        conditions = [f"{window} >= 0"] if overlap > 1 else []
        if rows % every:
            conditions.append(f"{self.number} < {window} * {every} + {rows}")
        return self.grouped(
            self.bound(f"min({moment})"),
            self.bound(f"max({moment})", 1),
            nested(windows, self.internal("windows")),
            where=conditions,
            by=[window],
            having=f"count(*) = {rows}",
        )

    # Its parts.

    def rows(self, columns: Sequence[str], repeated: int = 1) -> list[str]:
        """The rows that have a time and a key, each as often as asked, numbered by `index`."""
        source = self.table + (f" CROSS JOIN {self.times(repeated)}" if repeated > 1 else "")
        needed = dict.fromkeys([self.time, *self.keys])
        return select(columns, [source], where=[f"{column} IS NOT NULL" for column in needed])

    def numbered(self) -> list[str]:
        """The rows, numbered from 0 in the order of their time; equal times are ordered by their values."""
        ordered = {*self.plan.keys, self.plan.time}
        types = self.plan.input_schema
        values = [column for column in self.plan.columns if column not in ordered and not types[column].is_nested()]
        self.check_order(values)
        moment = self.moment()
        order = [moment, *(f"{self.quote(value)} ASC NULLS FIRST" for value in values)]
        number = f"row_number() OVER ({self.window('ORDER BY ' + ', '.join(order))}) - 1"
        return self.rows([*self.columns, f"{moment} AS {self.internal('moment')}", f"{number} AS {self.number}"])

    def grouped(
        self,
        start: str,
        end: str,
        source: Sequence[str],
        *,
        where: Sequence[str] = (),
        by: Sequence[str],
        having: str = "",
    ) -> list[str]:
        """The outer SELECT where a window is a group of rows."""
        columns = [*self.keys, f"{start} AS {self.start}", f"{end} AS {self.end}", *self.values()]
        order = [*self.keys, self.start, self.end] if self.sorts else []
        return select(columns, source, where=where, group=[*self.keys, *by], having=having, order=order)

    def framed(self, start: str, end: str, source: Sequence[str], frame: str) -> list[str]:
        """The outer SELECT where each row has a window."""
        window = self.internal("frame")
        self.over = f" OVER {window}"
        columns = [*self.keys, f"{start} AS {self.start}", f"{end} AS {self.end}", *self.values()]
        order = [*self.keys, self.end, self.start] if self.sorts else []
        return select(columns, source, window=f"{window} AS ({self.window(frame)})", order=order)

    def window(self, ordered: str) -> str:
        """A window of rows: by key, in this order."""
        return (f"PARTITION BY {', '.join(self.keys)} " if self.keys else "") + ordered

    def lengths(self) -> tuple[Length, Length, Length]:
        """Size, every and offset of windows by the clock."""
        layout = self.plan.layout
        assert isinstance(layout, Grid | Steps)
        if self.plan.calendar.months:
            return Length(months=layout.size), Length(months=layout.every), Length(months=layout.offset)
        tick = self.tick_ns
        return Length(ns=layout.size * tick), Length(ns=layout.every * tick), Length(ns=layout.offset * tick)
