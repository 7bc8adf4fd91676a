"""Figures of window results: a table from `WindowQuery.collect` in, a Plotly figure out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import polars as pl

from lepton_nb.errors import WindowError
from lepton_nb.figures.palette import COLOURS

if TYPE_CHECKING:
    import plotly.graph_objects as go

START = "window_start"

DASHES = ("solid", "dash", "dot", "dashdot")

# A line on a regular grid needs no x values, but a slot for each empty window; past this many slots a window,
# x values are smaller.
MOST_SLOTS_PER_WINDOW = 4


def lines(
    table: pl.DataFrame,
    value: str,
    key: str | Sequence[str] | None = None,
    *,
    unit: str = "",
    title: str = "",
) -> go.Figure:
    """One line a key: the column `value` over the start of its window, in UTC.

    table: a window result, with column window_start. key: the key column or columns; needed where the table has
    several rows for a window. unit: of `value`, for the axis, such as "min". Windows that are missing or null break
    the line; a window with no neighbour is a dot. Values are drawn in single precision.
    Raises WindowError for columns that are missing or cannot be drawn, and for several rows in one window.
    """
    import plotly.graph_objects as go

    keys = [] if key is None else [key] if isinstance(key, str) else list(key)
    drawn = _prepared(table, value, keys)
    step_ms = _step_ms(drawn)
    figure = go.Figure()
    for number, (label, start_ms, values) in enumerate(_series(drawn)):
        style = {"color": COLOURS[number % len(COLOURS)], "dash": DASHES[number // len(COLOURS) % len(DASHES)]}
        hover = (
            f"%{{x|%Y-%m-%d %H:%M:%S}} UTC<br>%{{y:.6~g}}{' ' + unit if unit else ''}<extra>{_escaped(label)}</extra>"
        )
        figure.add_scatter(
            **_line(start_ms, values, step_ms),
            mode="lines",
            name=_escaped(label) or _escaped(value),
            legendgroup=label,
            line={"width": 1.5, **style},
            hovertemplate=hover,
            connectgaps=False,
        )
        lonely = _alone(start_ms, values, step_ms)
        if lonely.any():
            figure.add_scatter(
                x=_times(start_ms[lonely]),
                y=values[lonely],
                mode="markers",
                legendgroup=label,
                showlegend=False,
                marker={"size": 3, "color": style["color"]},
                hoverinfo="skip",
            )
    several = drawn.get_column("label").n_unique() > 1
    figure.update_layout(
        template="plotly_white",
        title={"text": _escaped(title)} if title else None,
        showlegend=several,
        legend={"title": {"text": _escaped(", ".join(keys))}},
        hovermode="closest",
        xaxis={"type": "date", "title": {"text": "window start (UTC)"}},
        yaxis={"title": {"text": _escaped(f"{value} ({unit})" if unit else value)}},
    )
    if not drawn.height:
        figure.add_annotation(text="no windows", showarrow=False, xref="paper", yref="paper", x=0.5, y=0.5)
    return figure


def _prepared(table: pl.DataFrame, value: str, keys: list[str]) -> pl.DataFrame:
    """Columns label, start_ms (since the epoch, UTC) and value (Float32), sorted; one row a window and label."""
    for column in (START, value, *keys):
        if column not in table.columns:
            raise WindowError.unknown("column", column, table.columns)
    dtype = table.schema[value]
    if not (dtype.is_numeric() or dtype == pl.Boolean):
        raise WindowError(f"column {value!r} is {dtype}; a line needs numbers", column=value, dtype=str(dtype))
    if not isinstance(table.schema[START], pl.Datetime | pl.Date):
        raise WindowError(f"column {START!r} is {table.schema[START]}, not a time; give the result of collect()")
    start = pl.col(START).cast(pl.Datetime("ms")) if table.schema[START] == pl.Date else pl.col(START)
    label = pl.concat_str([pl.col(k).cast(pl.String) for k in keys], separator=" ") if keys else pl.lit("")
    drawn = table.select(
        *[pl.col(k).alias(f"key{i}") for i, k in enumerate(keys)],
        label.alias("label"),
        start.dt.epoch("ms").alias("start_ms"),
        pl.col(value).cast(pl.Float32).alias("value"),
    ).sort([f"key{i}" for i in range(len(keys))] + ["start_ms"])
    if drawn.select("label", "start_ms").is_duplicated().any():
        others = [c for c in table.columns if c not in (START, "window_end", value, *keys)]
        raise WindowError(
            f"several rows share a window{' and key' if keys else ''}; give the columns that tell them apart as key "
            f"(the table also has {', '.join(repr(c) for c in others) or 'none'})"
        )
    return drawn


def _series(drawn: pl.DataFrame) -> Iterator[tuple[str, npt.NDArray[np.int64], npt.NDArray[np.float32]]]:
    for part in drawn.partition_by("label", maintain_order=True):
        values = part.get_column("value").fill_null(float("nan")).to_numpy()
        yield part.get_column("label")[0], part.get_column("start_ms").to_numpy(), values


def _step_ms(drawn: pl.DataFrame) -> int:
    """The shortest time between the starts of two windows; 0 where there are not two."""
    steps = drawn.get_column("start_ms").unique().sort().diff().drop_nulls()
    return int(steps.min() or 0)  # type: ignore[arg-type]


def _line(start_ms: npt.NDArray[np.int64], values: npt.NDArray[np.float32], step_ms: int) -> dict[str, Any]:
    """x and y of a line with breaks; x as a start and a step where the windows lie on a regular grid."""
    if not step_ms:
        return {"x": _times(start_ms), "y": values}
    slots, rest = np.divmod(start_ms - start_ms[0], step_ms)
    size = int(slots[-1]) + 1
    if not rest.any() and size <= MOST_SLOTS_PER_WINDOW * len(values):
        grid = np.full(size, np.nan, dtype=np.float32)
        grid[slots] = values
        return {"x0": _times(start_ms[:1])[0], "dx": step_ms, "y": grid}
    # Civil days are up to an hour or so longer than the shortest, so only a wider space is a gap.
    after = np.flatnonzero(np.diff(start_ms) >= 2 * step_ms) + 1
    x = np.insert(start_ms, after, start_ms[after - 1] + step_ms)
    return {"x": _times(x), "y": np.insert(values, after, np.float32("nan"))}


def _alone(start_ms: npt.NDArray[np.int64], values: npt.NDArray[np.float32], step_ms: int) -> npt.NDArray[np.bool_]:
    """True for windows that no line reaches: both neighbours missing or null."""
    there = ~np.isnan(values)
    joined = there[1:] & there[:-1] & (np.diff(start_ms) < 2 * step_ms)
    return np.asarray(there & ~np.r_[False, joined] & ~np.r_[joined, False])


def _times(epoch_ms: npt.NDArray[np.int64]) -> list[str]:
    """As Plotly's date axis reads them, in UTC; shortened where all are whole seconds."""
    form = "%Y-%m-%dT%H:%M:%S%.3f" if (epoch_ms % 1000).any() else "%Y-%m-%dT%H:%M:%S"
    return pl.Series(epoch_ms).cast(pl.Datetime("ms")).dt.strftime(form).to_list()


def _escaped(text: str) -> str:
    """Plotly reads some HTML in texts; keys are data."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
