"""The page: an executed notebook as one HTML file that opens without a network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from lepton_nb.reports.drawing import library
from lepton_nb.reports.markdown import FAILED_ANCHOR, RECORDED_ANCHOR, Heading, Markdown
from lepton_nb.reports.outputs import Block, blocks
from lepton_nb.reports.recorded import of_manifest

# Tags of Markdown cells: words on buttons are of no use in a report, nor in an app those on what came of it all.
LIVE_ONLY, REPORT_ONLY = "live-only", "report-only"
# Tags by which authors leave a cell, or what it shows, out of a page: Jupyter Book's, nbconvert's with underlines.
REMOVED, SILENT = "remove-cell", "remove-output"


def render(notebook: Any, manifest: Mapping[str, Any], *, folder: Path, show_code: bool = False) -> str:
    """The HTML of an executed notebook (nbformat 4 node); relative images are read from `folder`.

    The title is the notebook's first heading, or its file's name. Code is left out unless `show_code`, and Markdown
    cells tagged `live-only` in any case. What cells recorded, as the manifest holds it, comes first.
    """
    import jinja2

    markdown = Markdown(folder)
    content: list[Block] = []
    for cell in notebook.cells:
        content.extend(_cell(cell, markdown, show_code=show_code))
    content = _anchored(content)
    recorded = of_manifest(manifest)
    headings = [heading for heading in markdown.headings if heading.level <= 3]
    if recorded and headings:
        headings.insert(0, Heading(2, "Recorded", RECORDED_ANCHOR))
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("lepton_nb.reports", "templates"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    return environment.get_template("report.html.j2").render(
        title=markdown.title or Path(manifest["notebook"]["path"]).stem,
        headings=headings,
        recorded=recorded,
        recorded_anchor=RECORDED_ANCHOR,
        blocks=content,
        manifest=manifest,
        failed_anchor=FAILED_ANCHOR if any(block.anchor == FAILED_ANCHOR for block in content) else "",
        library=library((block.label or "Figure", block.traces) for block in content if block.needs_plotly),
        has_code=any(block.kind == "code" for block in content),
        code_css=_code_css(),
    )


def _cell(cell: Any, markdown: Markdown, *, show_code: bool) -> list[Block]:
    source, outputs = visible(cell, show_code=show_code)
    if cell.cell_type == "markdown":
        return [Block(kind="prose", html=markdown.render(cell.source, cell.get("attachments")))] if source else []
    code = [Block(kind="code", html=_highlighted(cell.source))] if source else []
    return [*code, *blocks(outputs, markdown)]


def visible(cell: Any, *, show_code: bool) -> tuple[bool, list[Any]]:
    """Whether a report shows the source of a cell, and which of its outputs."""
    tags = {tag.replace("_", "-") for tag in cell.metadata.get("tags", [])}
    if cell.cell_type == "markdown":
        return not tags & {LIVE_ONLY, REMOVED}, []
    if cell.cell_type != "code":
        return False, []
    outputs = cell.get("outputs", [])
    if tags & {REMOVED, SILENT}:
        # An error is told all the same: it may be why the report ends here.
        outputs = [output for output in outputs if output.output_type == "error"]
    return bool(show_code and REMOVED not in tags and cell.source.strip()), outputs


def _anchored(content: list[Block]) -> list[Block]:
    """The last error is where the notebook stopped; figures get the names that their data goes by."""
    errors = [index for index, block in enumerate(content) if block.kind == "error"]
    named = []
    for index, block in enumerate(content):
        if errors and index == errors[-1]:
            block = replace(block, anchor=FAILED_ANCHOR)
        elif block.kind == "figure":
            block = replace(block, anchor=f"figure:{index + 1}")
        named.append(block)
    return named


def _highlighted(source: str) -> str:
    from pygments import highlight
    from pygments.formatters import HtmlFormatter
    from pygments.lexers import get_lexer_by_name

    return str(highlight(source, get_lexer_by_name("ipython3"), HtmlFormatter()))


def _code_css() -> str:
    from pygments.formatters import HtmlFormatter

    light = HtmlFormatter(style="default").get_style_defs(".highlight")
    dark = HtmlFormatter(style="monokai").get_style_defs(".highlight")
    return f"{light}\n@media screen and (prefers-color-scheme: dark) {{\n{dark}\n}}"
