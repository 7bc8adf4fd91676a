"""What a window query asks for, validated and frozen: time and keys, the windows, lateness, aggregates."""

from __future__ import annotations

import zoneinfo
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

from lepton_nb.errors import WindowError, hint
from lepton_nb.windowing import durations
from lepton_nb.windowing.aggregates import Aggregate
from lepton_nb.windowing.assign import check
from lepton_nb.windowing.durations import Length

START = "window_start"
END = "window_end"

GridKind = Literal["tumbling", "sliding", "cumulating"]


@dataclass(frozen=True, slots=True)
class GridShape:
    """Windows that start and end by the clock alone: tumbling, sliding, cumulating.

    zone: the IANA zone whose civil days, weeks and months they follow, "" for UTC. inclusive: one tick longer than
    `size`, so that both ends belong to the window.
    """

    kind: GridKind
    size: Length
    every: Length
    offset: Length = field(default_factory=Length)
    zone: str = ""
    inclusive: bool = False

    def __post_init__(self) -> None:
        self._check_units()
        size, every, offset = (self.size.months, self.every.months, self.offset.months)
        if not self.months:
            size, every, offset = self.size.ns, self.every.ns, self.offset.ns
        step = size if self.kind == "cumulating" else every
        check(size, step, offset, self._text)
        if self.kind == "cumulating":
            check(every, every, 0, self._text)
            if size % every:
                raise WindowError(
                    f"a cumulating window needs a size ({self.size.text}) that is a multiple of "
                    f"every={self.every.text!r}; try size={self._text(-(-size // every) * every)!r}",
                    size=self.size.text,
                    every=self.every.text,
                )
        if self.zone:
            self._check_zone()

    @property
    def months(self) -> bool:
        """True where lengths are civil months."""
        return self.size.months != 0 or self.every.months != 0

    @property
    def weeks(self) -> bool:
        """True where windows begin with a civil week, on Monday."""
        return self.size.weeks if self.kind == "cumulating" else self.every.weeks

    @property
    def text(self) -> str:
        """As `repr` of a query shows it."""
        size = f"{self.size.text} + 1 tick" if self.inclusive else self.size.text
        return f"{self.kind} {size}" + (f" every {self.every.text}" if self.every != self.size else "")

    def _text(self, length: int) -> str:
        return Length(months=length).text if self.months else durations.text(length)

    def _check_units(self) -> None:
        if self.months and (self.size.ns or self.every.ns):
            raise WindowError(
                f"size={self.size.text!r} and every={self.every.text!r}: one is in months, which differ in length; "
                "write both in months ('1y', '1mo') or both in days or less ('30d', '1d')",
                size=self.size.text,
                every=self.every.text,
            )
        if self.months and not 0 <= self.offset.ns < 28 * durations.DAY_NS:
            raise WindowError(
                f"offset={self.offset.text!r}: windows of months take an offset in months, or one from 0 to below 28 "
                "days after the first of a month",
                offset=self.offset.text,
            )
        if not self.months and self.offset.months:
            raise WindowError(
                f"offset={self.offset.text!r} is in months, the windows are not; write it in days or less",
                offset=self.offset.text,
            )

    def _check_zone(self) -> None:
        try:
            zoneinfo.ZoneInfo(self.zone)
        except (zoneinfo.ZoneInfoNotFoundError, ValueError) as error:
            raise WindowError(
                f"unknown time zone {self.zone!r}{hint(self.zone, zoneinfo.available_timezones())}; "
                "give an IANA name such as 'Europe/Paris'",
                name=self.zone,
            ) from error
        if any(length.ns % durations.DAY_NS for length in (self.size, self.every, self.offset)):
            raise WindowError(
                f"tz={self.zone!r} needs a size and an offset of whole days, which then follow that zone's civil days; "
                "shorter windows take no tz (an offset such as '30m' aligns them with zones off the full hour)",
                tz=self.zone,
            )


@dataclass(frozen=True, slots=True)
class SessionShape:
    """Rows of a key no more than `gap_ns` apart."""

    gap_ns: int
    kind: Literal["session"] = "session"

    def __post_init__(self) -> None:
        if self.gap_ns <= 0:
            raise WindowError(f"the gap must be above zero, not {durations.text(self.gap_ns)}; try gap='30m'")

    @property
    def text(self) -> str:
        """As `repr` of a query shows it."""
        return f"session with gap {durations.text(self.gap_ns)}"


@dataclass(frozen=True, slots=True)
class RollingShape:
    """One result a row: over the time `size_ns` up to it, or over the last `rows` rows where given."""

    size_ns: int = 0
    rows: int | None = None
    kind: Literal["rolling"] = "rolling"

    def __post_init__(self) -> None:
        if self.rows is not None:
            _check_rows(self.rows, "rows")
        elif self.size_ns <= 0:
            raise WindowError(
                f"the window size must be above zero, not {durations.text(self.size_ns)}; try size='10m', or rows=100"
            )

    @property
    def text(self) -> str:
        """As `repr` of a query shows it."""
        return f"rolling {self.rows} rows" if self.rows else f"rolling {durations.text(self.size_ns)}"


@dataclass(frozen=True, slots=True)
class CountingShape:
    """Windows of `rows` rows of a key in the order of time, one every `every` rows."""

    rows: int
    every: int
    kind: Literal["counting"] = "counting"

    def __post_init__(self) -> None:
        _check_rows(self.rows, "rows")
        _check_rows(self.every, "every")

    @property
    def text(self) -> str:
        """As `repr` of a query shows it."""
        return f"counting {self.rows} rows" + (f" every {self.every}" if self.every != self.rows else "")


Shape = GridShape | SessionShape | RollingShape | CountingShape


@dataclass(frozen=True, slots=True)
class Lateness:
    """How much disorder a stream bears: `out_of_order_ns` delays its watermark, `allowed_ns` keeps windows after it."""

    out_of_order_ns: int = 0
    allowed_ns: int = 0

    def __post_init__(self) -> None:
        for what, length_ns in (("out_of_order", self.out_of_order_ns), ("allowed", self.allowed_ns)):
            if length_ns < 0:
                raise WindowError(
                    f"{what}={durations.text(length_ns)!r} must not be negative; give the longest delay to bear, "
                    f"for example {what}='5s'"
                )


@dataclass(frozen=True, slots=True)
class Spec:
    """A query without data. `shape` is None and `aggregates` empty until they are given."""

    time: str
    keys: tuple[str, ...]
    shape: Shape | None = None
    aggregates: tuple[tuple[str, Aggregate], ...] = ()
    lateness: Lateness = field(default_factory=Lateness)

    def __post_init__(self) -> None:
        names = [*self.keys, START, END, *(name for name, _ in self.aggregates)]
        if "" in names:
            raise WindowError(
                "a column of the result would have no name; give one to the key or the aggregate, such as "
                "frame.rename({'': 'key'})"
            )
        twice = {name for name in names if names.count(name) > 1}
        if twice:
            raise WindowError(
                f"the result would have two columns named {listed(sorted(twice))}; "
                f"give the key or the aggregate another name ({START} and {END} are taken)",
                names=tuple(sorted(twice)),
            )
        of_rows = isinstance(self.shape, CountingShape) or (isinstance(self.shape, RollingShape) and self.shape.rows)
        if self.lateness.allowed_ns and of_rows:
            raise WindowError(
                "windows of rows take no allowed lateness: each result depends on the order of all rows "
                "before it, and is fixed once the watermark has passed; give more out_of_order instead"
            )


def _check_rows(rows: int, what: str) -> None:
    if isinstance(rows, bool) or not isinstance(rows, int) or rows < 1:
        raise WindowError(f"{what}={rows!r} must be a whole number of rows, 1 or more; for example {what}=100")


def listed(names: Iterable[str]) -> str:
    """Names as an error message lists them."""
    return ", ".join(repr(name) for name in names)
