"""The pieces that panels leave in a report: headings, words, tables and figures, without a control among them."""

from __future__ import annotations

import html
import re
from typing import TYPE_CHECKING, Any

from lepton_nb.widgets.tables import table_html, table_text

if TYPE_CHECKING:
    import polars as pl

Piece = dict[str, Any]

LOWEST = 6


def heading(text: str, level: int) -> Piece:
    """A heading, of level 1 to 6 or what is nearest, that a report lists in its contents."""
    line = " ".join(text.split())
    # What Markdown would read as marks is data here.
    escaped = re.sub(r"([\\`*_\[\]#$~|])", r"\\\1", html.escape(line, quote=False))
    return {"text/markdown": f"{'#' * max(1, min(level, LOWEST))} {escaped}", "text/plain": line}


def words(text: str) -> Piece:
    """Each line as a paragraph."""
    lines = [line for line in text.splitlines() if line.strip()]
    return {"text/html": "".join(f"<p>{html.escape(line)}</p>" for line in lines), "text/plain": text}


def table(rows: pl.DataFrame, caption: str) -> Piece:
    """A small table under its caption."""
    return {"text/html": table_html(rows, caption), "text/plain": f"{caption}:\n{table_text(rows)}"}
