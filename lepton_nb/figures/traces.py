"""Traces of a stream's timeline: what Plotly draws of windows, late rows and the watermark, as plain dicts."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import polars as pl

from lepton_nb.figures.axes import moment, moments, style, text
from lepton_nb.figures.batches import Batch, by_run
from lepton_nb.figures.palette import GREY

INK = "#000000"


def bars(part: pl.DataFrame, unit_ns: int, number: int, label: str, suffix: str, dash: str | None) -> dict[str, Any]:
    """The windows of a key as bars, joined where they touch; where they overlap, points at their ends and a line."""
    start, end = part.get_column("start").to_numpy(), part.get_column("end").to_numpy()
    begins, ends = moments(start, unit_ns), moments(end, unit_ns)
    overlap = bool((start[1:] < end[:-1]).any())
    touch = [False, *(start[1:] <= end[:-1]), False]
    line: dict[str, list[Any]] = {"x": [], "y": [], "customdata": [], "size": []}
    for index, height in enumerate(part.get_column("value").to_list()):
        if index and not touch[index]:
            for name, nothing in (("x", None), ("y", None), ("customdata", ["", ""]), ("size", 0)):
                line[name].append(nothing)
        alone = not touch[index] and not touch[index + 1]
        for x in (ends[index],) if overlap else (begins[index], ends[index]):
            line["x"].append(x)
            line["y"].append(height)
            line["customdata"].append([_spoken(begins[index]), _spoken(ends[index])])
            line["size"].append(4 if overlap or alone else 0)
    colours = style(number)
    return {
        "x": line["x"],
        "y": line["y"],
        "customdata": line["customdata"],
        "mode": "lines+markers",
        "marker": {"size": line["size"], "color": colours["color"], "line": {"width": 0}},
        "line": {"width": 1.5, "color": colours["color"], "dash": dash or colours["dash"]},
        "name": text(label),
        "legendgroup": str(number),
        "hovertemplate": (
            f"{'still open: ' if dash else ''}%{{y:.6~g}}{suffix}<br>%{{customdata[0]}} to %{{customdata[1]}} UTC"
            f"<extra>{'%{fullData.name}' if label else ''}</extra>"
        ),
    }


def _spoken(instant: str) -> str:
    return instant.replace("T", " ")


def mark(colour: str, size: Any) -> dict[str, Any]:
    return {"symbol": "x", "size": size, "color": colour, "opacity": 0.75, "line": {"width": 0}}


def marks(part: pl.DataFrame, unit_ns: int, number: int, label: str, run: Sequence[Batch]) -> dict[str, Any]:
    """The late rows of a key: at the second at which their batch was done, or in the lane of the key."""
    instants = moments(part.get_column("start").to_numpy(), unit_ns)
    counts = part.get_column("count").to_list()
    indexes = part.get_column("batch").to_list()
    rows = [f"{count:,} late rows, about" if count > 1 else "late row" for count in counts]
    behind = [_behind(instant, run, index) for instant, index in zip(instants, indexes, strict=True)]
    return {
        "x": instants,
        "y": [run[index].seconds for index in indexes] if run else [text(label) or "late"] * len(indexes),
        "customdata": [[r, _spoken(i), b] for r, i, b in zip(rows, instants, behind, strict=True)],
        "mode": "markers",
        "marker": mark(str(style(number)["color"]), [min(20.0, 4 + 3 * count**0.5) for count in counts]),
        "name": text(label),
        "legendgroup": str(number),
        "showlegend": False,
        "hovertemplate": (
            "%{customdata[0]} %{customdata[1]} UTC%{customdata[2]}"
            f"<extra>{'%{fullData.name}' if label else ''}</extra>"
        ),
    }


def _behind(instant: str, run: Sequence[Batch], index: int) -> str:
    """How far behind the watermark a row came: against the one before its batch, which made it late."""
    before = run[index - 1].watermark if run and index else None
    if before is None:
        return ""
    # Microseconds do for a text of minutes; finer digits are cut off.
    passed = datetime.fromisoformat(moment(before)) - datetime.fromisoformat(instant[:26])
    minutes, seconds = divmod(int(passed.total_seconds()), 60)
    hours, minutes = divmod(minutes, 60)
    said = f"{hours} h {minutes} min" if hours else f"{minutes} min" if minutes else f"{seconds} s"
    return f"<br>came {said} behind the watermark"


def way(run: Sequence[Batch]) -> list[dict[str, Any]]:
    """Two lines against the seconds of the run: the latest time seen, and the watermark. They move with each batch."""
    seen = by_run(run, x=lambda batch: batch.latest and moment(batch.latest), y=lambda batch: batch.seconds)
    watermark = by_run(run, x=lambda batch: batch.watermark and moment(batch.watermark), y=lambda batch: batch.seconds)
    return [
        {
            "x": line["x"],
            "y": line["y"],
            "mode": "lines",
            "line": {"shape": "vh", "color": colour, "width": width},
            "name": name,
            "hovertemplate": f"{name} %{{x|%Y-%m-%d %H:%M:%S}} UTC<br>%{{y:.2f}} s into the run<extra></extra>",
        }
        for name, line, colour, width in (("latest time seen", seen, GREY, 1), ("watermark", watermark, INK, 2))
    ]
