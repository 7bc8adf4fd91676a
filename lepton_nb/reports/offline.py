"""HTML that asks nobody: images are embedded, and what would be fetched from elsewhere becomes a link."""

from __future__ import annotations

import base64
import mimetypes
import re
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

_LOADS = re.compile(
    r"(?i)<(?:script|link|img|iframe|embed|object|video|audio|source|input|base|meta)\b|@import|url\(|import\s*[\"'(]"
)
_REMOTE_IMPORT = re.compile(r"""(?s)\A\s*import\s*\(?\s*["'](?:https?:)?//[^"']*["']\s*\)?\s*;?\s*\Z""")
# Plotly's own way of bringing its library along: the page has one already.
_PLOTLY_JS = re.compile(r"\A\s*/\*\*\s*\* plotly\.js\b")
_STRING = r"""(?:"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*')"""
# Comments and strings come first, for what looks like a rule inside of them is none. CSS Syntax Level 3, section 4.
_STYLE_PART = re.compile(
    rf"""(?isx)
    (?P<kept> /\*.*?\*/ | {_STRING} )
    | (?P<import> @import (?: {_STRING} | url\([^)"']*\) | [^;] )* ;? )
    | url\( \s* (?P<address> {_STRING} (?=\s*\)) | [^)]* ) \s* (?: \) | \Z )
    """
)


def offline(html: str, folder: Path) -> str:
    """`html` without anything that a browser would fetch; relative images are read from `folder`.

    Scripts and style sheets from elsewhere go (the page brings its own plotly.js), images from elsewhere and
    frames become links, and a missing image becomes its description.
    """
    if not _LOADS.search(html):
        return html
    from bs4 import BeautifulSoup

    soup = BeautifulSoup(html, "html.parser")
    for tag in soup.find_all(["script", "link", "base", "meta"]):
        source = str(tag.get("src") or tag.get("href") or "data:")
        if (
            tag.name != "script"
            or not source.startswith("data:")
            or _REMOTE_IMPORT.match(tag.text)
            or _PLOTLY_JS.match(tag.text)
        ):
            tag.decompose()
    for tag in soup.find_all("style"):
        tag.string = _offline_style(tag.text)
    for tag in soup.find_all(style=True):
        tag["style"] = _offline_style(str(tag["style"]))
    for tag in soup.find_all(["img", "input"]):
        if tag.name == "img" or tag.get("src"):
            _image(soup, tag, folder)
    for tag in soup.find_all(["iframe", "embed", "object", "video", "audio", "source"]):
        if not tag.decomposed and not any(str(one.get("src", "")).startswith("data:") for one in _sources(tag)):
            _link(soup, tag, str(tag.get("src") or tag.get("data") or ""))
    return str(soup)


def _sources(tag: Any) -> list[Any]:
    """The elements that say what `tag` shows: itself, or those in it that it may choose from."""
    return [tag, *tag.find_all("source")] if tag.name in ("audio", "video") else [tag]


def _offline_style(css: str) -> str:
    """`css` without imports, and with `none` for what is not data in the page."""

    def part(match: re.Match[str]) -> str:
        if match["kept"] is not None or (match["address"] or "").strip("\"' \n\t").lower().startswith(("data:", "#")):
            return match[0]
        return "" if match["import"] is not None else "none"

    return _STYLE_PART.sub(part, css)


def embedded(source: str, folder: Path) -> str | None:
    """A `data:` address for an image, None when it is remote or not there."""
    parts = urlsplit(source)
    if parts.scheme == "data":
        return source
    if parts.scheme or parts.netloc:
        return None
    path = folder / unquote(parts.path)
    kind = mimetypes.guess_type(path.name)[0] or ""
    if not kind.startswith("image/") or not path.is_file():
        return None
    return f"data:{kind};base64,{base64.b64encode(path.read_bytes()).decode()}"


def _image(soup: Any, tag: Any, folder: Path) -> None:
    source = str(tag.get("src", ""))
    del tag["srcset"]
    inside = embedded(source, folder)
    if inside is not None:
        tag["src"] = inside
        if tag.name == "img" and not tag.has_attr("alt"):
            tag["alt"] = ""
    else:
        _link(soup, tag, source)


def _link(soup: Any, tag: Any, source: str) -> None:
    text = tag.get("alt") or tag.get("title") or source or tag.name
    if urlsplit(source).scheme in ("http", "https") or source.startswith("//"):
        link = soup.new_tag("a", href=source)
        link.string = text
    else:
        link = soup.new_tag("span")
        link.string = f"[{text}]"
    tag.replace_with(link)
