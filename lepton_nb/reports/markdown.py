"""Markdown cells as HTML: headings for the table of contents, images embedded, TeX left as it is written."""

from __future__ import annotations

import html
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath

from lepton_nb.reports.offline import embedded, offline


@dataclass(frozen=True, slots=True)
class Heading:
    """A heading of the page: `anchor` is unique in it."""

    level: int
    text: str
    anchor: str


class Markdown:
    """Renders the cells of one page in order, and gathers their headings."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.headings: list[Heading] = []
        self.title = ""

    def render(self, source: str, attachments: Mapping[str, Any] | None = None) -> str:
        """The HTML of one cell. The page's first heading, if of level 1, becomes `title` instead."""
        # An attachment that is missing would end the export; an empty name shows as a missing image.
        renderer = _Renderer(self, dict(attachments or {}))
        return offline(str(MarkdownWithMath(renderer=renderer).render(source)), self.folder)

    def heading(self, text: str, level: int) -> str:
        """The HTML of a heading whose inner HTML is `text`."""
        words = html.unescape(re.sub(r"<[^>]+>", "", text)).strip()
        if level == 1 and not self.headings and not self.title:
            self.title = words
            return ""
        slug = re.sub(r"\W+", "-", words.lower()).strip("-") or "section"
        taken = {heading.anchor for heading in self.headings}
        anchor = next(name for name in (slug, *(f"{slug}-{n}" for n in range(2, 10_000))) if name not in taken)
        self.headings.append(Heading(level, words, anchor))
        return f'<h{level} id="{html.escape(anchor)}">{text}</h{level}>\n'


class _Renderer(IPythonRenderer):
    def __init__(self, page: Markdown, attachments: dict[str, Any]) -> None:
        super().__init__(escape=False, attachments=attachments)
        self._page = page

    def heading(self, text: str, level: int, **_: Any) -> str:
        return self._page.heading(text, level)

    def image(self, text: str, url: str, title: str | None = None) -> str:
        if url.startswith("attachment:"):
            bundle = self.attachments.get(url.removeprefix("attachment:"), {})
            inside = next((f"data:{kind};base64,{data}" for kind, data in bundle.items()), None)
        else:
            inside = embedded(url, self._page.folder)
        caption = f' title="{html.escape(title)}"' if title else ""
        return f'<img src="{html.escape(inside or url)}" alt="{html.escape(text)}"{caption}>'

    def block_mermaidjs(self, code: str) -> str:
        # The source is shown: the library that draws it would have to be fetched.
        return f"<pre><code>{html.escape(code)}</code></pre>\n"
