"""In which forms a report is written besides its page, the executed notebook and the manifest."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lepton_nb.errors import ReportError
from lepton_nb.reports.place import HTML_NAME

MARKDOWN_NAME, PDF_NAME = "report.md", "report.pdf"
# The first two are always written: what reads a report later needs them.
FORMATS = ("html", "notebook", "markdown", "pdf")
DEFAULT = FORMATS[:2]


@dataclass(frozen=True, slots=True)
class Written:
    """The files of further forms, and what could not be written, with what to do."""

    files: list[Path]
    notes: list[str]


def check(formats: Sequence[str] | str) -> tuple[str, ...]:
    """`formats`, of which text may name several with commas; raises ReportError for an unknown one."""
    given = formats.split(",") if isinstance(formats, str) else list(formats)
    names = [str(name).strip() for name in given]
    for name in names:
        if name not in FORMATS:
            near = difflib.get_close_matches(name, FORMATS, 1)
            hint = f"; did you mean {near[0]!r}?" if near else f"; choose from {', '.join(FORMATS)}"
            raise ReportError(f"unknown format {name!r}{hint}", format=name)
    return tuple(dict.fromkeys([*DEFAULT, *names]))


def write(
    formats: Sequence[str],
    notebook: Any,
    manifest: Mapping[str, Any],
    folder: Path,
    *,
    source_folder: Path,
    show_code: bool,
) -> Written:
    """Write Markdown and PDF, as far as asked for, beside the page in `folder`.

    Where there is no Chromium a PDF is not written, and figures are told in Markdown by words.
    """
    from lepton_nb.reports.outputs import PLOTLY

    files: list[Path] = []
    notes: list[str] = []
    markdown, pdf = "markdown" in formats, "pdf" in formats
    figures = any(PLOTLY in output.get("data", {}) for cell in notebook.cells for output in cell.get("outputs", ()))
    paper, pictures = None, []
    if pdf or (markdown and figures):
        from lepton_nb.reports.pdf import printed

        try:
            made = printed(folder / HTML_NAME, pdf=pdf, pictures=markdown)
            paper, pictures = made.pdf, made.pictures
        except ReportError as error:
            lacking = ["a PDF"] if pdf else []
            lacking += ["pictures of figures in Markdown"] if markdown and figures else []
            notes.append(f"without {' and '.join(lacking)}: {error}")
    if paper is not None:
        files.append(folder / PDF_NAME)
        files[-1].write_bytes(paper)
    if markdown:
        from lepton_nb.reports.markdown_file import MarkdownFile

        file = MarkdownFile(source_folder, pictures)
        files.append(folder / MARKDOWN_NAME)
        files[-1].write_text(file.render(notebook, manifest, show_code=show_code), encoding="utf-8")
        for name, content in file.files.items():
            files.append(folder / name)
            files[-1].write_bytes(content)
    return Written(files, notes)
