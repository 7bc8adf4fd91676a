"""Outputs of cells as blocks of a page: plain data that the template draws."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from lepton_nb.reports.drawing import in_words, plain, types, types_in_html
from lepton_nb.reports.markdown import Markdown
from lepton_nb.reports.offline import offline
from lepton_nb.reports.terminal import settle

PLOTLY = "application/vnd.plotly.v1+json"
WIDGET = "application/vnd.jupyter.widget-view+json"
PICTURES = ("image/svg+xml", "image/png", "image/jpeg", "image/gif", "image/webp")

_NONE: Mapping[str, Any] = {}

Kind = Literal["prose", "code", "figure", "html", "image", "text", "note", "stdout", "stderr", "error"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """A piece of the page. `html` is trusted: rendered by us, or an output of the notebook that was run.

    For a figure `json` is its specification, safe inside a script element, `label` its title, and `text` what it shows
    in words. `traces` are the types of traces that it draws with plotly.js. `size` is the style of an image that has
    one.
    """

    kind: Kind
    html: str = ""
    text: str = ""
    json: str = ""
    source: str = ""
    label: str = ""
    height: int = 450
    anchor: str = ""
    size: str = ""
    traces: frozenset[str] = frozenset()

    @property
    def needs_plotly(self) -> bool:
        """True when the block draws with plotly.js."""
        return self.kind == "figure" or bool(self.traces)


def blocks(outputs: list[Any], markdown: Markdown) -> Iterator[Block]:
    """The blocks of a cell's outputs, in order; neighbouring pieces of one stream are one block.

    `markdown` is the page that they belong to: it gathers their headings, and relative images are in its folder.
    """
    streams: list[str] = []
    for index, output in enumerate(outputs):
        if output.output_type == "stream":
            streams.append(output.text)
            following = outputs[index + 1] if index + 1 < len(outputs) else None
            if following is None or following.output_type != "stream" or following.name != output.name:
                text, streams = settle("".join(streams)), []
                if text.strip():
                    yield Block(kind="stderr" if output.name == "stderr" else "stdout", html=_ansi(text))
        elif output.output_type == "error":
            text = "\n".join(output.traceback) or f"{output.ename}: {output.evalue}"
            yield Block(kind="error", html=_ansi(text), label=f"{output.ename}: {output.evalue}")
        else:
            block = from_bundle(output.data, markdown, output.get("metadata", {}))
            if block is not None:
                yield block


def from_bundle(data: Mapping[str, Any], markdown: Markdown, metadata: Mapping[str, Any] = _NONE) -> Block | None:
    """The richest form in a MIME bundle that a page without a kernel can show; None when there is none."""
    if PLOTLY in data:
        return _figure(data[PLOTLY])
    if "text/html" in data:
        html = offline(data["text/html"], markdown.folder)
        return Block(kind="html", html=html, traces=types_in_html(html))
    for kind in PICTURES:
        if kind in data:
            return _image(kind, data, metadata.get(kind) or {})
    for kind in ("text/markdown", "text/latex"):
        if kind in data:
            return Block(kind="prose", html=markdown.render_output(data[kind]))
    for kind in ("application/json", "application/geo+json"):
        if kind in data:
            return Block(kind="text", text=json.dumps(data[kind], indent=2, ensure_ascii=False))
    if WIDGET in data:
        return Block(kind="note", text="A live view was here. Open the notebook in JupyterLab to use it.")
    if "application/javascript" in data:
        return Block(
            kind="note", text="A script was here, which a report does not run. Open the notebook in JupyterLab."
        )
    return Block(kind="text", html=_ansi(data["text/plain"])) if "text/plain" in data else None


def script_json(value: Any) -> str:
    """`value` as JSON that can stand in a script element: no "<" and so no end tag or comment in it."""
    try:
        text = json.dumps(value, allow_nan=False, ensure_ascii=False)
    except ValueError:
        text = json.dumps(_without_nan(value), ensure_ascii=False)
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def _figure(spec: Mapping[str, Any]) -> Block:
    layout = spec.get("layout") or {}
    data = plain(spec.get("data") or ())
    title = layout.get("title") or ""
    text = str(title.get("text") or "") if isinstance(title, Mapping) else str(title)
    height = layout.get("height")
    return Block(
        kind="figure",
        json=script_json({"data": data} | {key: spec[key] for key in ("layout", "frames", "config") if key in spec}),
        text=in_words(data, layout),
        traces=types([*data, *(trace for frame in spec.get("frames") or () for trace in frame.get("data") or ())]),
        label=" ".join(re.sub(r"<[^>]+>", " ", text).split()) or "Figure",
        height=int(height) if isinstance(height, (int, float)) else 450,
    )


def _image(kind: str, data: Mapping[str, Any], details: Mapping[str, Any]) -> Block:
    alt = str(details.get("alt") or "") or str(data.get("text/plain", "")).strip("<>") or "image"
    sides = ((side, details.get(side)) for side in ("width", "height"))
    size = next((f"{side}: {length:g}px" for side, length in sides if isinstance(length, (int, float))), "")
    return Block(kind="image", source=_data_address(kind, data[kind]), label=alt, size=size)


def _data_address(kind: str, content: str) -> str:
    import base64

    if kind == "image/svg+xml":
        content = base64.b64encode(content.encode()).decode()
    return f"data:{kind};base64,{content.strip()}"


def _ansi(text: str) -> str:
    from nbconvert.filters import ansi2html

    return str(ansi2html(text))


def _without_nan(value: Any) -> Any:
    if isinstance(value, float) and value - value != 0:
        return None
    if isinstance(value, Mapping):
        return {key: _without_nan(item) for key, item in value.items()}
    return [_without_nan(item) for item in value] if isinstance(value, (list, tuple)) else value
