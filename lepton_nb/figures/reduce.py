"""Fewer points of a line that look the same: what the pixels of a chart can show, spikes and gaps kept."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Indices = npt.NDArray[np.intp]

# MinMaxLTTB first keeps the extremes of this many buckets for each point that it returns (its authors' default).
# Van Der Donckt, Van Der Donckt, Rademaker, Van Hoecke: "MinMaxLTTB: Leveraging MinMax-Preselection to Scale LTTB for
# Line Chart Visualization", IEEE VIS 2023.
MINMAX_RATIO = 4
# From here on several threads are worth their start.
MANY_ROWS = 200_000


def visible(x: Floats, first: float, last: float) -> slice:
    """The rows of sorted `x` between `first` and `last`, both included, with one neighbour at each side.

    The neighbours are where the lines that leave the picture go to.
    """
    start = int(np.searchsorted(x, first, side="left"))
    end = int(np.searchsorted(x, last, side="right"))
    return slice(max(0, start - 1), min(len(x), end + 1))


def thin(x: Floats, y: npt.NDArray[Any], points: int) -> Indices:
    """Ascending indices of about `points` of the rows, which draw the same line; all of them if there are no more.

    x: (rows,), ascending; y: (rows,) numbers, NaN or infinite for a gap. Extremes are kept, and so
    are the ends of each gap unless there are more gaps than points.
    """
    rows = len(x)
    if rows <= points:
        return np.arange(rows)
    values = np.ascontiguousarray(y, dtype=None if y.dtype in (np.float32, np.float64) else np.float64)
    missing = ~np.isfinite(values)
    if not missing.any():
        return _minmax_lttb(x, values, points)
    # A gap has no place among the extremes: filled with the mean, those of the rest remain.
    known = values[~missing]
    kept = _minmax_lttb(x, np.where(missing, known.mean() if known.size else 0.0, values), points)
    change = np.flatnonzero(missing[1:] != missing[:-1])
    if len(change) > points:
        return np.asarray(kept[~missing[kept]])
    # A row without a value, where there is one beside a row with a value, makes the line stop there.
    return np.unique(np.concatenate([kept[~missing[kept]], change, change + 1]))


def _minmax_lttb(x: Floats, y: npt.NDArray[Any], points: int) -> Indices:
    from tsdownsample import MinMaxLTTBDownsampler

    found = MinMaxLTTBDownsampler().downsample(
        x, y, n_out=max(4, points), minmax_ratio=MINMAX_RATIO, parallel=len(x) > MANY_ROWS
    )
    return np.unique(found.astype(np.intp))
