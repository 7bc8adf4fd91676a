"""Small tables and numbers as HTML that screen readers can walk."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from datetime import date
from typing import Any

import ipywidgets
import polars as pl

from lepton_nb.windowing.progress import moment_text

LONGEST = 80


def table_html(table: pl.DataFrame, caption: str) -> str:
    """The rows of a small table, under its caption. Times are in UTC, to the second."""
    number = [' class="number"' if dtype.is_numeric() else "" for dtype in table.dtypes]
    titles = zip(_titles(table), number, strict=True)
    names = [f'<th scope="col"{style}>{html.escape(title)}</th>' for title, style in titles]
    columns = [cells(column) for column in table.get_columns()]
    rows = [
        "".join(f"<td{style}>{html.escape(words)}</td>" for words, style in zip(row, number, strict=True))
        for row in zip(*columns, strict=True)
    ]
    body = "".join(f"<tr>{row}</tr>" for row in rows)
    head = f"<thead><tr>{''.join(names)}</tr></thead>"
    return f"<table><caption>{html.escape(caption)}</caption>{head}<tbody>{body}</tbody></table>"


def put(widget: ipywidgets.HTML, value: str) -> None:
    """Show `value`, and send it only where it is another."""
    if widget.value != value:
        widget.value = value


def table_text(table: pl.DataFrame) -> str:
    """The rows of a small table as plain text, in columns."""
    columns = [
        [title, *cells(table.get_column(name))] for name, title in zip(table.columns, _titles(table), strict=True)
    ]
    number = [dtype.is_numeric() for dtype in table.dtypes]
    lines = []
    for row in zip(*columns, strict=True):
        parts = []
        for words, column, right in zip(row, columns, number, strict=True):
            width = max(map(len, column))
            parts.append(words.rjust(width) if right else words.ljust(width))
        lines.append("  ".join(parts).rstrip())
    return "\n".join(lines)


def _titles(table: pl.DataFrame) -> list[str]:
    return [_short(name) + (" (UTC)" if dtype == pl.Datetime else "") for name, dtype in table.schema.items()]


def facts_html(facts: Sequence[tuple[str, str]]) -> str:
    """Labels and values, side by side."""
    pairs = "".join(f"<div><dt>{html.escape(label)}</dt><dd>{html.escape(value)}</dd></div>" for label, value in facts)
    return f'<dl class="lepton-facts">{pairs}</dl>' if pairs else ""


def cells(column: pl.Series) -> list[str]:
    """Values as a reader sees them: floats with as many decimals as give the largest of them five digits."""
    decimals = 0
    if column.dtype.is_float():
        largest = max((abs(value) for value in column if value is not None and math.isfinite(value)), default=0.0)
        decimals = min(6, max(0, 4 - math.floor(math.log10(largest)))) if largest else 0
    return [cell(value, decimals) for value in column.to_list()]


def cell(value: Any, decimals: int = 0) -> str:
    """A value as a reader sees it, cut off where it is long."""
    if value is None:
        return "none"
    if isinstance(value, float):
        return f"{value:,.{decimals}f}"
    if isinstance(value, date):
        return moment_text(value).removesuffix(" UTC")
    if isinstance(value, list | dict):
        inner = value.values() if isinstance(value, dict) else value
        return _short((" " if isinstance(value, dict) else ", ").join(cell(one, 3) for one in inner))
    words = f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
    return _short(words)


def _short(words: str) -> str:
    return words if len(words) <= LONGEST else words[: LONGEST - 1] + "…"
