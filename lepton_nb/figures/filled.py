"""Whether a figure has anything to show, and how it looks until then: bare axes, and a line that says so."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from lepton_nb.figures.series import Series

NO_DATA = "No data yet"
# Where a trace that does not grow has what it draws.
_HELD = ("x", "y", "z", "values", "labels", "q1", "median", "open", "close", "lat", "lon", "r", "theta")
_BARE = {"showticklabels": False, "ticks": "", "showgrid": False, "zeroline": False}


def has_data(one: Series) -> bool:
    """True where there is a point, a bar, a cell or the like to be drawn."""
    if one.grows:
        return bool(np.isfinite(one.y).any())
    return any(_filled(one.options.get(name)) for name in _HELD)


def _filled(held: Any) -> bool:
    if isinstance(held, Mapping):
        # An array as plotly.js reads it.
        return bool(held.get("bdata"))
    if isinstance(held, list):
        return any(_filled(item) if isinstance(item, list) else item is not None for item in held)
    return False


def until_filled(layout: Mapping[str, Any], series: Sequence[Series]) -> dict[str, Any]:
    """The layout of a figure without data: its axes without the numbers that plotly.js makes up, and "No data yet".

    An axis with a range keeps its numbers; words that the layout has already stay, and are the only ones.
    """
    bare = dict(layout)
    for name in _axes(layout, series):
        axis = layout.get(name) or {}
        if not axis.get("range"):
            bare[name] = {**axis, **_BARE}
    if not any(note.get("text") for note in layout.get("annotations") or ()):
        said = {"text": NO_DATA, "showarrow": False, "xref": "paper", "yref": "paper", "x": 0.5, "y": 0.5}
        bare["annotations"] = [said]
    return bare


def _axes(layout: Mapping[str, Any], series: Iterable[Series]) -> set[str]:
    drawn = {f"{way}axis{str(one.options.get(f'{way}axis') or way)[1:]}" for one in series for way in "xy"}
    return {"xaxis", "yaxis", *drawn, *(name for name in layout if re.fullmatch(r"[xy]axis\d*", name))}
