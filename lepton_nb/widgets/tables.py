"""Small tables as HTML: text is escaped, numbers stand at the right."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from typing import Any

MOST_CHARACTERS = 60


def table(caption: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """A table with a caption; what is too long for a cell is cut, and whole as its tooltip."""
    body = [list(row) for row in rows]
    right = [
        bool(body) and all(isinstance(row[place], int | float) or row[place] is None for row in body)
        for place in range(len(columns))
    ]
    named = zip(columns, right, strict=True)
    heads = (f'<th{_side(side)} scope="col">{html.escape(name)}</th>' for name, side in named)
    lines = ("".join(_cell(value, side) for value, side in zip(row, right, strict=True)) for row in body)
    return (
        f"<table><caption>{html.escape(caption)}</caption><thead><tr>{''.join(heads)}</tr></thead>"
        f"<tbody>{''.join(f'<tr>{line}</tr>' for line in lines)}</tbody></table>"
    )


def shown(value: Any) -> str:
    """A value as a cell has it."""
    if value is None:
        return "–"  # noqa: RUF001 - a dash
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:,.4g}" if abs(value) < 1e6 else f"{value:,.0f}"
    return str(value)


def _side(right: bool) -> str:
    return ' class="number"' if right else ""


def _cell(value: Any, right: bool) -> str:
    text = shown(value)
    if len(text) <= MOST_CHARACTERS:
        return f"<td{_side(right)}>{html.escape(text)}</td>"
    return f'<td title="{html.escape(text)}">{html.escape(text[: MOST_CHARACTERS - 1])}…</td>'
