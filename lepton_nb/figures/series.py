"""A trace of a figure whose points can grow, and what of it a chart of so many pixels needs."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from typing import Any

import numpy as np
import numpy.typing as npt

from lepton_nb.errors import LeptonError
from lepton_nb.figures.reduce import Floats, thin, visible

# What a line of so many pixels is drawn with at most.
POINTS_A_PIXEL = 2
FEWEST_POINTS = 500

_LINES = ("lines", "lines+markers", None)
CODES = {"float64": "f8", "float32": "f4", "int32": "i4", "int16": "i2", "int8": "i1", "uint8": "u1", "uint16": "u2"}


class Series:
    """One trace. `options` is all of it but `x` and `y`, as JSON can carry it.

    trace: a trace of a Plotly figure as a dict. Lines and points over numbers or times grow (`append`) and are thinned
    when there are more of them than can be seen; times become milliseconds since the epoch, as Plotly's date axis
    counts them (`dates`). All other traces are kept as they are.
    """

    def __init__(self, trace: Mapping[str, Any]) -> None:
        given = dict(trace)
        self.dates = False
        self.grows = False
        self._ascending = True
        self._rows = 0
        self._x: npt.NDArray[Any] = np.empty(0)
        self._y: npt.NDArray[Any] = np.empty(0)
        if given.get("type", "scatter") in ("scatter", "scattergl"):
            given["type"] = "scatter"
            self._take(given)
        self.options: dict[str, Any] = jsonable(given)

    def _take(self, given: dict[str, Any]) -> None:
        y = numbers(given.get("y", ()))
        x = given.get("x")
        found = times(x) if x is not None else None
        self.dates = found is not None
        if found is None:
            found = numbers(x) if x is not None else None if y is None else np.arange(len(y), dtype=np.float64)
        if found is None or y is None or len(found) != len(y):
            self.dates = False
            return
        given.pop("x", None)
        given.pop("y", None)
        self.grows = True
        self._x, self._y, self._rows = found, y, len(y)
        self._ascending = bool((found[1:] >= found[:-1]).all())

    @property
    def rows(self) -> int:
        """Points so far, of a trace that grows."""
        return self._rows

    @property
    def x(self) -> Floats:
        """(rows,) numbers, or milliseconds since the epoch."""
        return self._x[: self._rows]

    @property
    def y(self) -> Floats:
        """(rows,)"""
        return self._y[: self._rows]

    @property
    def name(self) -> str:
        """As the legend has it."""
        return str(self.options.get("name") or "")

    @property
    def axis(self) -> str:
        """The name of its x axis in a layout: "xaxis", "xaxis2", ..."""
        return "xaxis" + str(self.options.get("xaxis") or "x")[1:]

    def append(self, x: Any, y: Any) -> None:
        """Add points at the end. Raises LeptonError for what does not fit to those that are there."""
        if not self.grows:
            raise LeptonError(
                f"trace {self.name!r} cannot grow: points are added to lines and markers over numbers or times; show a "
                "whole figure instead"
            )
        found, values = (times(x) if self.dates else numbers(x)), numbers(y)
        kind = "times" if self.dates else "numbers"
        if found is None or values is None:
            raise LeptonError(f"new points of trace {self.name!r} need {kind} for x and numbers for y")
        if len(found) != len(values):
            raise LeptonError(
                f"new points of trace {self.name!r} need as many {kind} for x as numbers for y, not {len(found)} and "
                f"{len(values)}"
            )
        self._check_growing(found)
        rows = self._rows + len(found)
        if rows > len(self._x):
            room = max(1024, 2 * rows)
            self._x, self._y = (_larger(old, self._rows, room) for old in (self._x, self._y))
        self._x[self._rows : rows], self._y[self._rows : rows] = found, values
        self._rows = rows

    def _check_growing(self, found: Floats) -> None:
        if self._ascending and len(found):
            after = self._rows == 0 or found[0] >= self._x[self._rows - 1]
            self._ascending = bool(after and (found[1:] >= found[:-1]).all())

    def thins(self, points: int) -> bool:
        """True where fewer points than there are would be drawn, with room for `points` of them."""
        return self.grows and self._ascending and self._rows > points and self._plain

    @property
    def _plain(self) -> bool:
        """True for lines whose points have nothing of their own, such as a size or a text each."""
        marker, texts = self.options.get("marker") or {}, ("customdata", "text", "hovertext", "ids")
        own = [self.options.get(name) for name in texts] + [*marker.values()]
        return self.options.get("mode") in _LINES and not any(isinstance(one, dict | list) and one for one in own)

    def drawn(self, points: int, span: tuple[float, float] | None = None) -> tuple[Floats, Floats]:
        """x and y to draw: of the rows within `span` (all where None), both ends included, about `points`."""
        if not self.thins(points):
            return self.x, self.y
        rows = slice(0, self._rows) if span is None else visible(self.x, *span)
        x, y = self._x[rows], self._y[rows]
        kept = thin(x, y, points)
        return x[kept], y[kept]

    def same_options(self, other: Series) -> bool:
        """True where both look alike, whatever their points."""
        return self.options == other.options and self.grows == other.grows and self.dates == other.dates

    def same_points(self, other: Series) -> bool:
        """True where both have the same points; of a trace that does not grow, `options` has them."""
        if self._rows != other._rows:
            return False
        return all(np.array_equal(a, b, equal_nan=True) for a, b in ((self.x, other.x), (self.y, other.y)))

    def begins(self, other: Series) -> bool:
        """True where `other` has the same points, and then more."""
        rows = self._rows
        return rows <= other.rows and all(
            np.array_equal(old, new[:rows], equal_nan=True) for old, new in ((self.x, other.x), (self.y, other.y))
        )

    def trace(self, points: int | None = None) -> dict[str, Any]:
        """As Plotly takes it, with all points, or thinned to about so many."""
        if not self.grows:
            return dict(self.options)
        x, y = (self.x, self.y) if points is None else self.drawn(points)
        return self.options | {"x": x.astype("datetime64[ms]") if self.dates else x, "y": y}


def numbers(values: Any) -> Floats | None:
    """As 64-bit floats, None becoming NaN; None where they are not numbers."""
    values = _in_numpy(values)
    if isinstance(values, np.ndarray):
        if values.ndim != 1 or values.dtype.kind not in "iufbO":
            return None
        if values.dtype.kind != "O":
            return np.ascontiguousarray(values, dtype=np.float64)
        values = values.tolist()
    try:
        values = list(values)
        if not all(value is None or isinstance(value, int | float | np.number) for value in values):
            return None
        return np.array([np.nan if value is None else value for value in values], dtype=np.float64)
    except TypeError:
        return None


def times(values: Any) -> Floats | None:
    """Milliseconds since the epoch of times or of text such as 2013-01-01T05:00:00; None where they are neither."""
    values = _in_numpy(values)
    kind = values.dtype.kind if isinstance(values, np.ndarray) else "O"
    if kind not in "MOU":
        return None
    if kind != "M":
        values = list(values) if isinstance(values, Sequence | np.ndarray) and not isinstance(values, str) else []
        if not all(_is_time(value) for value in values) or all(value is None for value in values):
            return None
        values = [_in_utc(value) if isinstance(value, datetime) and value.tzinfo else value for value in values]
    try:
        found = np.array(values, dtype="datetime64[us]")
    except ValueError:
        return None
    ticks = found.astype(np.int64) / 1e3
    ticks[np.isnat(found)] = np.nan
    return np.asarray(ticks, dtype=np.float64)


def _in_numpy(values: Any) -> Any:
    """A series of Polars or pandas, which know their types, as an array; all else as it is."""
    return values.to_numpy() if hasattr(values, "to_numpy") else values


def _in_utc(time: datetime) -> datetime:
    return time.astimezone(UTC).replace(tzinfo=None)


def _is_time(value: Any) -> bool:
    if isinstance(value, str):
        return len(value) >= 10 and value[:4].isdigit() and value[4] == "-" and value[7] == "-"
    return value is None or isinstance(value, date | np.datetime64)


def _larger(old: npt.NDArray[Any], rows: int, room: int) -> npt.NDArray[Any]:
    new = np.empty(room, dtype=np.float64)
    new[:rows] = old[:rows]
    return new


def jsonable(value: Any) -> Any:
    """Part of a figure as JSON can carry it; arrays in the form in which plotly.js reads them."""
    if isinstance(value, Mapping):
        return {key: jsonable(item) for key, item in value.items()}
    if isinstance(value, np.ndarray):
        if value.ndim in (1, 2) and value.dtype.kind in "iuf":
            known = value if value.dtype.name in CODES else value.astype(np.float64)
            packed = {"dtype": CODES[known.dtype.name], "bdata": base64.b64encode(known.tobytes()).decode()}
            return packed if value.ndim == 1 else packed | {"shape": ",".join(map(str, value.shape))}
        return jsonable(value.tolist())
    if isinstance(value, list | tuple):
        return [jsonable(item) for item in value]
    if isinstance(value, np.generic):
        return jsonable(value.item())
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, float) and not np.isfinite(value):
        return None
    return value


def raw(values: Floats) -> memoryview:
    """The bytes of 64-bit floats."""
    return np.ascontiguousarray(values, dtype=np.float64).data.cast("B")


def ends_of(span: Any, *, dates: bool) -> tuple[float, float] | None:
    """Both ends of a part of an axis, the lower first, as numbers; None where they are not two numbers or times."""
    if isinstance(span, str) or len(span) != 2:
        return None
    found = times([str(end) for end in span]) if dates else numbers(span)
    if found is None or not np.isfinite(found).all():
        return None
    return float(found.min()), float(found.max())


def equal(a: Any, b: Any) -> bool:
    """True where two parts of a figure are surely equal; of those with arrays that is not asked."""
    try:
        return bool(a == b)
    except ValueError:
        return False
