"""Markdown cells as HTML: headings for the table of contents, images embedded, TeX as MathML."""

from __future__ import annotations

import html
import itertools
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath

from lepton_nb.reports.formulas import Formulas
from lepton_nb.reports.offline import embedded, offline


@dataclass(frozen=True, slots=True)
class Heading:
    """A heading of the page: `anchor` is unique in it."""

    level: int
    text: str
    anchor: str


# Anchors that the page has besides those of headings; figures' hold a colon, which no heading's does.
FAILED_ANCHOR = "failed-cell"
RECORDED_ANCHOR = "recorded"
TAKEN = ("content", "plotly-js", "code-switch", FAILED_ANCHOR, RECORDED_ANCHOR)


class Markdown:
    """Renders the cells and outputs of one page in order, and gathers their headings."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.headings: list[Heading] = []
        self.title = ""
        self._titled = False

    def render(self, source: str, attachments: Mapping[str, Any] | None = None) -> str:
        """The HTML of one cell. The first heading in cells, if of level 1, becomes `title` instead."""
        return self._render(source, dict(attachments or {}), self._heading_of_cell)

    def render_output(self, source: str) -> str:
        """The HTML of an output in Markdown, with all of its headings."""
        return self._render(source, {}, self._heading)

    def _render(self, source: str, attachments: dict[str, Any], heading: Callable[[str, int], str]) -> str:
        # An attachment that is missing would end the export; an empty name shows as a missing image.
        renderer = _Renderer(self.folder, attachments, heading)
        return offline(str(MarkdownWithMath(renderer=renderer).render(source)), self.folder)

    def _heading_of_cell(self, text: str, level: int) -> str:
        first, self._titled = not self._titled, True
        if first and level == 1:
            self.title = _words(text)
            return ""
        return self._heading(text, level)

    def _heading(self, text: str, level: int) -> str:
        """The HTML of a heading whose inner HTML is `text`."""
        words = _words(text)
        slug = re.sub(r"\W+", "-", words.lower()).strip("-") or "section"
        taken = {*TAKEN, *(heading.anchor for heading in self.headings)}
        anchor = next(name for n in itertools.count(1) if (name := f"{slug}-{n}" if n > 1 else slug) not in taken)
        self.headings.append(Heading(level, words, anchor))
        return f'<h{level} id="{html.escape(anchor)}">{text}</h{level}>\n'


def _words(text: str) -> str:
    return html.unescape(re.sub(r"<[^>]+>", "", text)).strip()


class _Renderer(Formulas, IPythonRenderer):
    def __init__(self, folder: Path, attachments: dict[str, Any], heading: Callable[[str, int], str]) -> None:
        super().__init__(escape=False, attachments=attachments)
        self._folder, self._heading = folder, heading

    def heading(self, text: str, level: int, **_: Any) -> str:
        return self._heading(text, level)

    def image(self, text: str, url: str, title: str | None = None) -> str:
        if url.startswith("attachment:"):
            bundle = self.attachments.get(url.removeprefix("attachment:"), {})
            inside = next((f"data:{kind};base64,{data}" for kind, data in bundle.items()), None)
        else:
            inside = embedded(url, self._folder)
        caption = f' title="{html.escape(title)}"' if title else ""
        return f'<img src="{html.escape(inside or url)}" alt="{html.escape(text)}"{caption}>'

    def table(self, text: str) -> str:
        # A wide one scrolls in a box of its own.
        return f'<div class="table"><table>\n{text}</table></div>\n'

    def block_mermaidjs(self, code: str) -> str:
        # The source is shown: the library that draws it would have to be fetched.
        return f"<pre><code>{html.escape(code)}</code></pre>\n"
