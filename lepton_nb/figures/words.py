"""A figure in words, for those who do not see it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np

from lepton_nb.figures import trace_words
from lepton_nb.figures.filled import NO_DATA, has_data
from lepton_nb.figures.series import Series
from lepton_nb.figures.tags import plain

MOST_TRACES = 8
_KINDS = {
    "scatter": "line chart",
    "bar": "bar chart",
    "heatmap": "heat map",
    "histogram": "histogram",
    "pie": "pie chart",
    "box": "box plot",
}


def describe(series: Sequence[Series], layout: Mapping[str, Any]) -> str:
    """Some sentences: what kind of chart, its axes, and for each line how many points, the last, lowest and highest.

    Of bars, parts and cells the largest and the smallest are told by name, of a distribution its ends and its middle.
    """
    shown = [one for one in series if one.options.get("visible", True) is True and _says_something(one)]
    kinds = dict.fromkeys(_kind(one) for one in shown)
    title = _text(layout.get("title"))
    sentences = [f"{' and '.join(kinds).capitalize() or 'Empty chart'}{f': {title}' if title else ''}."]
    axes = [(name, _text((layout.get(name + "axis") or {}).get("title"))) for name in "xy"]
    if any(text for _, text in axes):
        sentences.append("; ".join(f"{name} axis: {text}" for name, text in axes if text) + ".")
    notes = [plain(str(note.get("text") or "")) for note in layout.get("annotations") or ()]
    empty = not any(map(has_data, series))
    sentences += [f"{note}." for note in notes if note and (empty or not shown)]
    if empty:
        return " ".join([*sentences, *([] if any(notes) else [f"{NO_DATA}."])])
    sentences += [_sentence(one, layout) for one in shown[:MOST_TRACES]]
    if len(shown) > MOST_TRACES:
        sentences.append(f"And {len(shown) - MOST_TRACES} more.")
    return " ".join(sentences)


def _says_something(one: Series) -> bool:
    """Lines that only guide the eye, which do not answer the mouse either, are left out."""
    return one.options.get("hoverinfo") != "skip" and (not one.grows or one.rows > 0)


def _kind(one: Series) -> str:
    kind = str(one.options.get("type") or "scatter")
    if kind == "scatter" and one.options.get("mode") == "markers":
        return "chart of points"
    return _KINDS.get(kind, kind)


def _sentence(one: Series, layout: Mapping[str, Any]) -> str:
    name = plain(one.name)
    said = f"{name}: " if name else ""
    if not one.grows:
        return f"{said}{_held(one, layout)}."
    # Both ignore NaN, and need no copy of what may be millions of points.
    lowest, highest = np.fmin.reduce(one.y), np.fmax.reduce(one.y)
    if np.isnan(lowest):
        return f"{said}no values."
    last = one.rows - 1
    while np.isnan(one.y[last]):
        last -= 1
    where = _moment(one.x[last]) if one.dates else f"{one.x[last]:.6g}"
    return (
        f"{said}{one.rows:,} {'point' if one.rows == 1 else 'points'}, the last {one.y[last]:.4g} at {where}, "
        f"lowest {lowest:.4g}, highest {highest:.4g}."
    )


def _held(one: Series, layout: Mapping[str, Any]) -> str:
    """What a trace that is no line holds."""
    match one.options.get("type"):
        case "bar":
            return trace_words.bars(one.options)
        case "heatmap":
            return trace_words.cells(one.options, layout)
        case "pie":
            return trace_words.slices(one.options)
        case "histogram" | "box":
            return trace_words.spread(one.options)
    values = trace_words.unpacked(one.options.get("y"))
    return f"{len(values):,} values" if isinstance(values, list | np.ndarray) else "values"


def _moment(ms: float) -> str:
    if not np.isfinite(ms):
        return "no time"
    return datetime.fromtimestamp(ms / 1e3, UTC).strftime("%Y-%m-%d %H:%M:%S")


def _text(title: Any) -> str:
    text = title.get("text") if isinstance(title, Mapping) else title
    return plain(str(text or ""))
