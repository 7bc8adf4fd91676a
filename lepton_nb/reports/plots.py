"""Small charts as plain numbers, which the templates draw as SVG."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

WIDTH, HEIGHT, MARGIN = 240, 64, 6


@dataclass(frozen=True, slots=True)
class Plot:
    """Points in a box of WIDTH times HEIGHT, y downwards; `least` and `most` are the ends of the vertical axis.

    ticks: place and word of each mark of the horizontal axis, where it has any.
    """

    points: tuple[tuple[float, float], ...]
    least: float
    most: float
    ticks: tuple[tuple[float, str], ...] = ()

    @property
    def line(self) -> str:
        """The points as SVG's polyline takes them."""
        return " ".join(f"{x:g},{y:g}" for x, y in self.points)


def number(value: Any) -> float | None:
    """`value` as a number that can be drawn, None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        found = float(value)
    except OverflowError:
        return None
    return found if math.isfinite(found) else None


def trend(values: Sequence[float]) -> Plot:
    """The values one after the other."""
    return _plot(list(range(len(values))), values)


def by_parameter(given: Sequence[Any], values: Sequence[float]) -> Plot:
    """The values over those of a parameter: numbers by their size, all others by name, in the order of their coming."""
    numbers = [number(one) for one in given]
    known = [one for one in numbers if one is not None]
    if len(known) == len(numbers):
        ends = sorted({min(known), max(known)})
        plot = _plot(known, values)
        words = [(_place(end, min(known), max(known), WIDTH), f"{end:g}") for end in ends]
    else:
        names = list(dict.fromkeys(str(one) for one in given))
        plot = _plot([names.index(str(one)) for one in given], values)
        words = [(_place(index, 0, len(names) - 1, WIDTH), name) for index, name in enumerate(names)]
    return Plot(plot.points, plot.least, plot.most, tuple(words))


def _plot(xs: Sequence[float], ys: Sequence[float]) -> Plot:
    left, right, least, most = min(xs), max(xs), min(ys), max(ys)
    points = tuple(
        (_place(x, left, right, WIDTH), round(HEIGHT - _place(y, least, most, HEIGHT), 1))
        for x, y in zip(xs, ys, strict=True)
    )
    return Plot(points, least, most)


def _place(value: float, low: float, high: float, size: int) -> float:
    # Halves: the difference of two huge numbers is not finite.
    span = high / 2 - low / 2
    share = (value / 2 - low / 2) / span if span > 0 else 0.5
    return round(MARGIN + share * (size - 2 * MARGIN), 1)
