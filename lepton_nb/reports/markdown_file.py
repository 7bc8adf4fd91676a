"""A report as Markdown, for GitHub and editors: pictures are files beside it, tables are Markdown's own."""

from __future__ import annotations

import base64
import html
import json
import mimetypes
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from lepton_nb.reports.offline import embedded
from lepton_nb.reports.outputs import PICTURES, PLOTLY, from_bundle
from lepton_nb.reports.page import visible
from lepton_nb.reports.place import HTML_NAME
from lepton_nb.reports.recorded import of_manifest
from lepton_nb.reports.terminal import settle

_TITLE = re.compile(r"\A\s*#[ \t]+(.+?)[ \t#]*(?:\n|\Z)")
_IMAGE = re.compile(r"""!\[(?P<text>[^\]]*)\]\(\s*<?(?P<url>[^)\s>]+)>?(?P<title>\s+"[^"]*")?\s*\)""")
_TAG = re.compile(r"""(?is)(<img\b[^>]*?\bsrc\s*=\s*)(["'])(?P<url>.*?)\2""")
_SIGNS = re.compile(r"([\\`*_\[\]|#~$])")


class MarkdownFile:
    """The text of one report, and the `files` that it shows, by name.

    folder: where relative images of the notebook are. pictures: PNG pictures of its figures, in their order; one
    that is None or missing is told in words.
    """

    def __init__(self, folder: Path, pictures: Sequence[bytes | None]) -> None:
        self.files: dict[str, bytes] = {}
        self._folder, self._pictures = folder, iter(pictures)

    def render(self, notebook: Any, manifest: Mapping[str, Any], *, show_code: bool = False) -> str:
        """The Markdown of an executed notebook (nbformat 4 node)."""
        parts: list[str] = []
        title = ""
        for number, cell in enumerate(notebook.cells):
            source, outputs = visible(cell, show_code=show_code)
            if cell.cell_type == "markdown" and source:
                text = self._prose(cell.source, cell.get("attachments") or {})
                found = None if title or parts else _TITLE.match(text)
                if found:
                    title, text = found[1], text[found.end() :]
                parts.append(text.strip())
            elif source:
                parts.append(_fenced(cell.source, "python"))
            parts += self._outputs(outputs, f"cell {number + 1}")
        head = [f"# {title or _text(Path(manifest['notebook']['path']).stem)}", *_facts(manifest), *_recorded(manifest)]
        return "\n\n".join(part for part in [*head, *parts, *_parameters(manifest)] if part) + "\n"

    def _outputs(self, outputs: Sequence[Any], where: str) -> Iterator[str]:
        for output in outputs:
            if output.output_type == "stream":
                text = settle(_plain(output.text)).strip("\n")
                if text.strip() and output.name == "stderr":
                    yield f"<details><summary>Messages</summary>\n\n{_fenced(text)}\n\n</details>"
                elif text.strip():
                    yield _fenced(text)
            elif output.output_type == "error":
                yield _fenced(_plain("\n".join(output.traceback) or f"{output.ename}: {output.evalue}"))
            else:
                yield self._bundle(output.data, output.get("metadata") or {}, where)

    def _bundle(self, data: Mapping[str, Any], metadata: Mapping[str, Any], where: str) -> str:
        if PLOTLY in data:
            return self._figure(data)
        if "text/html" in data:
            tables = _tables(data["text/html"])
            if tables:
                return tables
            # "<IPython.core.display.HTML object>" says less than what stands in the HTML.
            text = str(data.get("text/plain") or "<")
            text = _words(data["text/html"]) if text.startswith("<") else text
            return _fenced(_plain(text)) if text.strip() else ""
        for kind in PICTURES:
            if kind in data:
                content = str(data[kind])
                raw = content.encode() if kind == "image/svg+xml" else base64.b64decode(content)
                alt = str((metadata.get(kind) or {}).get("alt") or f"Picture of {where}")
                return f"![{_text(alt)}]({self._keep(kind, raw)})"
        for kind in ("text/markdown", "text/latex"):
            if kind in data:
                return self._prose(str(data[kind]), {}).strip()
        for kind in ("application/json", "application/geo+json"):
            if kind in data:
                return _fenced(json.dumps(data[kind], indent=2, ensure_ascii=False), "json")
        if "text/plain" in data and not any(kind.startswith("application/") for kind in data):
            return _fenced(_plain(data["text/plain"]))
        return f"*A live view was here. Open the notebook in JupyterLab, or [the page]({HTML_NAME}).*" if data else ""

    def _figure(self, data: Mapping[str, Any]) -> str:
        from lepton_nb.reports.markdown import Markdown

        block = from_bundle(data, Markdown(self._folder))
        assert block is not None
        words = block.text or block.label
        picture = next(self._pictures, None)
        if picture is None:
            return f"*{_text(words)} It is drawn in [{HTML_NAME}]({HTML_NAME}).*"
        return f"![{_text(words)}]({self._keep('image/png', picture)})"

    def _prose(self, source: str, attachments: Mapping[str, Mapping[str, str]]) -> str:
        """Markdown whose images from the notebook's folder and attachments are files beside the report."""

        def image(found: re.Match[str]) -> str:
            name = self._local(found["url"], attachments)
            return found[0] if name is None else f"![{found['text']}]({name}{found['title'] or ''})"

        def tag(found: re.Match[str]) -> str:
            name = self._local(html.unescape(found["url"]), attachments)
            return found[0] if name is None else f"{found[1]}{found[2]}{name}{found[2]}"

        return _TAG.sub(tag, _IMAGE.sub(image, source))

    def _local(self, url: str, attachments: Mapping[str, Mapping[str, str]]) -> str | None:
        if url.startswith("attachment:"):
            bundle = attachments.get(url.removeprefix("attachment:"), {})
            return next((self._keep(kind, base64.b64decode(data)) for kind, data in bundle.items()), None)
        inside = embedded(url, self._folder)
        if inside is None or ";base64," not in inside:
            return None
        kind, _, data = inside.removeprefix("data:").partition(";base64,")
        return self._keep(kind, base64.b64decode(data))

    def _keep(self, kind: str, content: bytes) -> str:
        """The name of a file with `content`; the same picture is kept once."""
        known = next((name for name, held in self.files.items() if held == content), None)
        name = known or f"report-{len(self.files) + 1}{mimetypes.guess_extension(kind) or '.png'}"
        self.files[name] = content
        return name


def _facts(manifest: Mapping[str, Any]) -> Iterator[str]:
    facts = [f"**{manifest['status']}**", f"{manifest['started'][:16].replace('T', ' ')} UTC"]
    facts += [f"{manifest['duration_s']:.1f} s", _text(manifest["notebook"]["path"].rpartition("/")[2])]
    if manifest.get("git"):
        facts.append(f"commit {manifest['git']['commit'][:10]}{', with changes' if manifest['git']['dirty'] else ''}")
    yield " · ".join(facts)
    failure = manifest.get("failure")
    if failure:
        yield f"> This report is not complete: {_text(failure['ename'])}: {_text(str(failure['evalue'])[:500])}"
    elif manifest["status"] == "cancelled":
        yield "> This report is not complete: its run was cancelled."


def _recorded(manifest: Mapping[str, Any]) -> Iterator[str]:
    shown = of_manifest(manifest)
    if shown is None:
        return
    yield "## Recorded"
    if shown.metrics:
        yield _table(["Name", "Value"], [[one.name, one.text] for one in shown.metrics])
    for table in shown.tables:
        yield f"**{_text(table.name)}**"
        yield _table(table.columns, [[cell.text for cell in row] for row in table.rows])
        if table.rest or table.file:
            where = f"[{table.file}]({table.file})" if table.file else "manifest.json"
            yield f"*{f'{table.rest:,} more rows in' if table.rest else 'Also in'} {where}*"


def _parameters(manifest: Mapping[str, Any]) -> Iterator[str]:
    parameters = manifest.get("parameters") or {}
    if parameters:
        yield "## Parameters"
        rows = []
        for name, one in parameters.items():
            value = one["value"] if one["given"] else one["default_source"]
            rows.append([name, str(value), str(one["default_source"]), str(one["help"])])
        yield _table(["Name", "Value", "Default", "Meaning"], rows)


def _tables(source: str) -> str:
    """The tables in `source` as Markdown's, "" when it has none, or one that Markdown cannot hold."""
    if "<table" not in source.lower():
        return ""
    from bs4 import BeautifulSoup

    made = []
    for table in BeautifulSoup(source, "html.parser").find_all("table"):
        if table.find("table"):
            return ""
        rows = [[cell.get_text(" ", strip=True) for cell in row.find_all(["th", "td"])] for row in table.find_all("tr")]
        rows = [row for row in rows if row]
        if not rows or len({len(row) for row in rows}) > 1:
            return ""
        made.append(_table(rows[0], rows[1:]))
    return "\n\n".join(made)


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [columns, ["---"] * len(columns)] if columns else []
    written = [_line(columns), "| " + " | ".join(lines[1]) + " |", *map(_line, rows)] if lines else []
    return "\n".join(written)


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(_text(str(cell)) for cell in cells) + " |"


def _text(words: str) -> str:
    """`words` as Markdown that shows them as they are, on one line."""
    return _SIGNS.sub(r"\\\1", html.escape(" ".join(words.split()), quote=False))


def _fenced(text: str, language: str = "text") -> str:
    longest = max((len(ticks) for ticks in re.findall(r"`{3,}", text)), default=2)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{text.rstrip()}\n{fence}"


def _plain(text: str) -> str:
    from nbconvert.filters import strip_ansi

    return str(strip_ansi(text))


def _words(source: str) -> str:
    from bs4 import BeautifulSoup

    soup = BeautifulSoup(source, "html.parser")
    for tag in soup.find_all(["script", "style"]):
        tag.decompose()
    return str(soup.get_text(" ", strip=True))
