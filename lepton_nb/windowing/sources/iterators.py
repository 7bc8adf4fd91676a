"""Rows from a Python iterable. It cannot be rewound: rows are kept until they are committed."""

from __future__ import annotations

import collections
import itertools
import math
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from lepton_nb.data import frames
from lepton_nb.errors import DataError, WindowError
from lepton_nb.windowing.sources import values
from lepton_nb.windowing.sources.base import Part, Planned, Position, Rows, Source
from lepton_nb.windowing.sources.tables import FramePart, chosen, cut, is_frame

# As many rows as came first tell the types of the columns.
ROWS_LOOKED_AT = 1_000
# A batch is closed after this even where more rows could be had: an iterable may be slow.
PATIENCE_S = 0.2
SKIPPED_AT_A_TIME = 100_000
END = object()
# A column beside those of the rows.
NUMBER = "\x00number"


@dataclass(frozen=True)
class Kept:
    """Rows `start` to `stop` of the iterable, and which number each row and each dead letter has."""

    start: int
    stop: int
    rows: Rows
    numbers: pl.Series
    dead_numbers: pl.Series

    def between(self, start: int, stop: int) -> Rows:
        """Those of the rows from `start` to `stop`."""
        if start <= self.start and stop >= self.stop:
            return self.rows
        return Rows(
            self.rows.frame.filter(self.numbers.is_between(start, stop, closed="left")),
            self.rows.dead.filter(self.dead_numbers.is_between(start, stop, closed="left")),
        )


class IterableSource(Source):
    """See `lepton_nb.windowing.sources.iterate`. A position is the number of rows taken."""

    name = "iterate"
    # The next row may never come.
    lookahead = False

    def __init__(
        self,
        iterable: Iterable[Any] | Callable[[], Iterable[Any]],
        *,
        schema: Mapping[str, Any] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if not callable(iterable) and not isinstance(iterable, Iterable):
            raise WindowError(
                f"iterate() takes an iterable of rows, or a function that returns one, not a {type(iterable).__name__}"
            )
        self._iterable = iterable
        self._given = {name: values.column_type(name, dtype) for name, dtype in (schema or {}).items()}
        self._clock = clock
        self._items: Iterator[Any] | None = None
        self._columns: tuple[str, ...] = ()
        self._parallel = 1
        self._schema: pl.Schema | None = None
        self._taken = 0
        self._over = False
        self._kept: list[Kept] = []
        # Items that were taken to tell the types by.
        self._put_back: collections.deque[Any] = collections.deque()

    def open(self, columns: Sequence[str], parallel: int) -> None:
        self._columns, self._parallel = tuple(columns), max(1, parallel)
        if self._given:
            frames.present(self._given, columns)
        given = self._iterable() if callable(self._iterable) else self._iterable
        if not isinstance(given, Iterable):
            raise WindowError(f"the function given to iterate() must return an iterable, not a {type(given).__name__}")
        self._forget()
        self._items = iter(given)
        if self._given:
            self._schema = pl.Schema({name: self._given[name] for name in columns})

    def _forget(self) -> None:
        self._schema, self._taken, self._over = None, 0, False
        self._kept, self._put_back = [], collections.deque()

    @property
    def schema(self) -> pl.Schema | None:
        return self._schema

    @property
    def channels(self) -> tuple[str, ...]:
        return (self.name,)

    def plan(self, before: Position, rows: int, wait_s: float) -> Planned:
        start = int(before or 0)
        self._tell_types()
        if start > self._taken:
            self._skip(start)
        if self._taken - start < rows:
            self._take(start + max(1, rows), self._clock() + max(wait_s, PATIENCE_S))
        after = min(self._taken, start + max(1, rows))
        left = self._taken - after
        over = self._over and not self._put_back
        return Planned(after, over=over and not left, lag=left if over else None)

    def parts(self, before: Position, after: Position) -> Sequence[Part]:
        start, stop = int(before or 0), int(after or 0)
        if stop > self._taken:
            # What was planned before a restart is taken again.
            self._tell_types()
            self._skip(start)
            self._take(stop, math.inf)
        first = self._kept[0].start if self._kept else self._taken
        if stop > start and (start < first or stop > self._taken):
            raise DataError(
                f"the iterable has no rows {start} to {stop} any more; give a fresh one that begins with the first row",
                first=first,
                taken=self._taken,
            )
        found = [kept.between(start, stop) for kept in self._kept if kept.start < stop and kept.stop > start]
        if not found:
            return []
        frame, dead = pl.concat([rows.frame for rows in found]), pl.concat([rows.dead for rows in found])
        cuts = [*cut(frame, self.name, self._parallel)] or [FramePart(self.name, frame)]
        return [FramePart(self.name, cuts[0].frame, dead), *cuts[1:]] if dead.height else cuts

    def committed(self, position: Position) -> None:
        self._kept = [kept for kept in self._kept if kept.stop > int(position or 0)]

    def close(self) -> None:
        items, self._items = self._items, None
        if isinstance(items, Generator):
            items.close()
        self._forget()

    def _next(self) -> Any:
        """The next item, or END."""
        if self._put_back:
            return self._put_back.popleft()
        if self._items is None:
            raise DataError("the iterate source is not open; call open(columns, parallel) first")
        if self._over:
            return END
        item = next(self._items, END)
        self._over = item is END
        return item

    def _pull(self, count: int, until_s: float) -> list[Any]:
        """Items with at least `count` rows together; fewer at the end, or where time is up, but one if there is one."""
        found: list[Any] = []
        while count > 0 and (not found or self._clock() < until_s):
            item = self._next()
            if item is END:
                break
            found.append(item)
            count -= frames.eager(item).height if is_frame(item) else 1
        return found

    def _tell_types(self) -> None:
        if self._schema is None:
            seen = self._pull(ROWS_LOOKED_AT, self._clock() + PATIENCE_S)
            self._put_back.extend(seen)
            if seen:
                self._schema = told(seen, self._columns)

    def _take(self, stop: int, until_s: float) -> None:
        """Take and keep rows up to `stop` or somewhat further."""
        for is_table, items in itertools.groupby(self._pull(stop - self._taken, until_s), is_frame):
            if is_table:
                for item in items:
                    self._keep(self._selected(item), None)
                continue
            self._keep(*self._typed(list(items)))

    def _skip(self, start: int) -> None:
        """Take rows up to `start`, which were read before; a frame that reaches further is kept."""
        while self._taken < start:
            before = self._taken
            self._take(min(start, self._taken + SKIPPED_AT_A_TIME), math.inf)
            if self._taken == before:
                raise DataError(
                    f"the iterable ended after {before} rows, but {start} were read from it before; give one with the "
                    "same rows, or start anew with another checkpoint folder",
                    rows=before,
                    position=start,
                )
            self.committed(min(start, self._taken))

    def _keep(self, rows: Rows, numbers: pl.Series | None) -> None:
        """Note rows that were just taken; `numbers`: the places of those that are good, None for all."""
        total = rows.frame.height + rows.dead.height
        every = pl.Series(range(self._taken, self._taken + total), dtype=pl.Int64)
        good = every if numbers is None else numbers
        dead = every.filter(~every.is_in(good.to_list())) if rows.dead.height else every.clear()
        self._kept.append(Kept(self._taken, self._taken + total, rows, good, dead))
        self._taken += total

    def _selected(self, item: Any) -> Rows:
        assert self._schema is not None
        frame = chosen(item, self._columns)
        for name, dtype in self._schema.items():
            if frame.schema[name] != dtype:
                raise DataError(
                    f"column {name!r} is {frame.schema[name]} in one frame and {dtype} in another, or in the schema; "
                    "cast it to one type in every frame",
                    column=name,
                )
        return Rows(frame)

    def _typed(self, items: Sequence[Any]) -> tuple[Rows, pl.Series]:
        assert self._schema is not None
        names = list(self._given)
        numbers = range(self._taken, self._taken + len(items))
        # The number of each row goes along, and says afterwards which rows were good.
        schema = {**self._schema, NUMBER: pl.Int64()}
        mappings = [as_mapping(item, names) for item in items]
        numbered = [None if row is None else {**row, NUMBER: n} for n, row in zip(numbers, mappings, strict=True)]
        what = f"a dict{f' or a tuple of {len(names)}' if names else ''}"
        rows = values.typed(numbered, Texts(items), Texts(numbers), self.name, schema, what=what)
        return Rows(rows.frame.drop(NUMBER), rows.dead), rows.frame.get_column(NUMBER)


class Texts(Sequence[str]):
    """What stands in a sequence as text, made only when asked for."""

    def __init__(self, things: Sequence[Any]) -> None:
        self._things = things

    def __getitem__(self, i: Any) -> Any:
        return repr(self._things[i])

    def __len__(self) -> int:
        return len(self._things)


def as_mapping(item: Any, names: Sequence[str]) -> Mapping[str, Any] | None:
    """A row as a mapping; None where it is none. Tuples and lists are in the order of `names`."""
    if isinstance(item, Mapping):
        return item
    if isinstance(item, tuple | list) and names and len(item) == len(names):
        return dict(zip(names, item, strict=True))
    return None


def told(items: Sequence[Any], columns: Sequence[str]) -> pl.Schema:
    """The types of `columns`, as the first rows suggest."""
    if is_frame(items[0]):
        found = frames.schema(frames.lazy(items[0]))
        return pl.Schema({name: found[name] for name in frames.present(found, columns)})
    rows = [item for item in items if isinstance(item, Mapping)]
    if not rows:
        raise DataError(
            f"rows of an iterable are dicts, frames, or tuples with schema={{column: type}}, not {items[0]!r:.80}; "
            "for example [{'time': ..., 'value': 1.5}]"
        )
    names = list(dict.fromkeys(name for row in rows for name in row))
    types = {}
    for name in frames.present(names, columns):
        found_values = [values.plain(row.get(name)) for row in rows]
        kinds = collections.Counter(type(value) for value in found_values if value is not None)
        if not kinds:
            raise DataError(
                f"the first rows have no value in column {name!r}; say what it is: schema={{{name!r}: pl.Float64}}",
                column=name,
            )
        # One odd value among many does not tell the type; it becomes a dead letter.
        common = {int, float} if kinds.most_common(1)[0][0] in (int, float) else {kinds.most_common(1)[0][0]}
        types[name] = pl.Series([value for value in found_values if type(value) in common], strict=False).dtype
    return pl.Schema(types)
