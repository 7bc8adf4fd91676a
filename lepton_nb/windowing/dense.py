"""Slice tables by counting: where keys and slices lie close, a cell for each pair is quicker than a hash table.

A grid of cells takes the rows one after the other, each in its place; what was used of it is then read off, in order.
It serves one key of whole numbers or text, or none, and aggregates that are sums and extremes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl

from lepton_nb.windowing import arrays
from lepton_nb.windowing import partials as kept
from lepton_nb.windowing.assign import Grid, Rolling, Sliced, Steps
from lepton_nb.windowing.compiled import LOADER, Loops
from lepton_nb.windowing.partials import Partial
from lepton_nb.windowing.plan import Plan, slice_of
from lepton_nb.windowing.planes import Plane, Span, picked
from lepton_nb.windowing.ranges import Array, largest, smallest
from lepton_nb.windowing.tally import Tally

# Cells for each row: with more, most of the time goes into empty ones.
MOST_CELLS_PER_ROW = 4
# Half a gigabyte for each thing that is kept.
MOST_CELLS = 2**26
# For slices that have their numbers already.
SLICES = Rolling(1)

Sums = (kept.Rows, kept.Known, kept.Total, kept.FloatTotal)
Extremes = (kept.Smallest, kept.Largest)
_WIDE = (pl.Int128, pl.UInt128)


def serves(plan: Plan) -> bool:
    """Whether the aggregates and keys of a plan are of the kinds that can be counted in cells."""
    keys = plan.key_dtypes
    close = all(dtype == pl.String or (dtype.is_integer() and dtype not in (*_WIDE, pl.UInt64)) for dtype in keys)
    return len(keys) <= 1 and close and adds_up(plan)


def adds_up(plan: Plan) -> bool:
    """Whether all that a plan's slices keep is sums and extremes of numbers."""
    types = plan.input_schema
    narrow = all(types[partial.column] not in _WIDE for partial in plan.partials if partial.column)
    return narrow and all(isinstance(partial, (*Sums, *Extremes)) for partial in plan.partials)


class Cells:
    """A grid of slices and keys that grows with what is added."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._added = 0
        self._slices = Span()
        self._keys = Span(0, 0 if plan.keys else 1)
        self._names: pl.Series | None = None
        self._text = bool(plan.keys) and plan.key_dtypes[0] == pl.String
        self._rows = Plane(np.dtype(np.int64), 0, np.add)
        # By column: how many values are not null, once that differs from the number of rows.
        self._known: dict[str, Plane] = {}
        amounts = [partial for partial in plan.partials if not isinstance(partial, kept.Rows | kept.Known)]
        self._planes = {partial.name: self._plane(partial) for partial in amounts}
        self._columns = dict.fromkeys(partial.column for partial in plan.partials if partial.column)

    @property
    def empty(self) -> bool:
        """True before anything was added."""
        return not self._added

    def add_rows(self, frame: pl.DataFrame) -> int:
        """Count rows, from the first on; how many, and so all but where the others would need too many cells.

        None of them where one lacks a time or a key.
        """
        plan = self._plan
        if not frame.height or any(frame.get_column(name).has_nulls() for name in (plan.time, *plan.keys)):
            return 0
        key = frame.get_column(plan.keys[0]) if plan.keys else None
        known, amounts = {}, {}
        for column in self._columns:
            values = frame.get_column(column)
            if values.has_nulls():
                known[column] = values.is_not_null()
        for partial in plan.partials:
            if isinstance(partial, (kept.Total, kept.FloatTotal, *Extremes)):
                values = frame.get_column(partial.column)
                amounts[partial.name] = values if isinstance(partial, Extremes) else values.cast(_summed(partial, plan))
        if plan.calendar.plain:
            assert isinstance(plan.layout, Grid | Steps | Rolling)
            return self._add(key, frame.get_column(plan.time), plan.layout, None, known, amounts)
        return self._add(key, frame.select(slice_of(plan)).to_series(), SLICES, None, known, amounts)

    def add_table(self, table: pl.DataFrame) -> bool:
        """Merge a slice table; False, and nothing changes, where it would need too many cells or has nulls."""
        plan = self._plan
        key = table.get_column(f"key:{plan.keys[0]}") if plan.keys else None
        slices = table.get_column("slice")
        if not table.height or slices.has_nulls() or (key is not None and key.has_nulls()):
            return False
        rows = table.get_column(kept.ROWS.name)
        known, amounts = {}, {}
        for partial in plan.partials:
            values = table.get_column(partial.name)
            if isinstance(partial, kept.Known):
                if not np.array_equal(values.to_numpy(), rows.to_numpy()):
                    known[partial.column] = values
            elif partial.column:
                amounts[partial.name] = values
                if values.has_nulls():
                    known.setdefault(partial.column, values.is_not_null())
        return self._add(key, slices, SLICES, rows, known, amounts) == table.height

    def _add(
        self,
        key: pl.Series | None,
        slices: pl.Series,
        layout: Sliced,
        rows: pl.Series | None,
        known: Mapping[str, pl.Series],
        amounts: Mapping[str, pl.Series],
    ) -> int:
        """Add to every (key, slice) its number of rows (None: one), of values by column, and its amounts by name.

        How many of them, from the first on, were added.
        """
        added = self._added + len(slices)
        names = self._names
        if self._text and key is not None:
            names = self._names_with(key)
            key = key.cast(pl.Enum(names)).to_physical()
        columns = {"slice": slices, **({} if key is None else {"key": key}), **({} if rows is None else {"rows": rows})}
        columns |= {f"known {c}": values.cast(pl.Int64) for c, values in known.items()}
        columns |= {f"amount {name}": self._filled(name, values) for name, values in amounts.items()}
        pieces: list[Mapping[str, Array]] = list(arrays.pieces(columns))
        for column in known:
            if column not in self._known:
                # Up to here every row had a value.
                self._known[column] = self._rows.copied()
        loops = LOADER.loops_for(len(slices)) if rows is None else None
        if loops and names is self._names:
            pieces = list(self._taken(pieces, layout, loops))
        # Rows mostly lie where others did, or between the first and the last: looking at all takes half as long again.
        for exact in (False, True) if loops else (True,):
            if not pieces:
                break
            self._added = added - _height(pieces)
            width, keys = self._spans(pieces, layout, exact=exact)
            if names is not None:
                keys = Span(0, len(names))
            if width.size * keys.size > min(MOST_CELLS_PER_ROW * added, MOST_CELLS):
                return len(slices) - _height(pieces)
            self._reshape(width, keys, names)
            if loops:
                pieces = list(self._taken(pieces, layout, loops))
        # All rows, where there are no loops; with them, those that seemed to lie outside as arithmetic wrapped around.
        for piece in pieces:
            self._tally(layout).add(piece)
        self._added = added
        return len(slices)

    def _spans(self, pieces: Sequence[Mapping[str, Array]], layout: Sliced, *, exact: bool) -> tuple[Span, Span]:
        """Slices and keys with those of the first and the last row; exact: with those of all rows."""
        if not exact:
            pieces = [
                {name: piece[name][row] for name in piece} for piece, row in ((pieces[0], [0]), (pieces[-1], [-1]))
            ]
        slices, keys = self._slices, self._keys
        for piece in pieces:
            # Slices ascend with time.
            low, high = (int(layout.slice_of(int(tick))) for tick in (piece["slice"].min(), piece["slice"].max()))
            slices = slices.including(low, high)
            if "key" in piece:
                keys = keys.including(int(piece["key"].min()), int(piece["key"].max()))
        return slices, keys

    def _tally(self, layout: Sliced) -> Tally:
        return Tally(layout, self._slices, self._keys, self._rows, self._known, self._planes)

    def _taken(
        self, pieces: Sequence[Mapping[str, Array]], layout: Sliced, loops: Loops
    ) -> Iterator[Mapping[str, Array]]:
        """Add rows up to the first one outside the grid; the pieces that are left."""
        tally, left = self._tally(layout), False
        for piece in pieces:
            taken = 0 if left else tally.take(piece, loops)
            left = left or taken < len(piece["slice"])
            if left:
                yield {name: array[taken:] for name, array in piece.items()}

    def _names_with(self, key: pl.Series) -> pl.Series:
        """Text is numbered in its order, so that cells lie in the order of keys."""
        if self._names is None:
            return key.unique().sort()
        if not key.cast(pl.Enum(self._names), strict=False).has_nulls():
            return self._names
        return pl.concat([self._names, key]).unique().sort()

    def _filled(self, name: str, values: pl.Series) -> pl.Series:
        """With what changes nothing in the place of nulls."""
        if not values.has_nulls():
            return values
        return arrays.physical(values).fill_null(self._planes[name].nothing)

    def _reshape(self, slices: Span, keys: Span, names: pl.Series | None) -> None:
        """Make the grid larger; what it holds stays with its slice and key."""
        planes = [self._rows, *self._known.values(), *self._planes.values()]
        size = slices.size * keys.size
        # Names are only ever added, so as many are the same.
        onward = keys == self._keys and slices.first == self._slices.first
        if onward or not len(self._rows.values):
            for plane in planes:
                plane.extend(size)
        else:
            columns = np.arange(self._keys.size, dtype=np.int64) + (self._keys.first - keys.first)
            if names is not None and self._names is not None:
                columns = self._names.cast(pl.Enum(names)).to_physical().cast(pl.Int64).to_numpy()
            lines = np.arange(self._slices.size, dtype=np.int64) + (self._slices.first - slices.first)
            to = (lines[:, None] * keys.size + columns).ravel()
            for plane in planes:
                plane.move(size, to)
        self._slices, self._keys, self._names = slices, keys, names

    @property
    def rows(self) -> int:
        """How many rows were counted."""
        return int(self._rows.values.sum())

    @property
    def span(self) -> tuple[int, int]:
        """The first and the last slice."""
        return self._slices.first, self._slices.first + self._slices.size - 1

    @property
    def keys(self) -> pl.DataFrame:
        """The keys, in order, as in a slice table; one row without columns where there are none."""
        if not self._plan.keys:
            return pl.DataFrame(height=1)
        name = f"key:{self._plan.keys[0]}"
        if self._names is not None:
            return self._names.alias(name).to_frame()
        numbers = np.arange(self._keys.size) + self._keys.first
        return pl.Series(name, numbers).cast(self._plan.key_dtypes[0]).to_frame()

    @property
    def counts(self) -> Plane:
        """The number of rows of every cell."""
        return self._rows

    def grid(self, plane: Plane) -> Array:
        """A plane by slice and key."""
        return plane.values.reshape(self._slices.size, self._keys.size)

    def table(self) -> pl.DataFrame:
        """The slice table, sorted by key and slice."""
        counts = self._by_key(self._rows)
        used = np.flatnonzero(counts)
        # Every cell, as they lie: copying them one by one is not needed.
        taken: Any = used if len(used) < len(counts) else slice(None)
        number = used // self._slices.size
        slices = pl.Series("slice", used - number * self._slices.size + self._slices.first)
        keys = [picked(series, number) for series in self.keys.get_columns()]
        counted = counts[taken]

        def read(plane: Plane) -> Array:
            found: Array = counted if plane is self._rows else self._by_key(plane)[taken]
            return found

        return pl.DataFrame([*keys, slices, *(self.column(partial, read) for partial in self._plan.partials)])

    def column(self, partial: Partial, read: Callable[[Plane], Array]) -> pl.Series:
        """What is kept for a partial, as `read` gives it."""
        known = self._known.get(partial.column)
        if isinstance(partial, kept.Rows | kept.Known):
            return pl.Series(partial.name, read(self._rows if known is None else known))
        found = pl.Series(partial.name, read(self._planes[partial.name]))
        if isinstance(partial, Sums):
            return found
        if known is not None:
            found = pl.select(pl.when(pl.Series(read(known) > 0)).then(found)).to_series().alias(partial.name)
        dtype = self._plan.input_schema[partial.column]
        return found.cast(pl.Series(dtype=dtype).to_physical().dtype).cast(dtype)

    def _by_key(self, plane: Plane) -> Array:
        # A copy, also where the grid is a single line: what goes on in the cells must not reach a table given away.
        return np.array(self.grid(plane).T, order="C", copy=True).ravel()

    def _plane(self, partial: Partial) -> Plane:
        if isinstance(partial, Sums):
            return Plane(arrays.numbers(pl.Series(dtype=_summed(partial, self._plan))).dtype, 0, np.add)
        dtype = arrays.numbers(pl.Series(dtype=self._plan.input_schema[partial.column])).dtype
        lowest = isinstance(partial, kept.Smallest)
        if dtype.kind == "f":
            # These two leave NaN out where there is anything else.
            return Plane(dtype, np.nan, np.fmin if lowest else np.fmax)
        nothing = largest(dtype) if lowest else smallest(dtype)
        return Plane(dtype, nothing, np.minimum if lowest else np.maximum)


def _summed(partial: Partial, plan: Plan) -> pl.DataType:
    """The type in which a sum is kept."""
    return kept.sum_dtype(plan.input_schema[partial.column]) if isinstance(partial, kept.Total) else pl.Float64()


def _height(pieces: Sequence[Mapping[str, Array]]) -> int:
    return sum(len(piece["slice"]) for piece in pieces)
