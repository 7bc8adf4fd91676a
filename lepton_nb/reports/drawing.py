"""The plotly.js of a page: one for all of its figures, compressed, and no larger than they need."""

from __future__ import annotations

import base64
import functools
import gzip
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lepton_nb.figures import plotly_js

# Up to so many points a figure for the graphics processor is drawn as the same picture without it: a page can hold only
# a few of the other kind, and on paper they are coarse.
PLAIN_POINTS = 20_000
UNKNOWN = "unknown"
_USE = re.compile(r"\bPlotly\.\w+\(")
_CALL = re.compile(r"""Plotly\.(?:newPlot|react)\(\s*(?:"[^"]*"|'[^']*')\s*,\s*""")


@dataclass(frozen=True, slots=True)
class Library:
    """A plotly.js, compressed and in base64; `reason` says why it is all of it, "" when a part is enough."""

    packed: str
    reason: str = ""


def library(figures: Iterable[tuple[str, frozenset[str]]]) -> Library | None:
    """What draws `figures`, each given by its title and the types of its traces; None when there are none."""
    found = list(figures)
    for title, types in found:
        beyond = sorted(types - plotly_js.TRACES)
        if UNKNOWN in beyond:
            return Library(_whole(), "a script of an output draws what cannot be told before")
        if beyond:
            return Library(_whole(), f"the figure {title!r} is of the type {beyond[0]}, which a smaller part lacks")
    return Library(_part()) if found else None


def plain(data: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Traces as they are drawn: `scattergl` as `scatter` where they have few points together."""
    large = [one for one in data if one.get("type") == "scattergl"]
    if sum(max(_length(one.get(axis)) for axis in ("x", "y")) for one in large) > PLAIN_POINTS:
        return list(data)
    return [{**one, "type": "scatter"} if one.get("type") == "scattergl" else one for one in data]


def types(data: Iterable[Mapping[str, Any]]) -> frozenset[str]:
    """The types of traces."""
    return frozenset(str(one.get("type") or "scatter") for one in data)


def types_in_html(html: str) -> frozenset[str]:
    """The types of the traces in the calls of Plotly that `html` holds; UNKNOWN is one when a call cannot be read."""
    found: set[str] = set()
    if not _USE.search(html):
        return frozenset()
    for call in _CALL.finditer(html):
        try:
            data, _ = json.JSONDecoder().raw_decode(html, call.end())
            found |= types(data)
        except (ValueError, AttributeError, TypeError):
            found.add(UNKNOWN)
    return frozenset(found or {UNKNOWN})


def in_words(data: Sequence[Mapping[str, Any]], layout: Mapping[str, Any]) -> str:
    """What a figure shows, in some sentences for those who do not see it; "" for one that cannot be told."""
    from lepton_nb.figures.series import Series
    from lepton_nb.figures.trace_words import unpacked
    from lepton_nb.figures.words import describe

    try:
        series = [Series({key: unpacked(value) for key, value in trace.items()}) for trace in data]
        return describe(series, layout)
    except Exception:  # figures of notebooks hold anything, and a missing description must not cost the report
        return ""


def _length(values: Any) -> int:
    if isinstance(values, Mapping):
        # As plotly packs an array: four letters are three bytes, and no number is smaller than one.
        return len(str(values.get("bdata", ""))) * 3 // 4 // _bytes(str(values.get("dtype", "")))
    return len(values) if isinstance(values, Sequence) and not isinstance(values, str) else 0


def _bytes(dtype: str) -> int:
    digits = dtype[1:]
    return int(digits) if digits in ("1", "2", "4", "8") else 1


@functools.cache
def _part() -> str:
    return _packed(plotly_js.script())


@functools.cache
def _whole() -> str:
    from plotly.offline import get_plotlyjs

    return _packed(str(get_plotlyjs()))


def _packed(script: str) -> str:
    # Without a time: the same report is the same file.
    return base64.b64encode(gzip.compress(script.encode(), 9, mtime=0)).decode()
