"""Markdown and PDF beside the page, drawn by the Chromium of this machine, and what is told where there is none."""

import base64
import json
import re

import psutil
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from notebook_files import figure, write_notebook

import lepton_nb as lnb
from lepton_nb.reports import browser, pdf
from lepton_nb.reports.formats import check
from lepton_nb.reports.markdown_file import MarkdownFile

PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
ONE = "<table><tr><th>a</th></tr><tr><td>1|2</td></tr></table>"
PNG = b"\x89PNG\r\n\x1a\n"
MANIFEST = {
    "notebook": {"path": "a/b_c.ipynb"},
    "status": "finished",
    "started": "2026-01-02T03:04:05+00:00",
    "duration_s": 1.25,
}


def markdown(tmp_path, *cells, pictures=(), **facts):
    file = MarkdownFile(tmp_path, pictures)
    return file.render(new_notebook(cells=list(cells)), MANIFEST | facts), file.files


def output(data):
    return new_code_cell("1", outputs=[new_output("display_data", data)])


@pytest.mark.browser
def test_markdown_and_pdf_lie_beside_the_page(tmp_path):
    source = write_notebook(
        tmp_path / "a.ipynb",
        "# Delays\n",
        figure("One"),
        "import plotly.graph_objects as go\ngo.Figure(go.Heatmap(z=[[1, 2]]), layout={'height': 300})",
        "import lepton_nb as lnb, polars as pl\nlnb.record('all', pl.DataFrame({'n': range(3000)}));",
    )
    report = lnb.report(source, output=tmp_path / "out", formats=["markdown", "pdf"])
    assert report.notes == ()
    paper = report.pdf.read_bytes()
    assert paper.startswith(b"%PDF")
    assert b"/StructTreeRoot" in paper
    pictures = re.findall(r"!\[(.*?)\]\((.*?)\)", report.markdown.read_text())
    assert [words.partition(".")[0] for words, _ in pictures] == ["Line chart: One", "Heat map"]
    drawn = [(report.folder / name).read_bytes() for _, name in pictures]
    # Both sides of a PNG are in its header.
    assert [(one[:8], one[16:24]) for one in drawn] == [
        (PNG, bytes([0, 0, 1600 >> 8, 1600 & 255, 0, 0, height >> 8, height & 255])) for height in (900, 600)
    ]
    listed = json.loads(report.manifest.read_text())["files"]
    assert sorted([*listed, "manifest.json"]) == sorted(path.name for path in report.folder.iterdir())
    assert listed["table-all.parquet"]["bytes"] == (report.folder / "table-all.parquet").stat().st_size
    assert '2,980 more rows in <a href="table-all.parquet">' in report.html.read_text()
    # The folder is known as a report's, which another may replace.
    assert lnb.report(source, output=tmp_path / "out").pdf is None
    assert [one for one in psutil.Process().children() if "chrom" in one.name()] == []


def test_without_a_chromium_the_page_is_made_and_the_fix_told(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv(browser.VARIABLE, str(tmp_path / "gone"))
    source = write_notebook(tmp_path / "a.ipynb", figure("One"))
    report = lnb.report(source, output=tmp_path / "out", formats="markdown,pdf")
    (note,) = report.notes
    assert note.startswith("without a PDF and pictures of figures in Markdown: no Chromium was found")
    assert "LEPTON_NB_CHROMIUM" in note
    assert report.html.exists()
    assert report.pdf is None
    assert "*Line chart: One. 3 points" in report.markdown.read_text()
    assert "LEPTON_NB_CHROMIUM" in report._repr_html_()


@pytest.mark.parametrize(("script", "fault"), [("exit 0", "Chromium ended"), ("sleep 60", "did not answer")])
def test_a_chromium_that_fails_is_told_and_gone(script, fault, tmp_path, monkeypatch):
    program = tmp_path / "chromium"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv(browser.VARIABLE, str(program))
    monkeypatch.setattr(pdf, "TIMEOUT_S", 0.5)
    monkeypatch.setattr("lepton_nb.reports.devtools.ENDS_S", 0.5)
    # Other tests' cluster may be there.
    before = {*psutil.Process().children(recursive=True)}
    with pytest.raises(lnb.ReportError, match=fault):
        pdf.printed(tmp_path / "report.html", pdf=True, pictures=False)
    assert {*psutil.Process().children(recursive=True)} <= before


def test_unknown_formats_are_told_before_anything_runs(tmp_path):
    source = write_notebook(tmp_path / "a.ipynb", "1")
    with pytest.raises(lnb.ReportError, match="unknown format 'markdwon'; did you mean 'markdown'"):
        lnb.report(source, output=tmp_path / "out", formats=["markdwon"])
    with pytest.raises(lnb.ReportError, match="choose from html, notebook, markdown, pdf"):
        check("html, x")
    assert check("pdf , html") == ("html", "notebook", "pdf")


def test_the_first_heading_is_the_title_of_the_file(tmp_path):
    text, _ = markdown(tmp_path, new_markdown_cell("# The *title*\n\nwords"), new_markdown_cell("# Other"))
    assert text.startswith(
        "# The *title*\n\n**finished** · 2026-01-02 03:04 UTC · 1.2 s · b\\_c.ipynb\n\nwords\n\n# Other\n"
    )
    assert markdown(tmp_path, new_markdown_cell("words"))[0].startswith("# b\\_c\n")


def test_what_was_recorded_stays_text(tmp_path):
    table = {
        "columns": [{"name": "a|b", "type": "String"}],
        "rows": 30,
        "head": [["<b>\n*x*"]],
        "file": "table-t.parquet",
    }
    text, _ = markdown(tmp_path, metrics={"auc_1": 0.5, "`x`": "[a](b)"}, tables={"t": table})
    assert "| auc\\_1 | 0.5 |\n| \\`x\\` | \\[a\\](b) |" in text
    assert "| a\\|b |\n| --- |\n| &lt;b&gt; \\*x\\* |" in text
    assert "*29 more rows in [table-t.parquet](table-t.parquet)*" in text


def test_pictures_are_files_and_each_is_kept_once(tmp_path):
    (tmp_path / "my pixel.png").write_bytes(PIXEL)
    data = base64.b64encode(PIXEL).decode()
    text, files = markdown(
        tmp_path,
        new_markdown_cell(
            '![a](my%20pixel.png "t") ![b](attachment:p) <img src="my pixel.png"> ![c](//x.org/a.png) ![d](gone)',
            attachments={"p": {"image/png": data}},
        ),
        output({"image/png": data, "text/plain": "<Figure>"}),
        output({"image/svg+xml": "<svg/>"}),
    )
    assert files == {"report-1.png": PIXEL, "report-2.svg": b"<svg/>"}
    assert (
        '![a](report-1.png "t") ![b](report-1.png) <img src="report-1.png"> ![c](//x.org/a.png) ![d](gone)\n\n'
        "![Picture of cell 2](report-1.png)\n\n![Picture of cell 3](report-2.svg)\n"
    ) in text


@pytest.mark.parametrize(
    ("data", "shown"),
    [
        ({"text/html": "<style>x</style>" + ONE}, "| a |\n| --- |\n| 1\\|2 |"),
        ({"text/html": ONE.replace("1|2", ONE), "text/plain": "t"}, "```text\nt\n```"),
        ({"text/html": "<b>bold</b>", "text/plain": "<HTML object>"}, "```text\nbold\n```"),
        ({"text/markdown": "*a*"}, "*a*"),
        ({"text/latex": "$a$"}, "$a$"),
        ({"application/json": {"a": 1}}, '```json\n{\n  "a": 1\n}\n```'),
        ({"text/plain": "\x1b[31mred\x1b[0m\n```"}, "````text\nred\n```\n````"),
        ({"application/vnd.jupyter.widget-view+json": {}, "text/plain": "X()"}, "*A live view was here."),
    ],
)  # fmt: skip
def test_outputs_have_the_form_that_markdown_can_show(data, shown, tmp_path):
    assert shown in markdown(tmp_path, output(data))[0]


def test_streams_and_errors_are_fenced(tmp_path):
    outputs = [
        new_output("stream", name="stdout", text="1%\r2%\n"),
        new_output("stream", name="stderr", text="oh"),
        new_output("error", ename="KeyError", evalue="<x>", traceback=["KeyError: <x>"]),
    ]
    failed = {"status": "failed", "failure": {"ename": "KeyError", "evalue": "<x>"}}
    text, _ = markdown(tmp_path, new_code_cell("1", outputs=outputs), **failed)
    assert "```text\n2%\n```" in text
    assert "<details><summary>Messages</summary>\n\n```text\noh\n```\n\n</details>" in text
    assert "```text\nKeyError: <x>\n```" in text
    assert "> This report is not complete: KeyError: &lt;x&gt;" in text
