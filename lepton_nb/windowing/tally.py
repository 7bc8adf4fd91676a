"""Rows added to the cells of a grid: by compiled loops once they are there (`compiled`), by NumPy before."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from lepton_nb.windowing import kernels
from lepton_nb.windowing.assign import Grid, Rolling, Sliced
from lepton_nb.windowing.compiled import Loops
from lepton_nb.windowing.planes import Plane, Span
from lepton_nb.windowing.ranges import Array

# Rows that are placed at a time, so that their places stay in a core's own cache.
BLOCK = 2**16

_KEEPS: dict[np.ufunc, int] = {
    np.add: kernels.TOTAL,
    np.minimum: kernels.LEAST,
    np.fmin: kernels.LEAST,
    np.maximum: kernels.MOST,
    np.fmax: kernels.MOST,
}
_COMPILED = (np.dtype(np.int64), np.dtype(np.float64))
_NO_KEYS = np.zeros(BLOCK, dtype=np.int64)
_NOTHING = np.zeros(0)


@dataclass(frozen=True, slots=True)
class Tally:
    """The planes of a grid whose cells lie by slice, then key; `known` and `amounts` by name.

    Rows come as arrays: "slice" holds their times in units of the layout, "key" their keys, if there are any, "rows"
    for how many rows each stands (without it, one), "known NAME" how many values each has (without it, as many as
    rows), and "amount NAME" what it adds to a plane.
    """

    layout: Sliced
    slices: Span
    keys: Span
    counts: Plane
    known: Mapping[str, Plane]
    amounts: Mapping[str, Plane]

    def add(self, rows: Mapping[str, Array]) -> None:
        """Add rows that all lie in the grid."""
        for block in _blocks(rows):
            place = self._placed(block)
            np.add.at(self.counts.values, place, block.get("rows", 1))
            self._add_known(block, place)
            for name, plane in self.amounts.items():
                plane.operation.at(plane.values, place, block[f"amount {name}"])

    def take(self, rows: Mapping[str, Array], loops: Loops) -> int:
        """Add single rows up to the first one that lies outside the grid; how many these are."""
        sets = self._sets(rows)
        first = sets[0] if sets else _Set("", 0, [_NOTHING] * 3)
        others = [name for name in self.amounts if all(name not in each.names for each in sets)]
        alone = len(sets) <= 1 and not others and not self.known
        places = np.empty(0 if alone else min(BLOCK, len(rows["slice"])), dtype=np.int64)
        offset, every = _division(self.layout)
        edges = (self.slices.first, self.slices.last, self.keys.first, self.keys.last)
        done = 0
        for block in _blocks(rows):
            ticks = block["slice"] if every else self.layout.slice_of(block["slice"])
            count = len(ticks)
            ticks, keys = (array.astype(np.int64, copy=False) for array in (ticks, block.get("key", _NO_KEYS[:count])))
            values = block.get(first.values, _NOTHING)
            kept = first.keeps, *first.kept
            taken = loops.count(
                ticks, keys, offset, every or 1, *edges, places[:count], self.counts.values, values, *kept
            )
            place = places[:taken]
            if taken < count:
                block = {name: array[:taken] for name, array in block.items()}
            for each in sets[1:]:
                loops.gather(place, block[each.values], each.keeps, *each.kept)
            self._add_known(block, place)
            for name in others:
                self.amounts[name].operation.at(self.amounts[name].values, place, block[f"amount {name}"])
            done += taken
            if taken < count:
                break
        return done

    def _placed(self, block: Mapping[str, Array]) -> Array:
        # Dates are counted in 32 bits, which do not hold the numbers of many cells.
        slices = block["slice"].astype(np.int64, copy=False)
        place = self.layout.slice_of(slices)
        # In place, where the array is new: another one costs more than the sum that goes into it.
        place = place * self.keys.size if place is slices else np.multiply(place, self.keys.size, out=place)
        if "key" in block:
            place += block["key"]
        # Sums may leave the range of integers on the way; they come back, modulo 2**64.
        place -= (self.slices.first * self.keys.size + self.keys.first + 2**63) % 2**64 - 2**63
        return place

    def _add_known(self, block: Mapping[str, Array], place: Array) -> None:
        for name, plane in self.known.items():
            np.add.at(plane.values, place, block.get(f"known {name}", block.get("rows", 1)))

    def _sets(self, rows: Mapping[str, Array]) -> list[_Set]:
        """The planes that the loops serve; together where they take the same values."""
        sets: dict[Any, _Set] = {}
        for name, plane in self.amounts.items():
            values, keeps = rows[f"amount {name}"], _KEEPS[plane.operation]
            if values.dtype != plane.values.dtype or values.dtype not in _COMPILED or not values.flags.c_contiguous:
                continue
            same: Any = values.__array_interface__["data"][0], values.dtype
            if same in sets and sets[same].keeps & keeps:
                same = name
            found = sets.setdefault(same, _Set(f"amount {name}", 0, [plane.values] * 3))
            found.keeps |= keeps
            found.kept[(kernels.TOTAL, kernels.LEAST, kernels.MOST).index(keeps)] = plane.values
            found.names.append(name)
        return list(sets.values())


class _Set:
    """Planes that take the same values; where one is not kept, another stands in its place and is not touched."""

    def __init__(self, values: str, keeps: int, kept: list[Array]) -> None:
        self.values = values
        self.keeps = keeps
        self.kept = kept
        self.names: list[str] = []


def _blocks(rows: Mapping[str, Array]) -> Iterator[Mapping[str, Array]]:
    for begin in range(0, len(rows["slice"]), BLOCK):
        yield {name: array[begin : begin + BLOCK] for name, array in rows.items()}


def _division(layout: Sliced) -> tuple[int, int]:
    """The offset and length by which times become slices; a length of 0 where one division does not do."""
    if isinstance(layout, Rolling):
        return 0, 1
    if isinstance(layout, Grid) and layout.slices_per_step > 1:
        return 0, 0
    return layout.offset, layout.every
