"""Notebooks as other projects write them: what their examples exercise, in cells of our own.

Where a report differs from what Papermill, nbclient and nbconvert make of the same notebook:

| notebook | they | a report | why |
| --- | --- | --- | --- |
| much output | stop 4 s after the cell | waits for all of it | a slow machine is no error |
| output widgets | may wait for ever (nbclient 0.11) | goes on | see test_channel.py |
| result in a widget | its state, drawn by scripts from a server | the outputs in it | the page asks nobody |
| `Javascript`, Bokeh's figures | a script in the page | a note | they need a running notebook |
| remote images, frames | fetched by the reader | links | the page asks nobody |
| LaTeX | MathJax from a server | MathML | the page asks nobody |
| `JSON` | its class's name | the value | nobody can read a name |
| tags `remove-cell`, `remove-output` | as any cell, unless set up | left out, errors stay | as the author wished |
| `sys.exit()` | Papermill: a success | a failure | what follows has not run |
| a wrong magic | an error without a text | IPython's sentence | it is the only hint |
| `input()` | an error | the same, with what to do | nobody can answer |
| a kernel that is not there | NoSuchKernel | runs, if it is Python's | the name is of another machine |
| format 3, ids missing or twice | warnings, or a failure | runs | nothing is wrong with the cells |
"""

import json

import nbformat
import pytest
from browsing import visiting
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_raw_cell
from notebook_files import write_notebook

import lepton_nb as lnb

DOT = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
CELLS = [
    "import base64, sys\nfrom IPython.display import *\nimport ipywidgets as widgets",
    "Math(r'\\frac{1}{2}')",
    "JSON({'city': 'Zürich'})",
    "Javascript('alert(1)')",
    f"Image(base64.b64decode('{DOT}'), width=40, alt='a dot')",
    "Audio(data=[0, 1, 0, -1] * 100, rate=8000)",
    "IFrame('https://example.org/framed', 300, 100)",
    "widgets.interactive(lambda x: print('square', x * x), x=7)",
    "box = widgets.Output()\nwidgets.VBox([widgets.HTML('<em>within</em>'), box])",
    "with box:\n    print('first')\n    clear_output(wait=True)\n    print('second')",
    "with box:\n    display(widgets.Label('third'))",
    "shown = display('before', display_id=True)\nshown.update('after')",
    "for step in range(3):\n    clear_output(wait=True)\n    print('round', step)",
    "sys.stdout.write('10%\\b\\b\\b20%\\n\\x1b[31mred\\x1b[0m')",
    "for number in range(3000):\n    display(number)\nprint('end of many')",
    "{'Größe': '</script><!--'}",
]


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """A report on a notebook that names a kernel of another machine."""
    folder = tmp_path_factory.mktemp("foreign")
    cells = [
        new_markdown_cell("# Größe\n\n![dot](attachment:a.png)", attachments={"a.png": {"image/png": DOT}}),
        new_raw_cell("raw words"),
        *[new_code_cell(cell) for cell in CELLS],
        new_code_cell("print('left', 'out')\n1 / 0", metadata={"tags": ["remove-cell", "raises-exception"]}),
        new_code_cell("print('unseen')", metadata={"tags": ["remove_output"]}),
        new_code_cell("print('never run')", metadata={"tags": ["skip-execution"]}),
        new_markdown_cell("words of nobody", metadata={"tags": ["remove-cell"]}),
    ]
    kernel = {"name": "conda-env-of-others", "display_name": "Python 2", "language": "python"}
    source = folder / "Übung 1.ipynb"
    nbformat.write(new_notebook(cells=cells, metadata={"kernelspec": kernel}), source)
    return lnb.report(source, output=folder / "out").html


@pytest.mark.browser
def test_what_others_show_can_be_read_and_nobody_is_asked(page):
    with visiting(offline=True) as visit:
        visit.page.goto(page.as_uri())
        text = visit.page.get_by_role("main").inner_text()
        for shown in (
            '"city": "Zürich"', "A script was here", "https://example.org/framed", "square 49", "within", "second",
            "third", "after", "round 2", "20%\nred", "2999", "end of many", "Größe", "ZeroDivisionError",
        ):  # fmt: skip
            assert shown in text
        for hidden in (
            "raw words", "first", "before", "round 1", "10%", "left out", "unseen", "never run", "words of nobody",
            "IPython.", "frac",
        ):  # fmt: skip
            assert hidden not in text
        assert visit.page.locator("math mfrac").count() == 1
        assert visit.page.get_by_role("img", name="dot", exact=True).count() == 1
        assert visit.page.get_by_role("img", name="a dot").evaluate("image => image.width") == 40
        visit.page.wait_for_function("document.querySelector('audio').readyState > 0")
        assert visit.outside() == []
        assert visit.failed == []
        assert visit.errors == []


@pytest.mark.parametrize(
    ("cell", "name", "message"),
    [
        ("import sys\nsys.exit()", "SystemExit", "cell 1 of a.ipynb failed: SystemExit"),
        ("raise KeyboardInterrupt", "KeyboardInterrupt", "failed: KeyboardInterrupt"),
        ("%no_such_magic", "UsageError", "Line magic function `%no_such_magic` not found"),
        ("input('who?')", "StdinNotImplementedError", "make the answer a parameter"),
    ],
)
def test_what_ends_a_notebook_is_told(cell, name, message, tmp_path):
    source = write_notebook(tmp_path / "a.ipynb", cell, "print('never')")
    with pytest.raises(lnb.ReportError, match=message) as caught:
        lnb.report(source, output=tmp_path / "out")
    assert caught.value.ename == name
    assert "never" not in caught.value.report.html.read_text()


OLD = {
    "cell_type": "code",
    "language": "python",
    "metadata": {},
    "input": "print('ran')",
    "outputs": [],
    "collapsed": False,
}
NEW = {"cell_type": "code", "metadata": {}, "execution_count": None, "source": "print('ran')", "outputs": []}


@pytest.mark.parametrize(
    "written",
    [
        {
            "nbformat": 3,
            "nbformat_minor": 0,
            "metadata": {"name": "a"},
            "worksheets": [{"metadata": {}, "cells": [OLD]}],
        },
        {"nbformat": 4, "nbformat_minor": 0, "metadata": {}, "cells": [NEW]},
        {"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": [{**NEW, "id": "x"}, NEW, {**NEW, "id": "x"}]},
    ],
    ids=["format 3", "format 4.0", "an id missing, one twice"],
)
def test_older_formats_and_wrong_ids_run_without_a_word(written, tmp_path, recwarn):
    source = tmp_path / "a.ipynb"
    source.write_text(json.dumps(written))
    made = lnb.report(source, output=tmp_path / "out")
    assert made.html.read_text().count("ran\n") == len(written.get("cells", [OLD]))
    assert [str(warning.message) for warning in recwarn if "id" in str(warning.message).lower()] == []
