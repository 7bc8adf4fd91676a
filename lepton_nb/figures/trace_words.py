"""Bars, cells, shares and distributions in words: which are the largest and the smallest, by their names.

Nothing is told that the trace does not hold: a name or a number that is missing is left out.
"""

from __future__ import annotations

import base64
import collections
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from lepton_nb.figures.series import CODES, numbers
from lepton_nb.figures.tags import plain

_DTYPES = {code: name for name, code in CODES.items()}


def bars(trace: Mapping[str, Any]) -> str:
    """How many bars, the largest and the smallest by name."""
    along, up = ("y", "x") if trace.get("orientation") == "h" else ("x", "y")
    heights = _numbers(trace.get(up))
    if heights is None or not np.isfinite(heights).any():
        return _counted(trace.get(up), "bar")
    # What has no value has no bar.
    return f"{_many(int(np.isfinite(heights).sum()), 'bar')}, {_ends(heights, _names(trace.get(along)))}"


def cells(trace: Mapping[str, Any], layout: Mapping[str, Any]) -> str:
    """How large the table is, its range, and where the highest value is."""
    found = unpacked(trace.get("z"))
    try:
        table = np.array(found, dtype=np.float64) if found is not None else np.empty((0, 0))
    except (TypeError, ValueError):
        return "cells"
    if table.ndim != 2 or not np.isfinite(table).any():
        return "no values"
    if trace.get("transpose"):
        table = table.T
    unit = str((trace.get("colorbar") or {}).get("ticksuffix") or "")
    size = f"{_many(table.shape[1], 'column')} and {_many(table.shape[0], 'row')}"
    there = table[np.isfinite(table)]
    lowest, highest = float(there.min()), float(there.max())
    if lowest == highest:
        return f"{size}, all {lowest:.4g}{unit}"
    at = np.argwhere(table == highest)
    titles = [_title(layout, trace, way) for way in "xy"]
    names = [_names(trace.get(way)) for way in "xy"]
    # As plotly.js counts where there are no names.
    where = [
        f"{title} {_named(known, int(index)) or index}"
        for title, known, index in zip(titles, names, at[0][::-1], strict=True)
    ]
    return (
        f"{size}, from {lowest:.4g}{unit} to {highest:.4g}{unit}, the highest at {' and '.join(where)}"
        f"{_others(len(at) - 1)}"
    )


def slices(trace: Mapping[str, Any]) -> str:
    """How many parts, the largest and the smallest with their shares."""
    labels, values = _names(trace.get("labels")), _numbers(trace.get("values"))
    if values is None:
        sums = {name: float(count) for name, count in collections.Counter(labels).items()}
    else:
        sums = collections.defaultdict(float)
        for number, value in enumerate(values):
            # Plotly adds up what has the same label; a part below zero or without a number has no place.
            if np.isfinite(value) and value >= 0:
                sums[_named(labels, number) or str(number)] += float(value)
    whole = sum(sums.values())
    if not whole:
        return "no values"
    ranked = sorted(sums, key=lambda name: -sums[name])
    first, last = (f"{name} with {100 * sums[name] / whole:.3g} %" for name in (ranked[0], ranked[-1]))
    several = f", the smallest {last}" if len(ranked) > 1 else ""
    return f"{_many(len(ranked), 'part')}, the largest {first}{several}"


def spread(trace: Mapping[str, Any]) -> str:
    """Of a histogram or a box: how many values, the ends and the median; of names the most frequent."""
    held = trace.get("y") if trace.get("orientation") == "h" or trace.get("x") is None else trace.get("x")
    if trace.get("type") == "box":
        middles = _numbers(trace.get("median"))
        if middles is not None and np.isfinite(middles).any():
            across = trace.get("y") if trace.get("orientation") == "h" else trace.get("x")
            said = _ends(middles, _names(across))
            return f"{_many(len(middles), 'box', 'boxes')}, of their medians {said}"
        held = trace.get("x") if trace.get("orientation") == "h" or trace.get("y") is None else trace.get("y")
    values = _numbers(held)
    if values is None:
        names = _names(held)
        if not names:
            return "no values"
        (name, count), *_ = collections.Counter(names).most_common(1)
        return f"{_many(len(names), 'value')}, most often {name} ({count:,})"
    values = values[np.isfinite(values)]
    if not len(values):
        return "no values"
    return (
        f"{_many(len(values), 'value')}, lowest {values.min():.4g}, median {np.median(values):.4g}, "
        f"highest {values.max():.4g}"
    )


def _ends(values: npt.NDArray[np.float64], names: Sequence[str]) -> str:
    """The largest and the smallest of the values that are there, with their names."""
    there = values[np.isfinite(values)]
    highest, lowest = there.max(), there.min()
    if highest == lowest:
        return f"all {highest:.4g}" if len(there) > 1 else f"{highest:.4g}{_of(values, highest, names)}"
    return (
        f"the largest {highest:.4g}{_of(values, highest, names)}, the smallest {lowest:.4g}{_of(values, lowest, names)}"
    )


def _of(values: npt.NDArray[np.float64], value: float, names: Sequence[str]) -> str:
    at = np.flatnonzero(values == value)
    name = _named(names, int(at[0]))
    return f" ({name}{_others(len(at) - 1)})" if name else ""


def _others(count: int) -> str:
    return f" and {count:,} more" if count else ""


def _named(names: Sequence[str], number: int) -> str:
    return names[number] if number < len(names) else ""


def _title(layout: Mapping[str, Any], trace: Mapping[str, Any], way: str) -> str:
    """What an axis is called."""
    axis = layout.get(f"{way}axis{str(trace.get(f'{way}axis') or way)[1:]}") or {}
    title = axis.get("title")
    return plain(str((title.get("text") if isinstance(title, Mapping) else title) or way))


def _names(held: Any) -> list[str]:
    """What the places along an axis are called."""
    found = unpacked(held)
    if not isinstance(found, list | np.ndarray):
        return []
    return [f"{one:.6g}" if isinstance(one, float | np.floating) else plain(str(one)) for one in found]


def _numbers(held: Any) -> npt.NDArray[np.float64] | None:
    found = unpacked(held)
    return None if found is None else numbers(found)


def unpacked(held: Any) -> Any:
    """An array in the form in which plotly.js reads it as one of NumPy; all else as it is."""
    if not isinstance(held, Mapping) or "bdata" not in held:
        return held
    found = np.frombuffer(base64.b64decode(held["bdata"]), dtype=_DTYPES[held["dtype"]])
    return found.reshape([int(part) for part in str(held["shape"]).split(",")]) if "shape" in held else found


def _counted(held: Any, what: str) -> str:
    found = unpacked(held)
    return _many(len(found), what) if isinstance(found, list | np.ndarray) and len(found) else "no values"


def _many(count: int, what: str, several: str = "") -> str:
    return f"{count:,} {what if count == 1 else several or what + 's'}"
