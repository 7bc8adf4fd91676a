"""Words of a figure as they are read, without the tags of HTML that Plotly knows."""

from __future__ import annotations

import html
import re


def plain(text: str) -> str:
    """`text` without tags, on one line."""
    return re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]+>", " ", text))).strip()
