import json

import pytest
from nbformat import NotebookNode
from nbformat.v4 import new_output

from lepton_nb.reports.markdown import Markdown
from lepton_nb.reports.outputs import PLOTLY, WIDGET, blocks, from_bundle, script_json
from lepton_nb.reports.terminal import settle


@pytest.fixture
def page(tmp_path):
    return Markdown(tmp_path)


def test_pieces_of_one_stream_are_one_block(page):
    outputs = [
        new_output("stream", name="stdout", text="a"),
        new_output("stream", name="stdout", text="b\n"),
        new_output("stream", name="stderr", text="oh\n"),
        new_output("stream", name="stdout", text="<c>"),
    ]
    found = list(blocks(outputs, page))
    assert [block.kind for block in found] == ["stdout", "stderr", "stdout"]
    assert found[0].html == "ab\n"
    assert found[2].html == "&lt;c&gt;"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("10%\r50%\r100%\n", "100%\n"),
        ("a\r\nb", "a\nb"),
        ("plain", "plain"),
        ("one\rtwo", "two"),
        ("\rall 0%\n\rpart 0%\x1b[A\rall 50%\n\rpart 9%\x1b[A\rall 100%\n", "all 100%\npart 9%"),
        ("\rpart\r\x1b[Kdone", "done"),
        ("1%\b\b\b20%\n", "20%\n"),
        ("abc\b\bX", "aXc"),
        ("\x1b]8;;https://example.org\x1b\\text\x1b]8;;\x07!", "text!"),
    ],
)
def test_progress_bars_leave_their_last_state(text, shown):
    assert settle(text) == shown


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        ({PLOTLY: {"data": []}, "text/html": "<b>x</b>"}, "figure"),
        ({WIDGET: {}, PLOTLY: {"data": []}, "text/html": "x", "text/plain": "x"}, "figure"),
        ({WIDGET: {}, "text/html": "<b>x</b>", "text/plain": "x"}, "html"),
        ({WIDGET: {}, "text/plain": "Button()"}, "note"),
        ({"image/png": "AA==", "text/plain": "<Figure size 1x1>"}, "image"),
        ({"image/svg+xml": "<svg/>", "image/png": "AA=="}, "image"),
        ({"text/markdown": "*a*", "text/plain": "a"}, "prose"),
        ({"text/latex": "$a$", "text/plain": "a"}, "prose"),
        ({"application/json": {"ü": [1]}, "text/plain": "<IPython.core.display.JSON object>"}, "text"),
        ({"application/javascript": "alert(1)", "text/plain": "<IPython.core.display.Javascript object>"}, "note"),
        ({"text/plain": "a"}, "text"),
    ],
)
def test_the_richest_form_that_needs_no_kernel_is_shown(data, kind, page):
    assert from_bundle(data, page).kind == kind


def test_a_bundle_without_a_readable_form_shows_nothing(page):
    assert from_bundle({"application/vnd.strange+json": {}}, page) is None


def test_headings_of_outputs_stay_and_have_anchors_of_their_own(page):
    first = from_bundle({"text/markdown": "# Results\n\nhello"}, page).html
    assert first == '<h1 id="results">Results</h1>\n<p>hello</p>\n'
    assert page.render("# Title") == ""
    again = page.render("## Results") + from_bundle({"text/markdown": "## Results"}, page).html
    assert page.title == "Title"
    anchors = [heading.anchor for heading in page.headings]
    assert len(set(anchors)) == 3
    assert all(f'id="{anchor}"' in first + again for anchor in anchors)


def test_figures_are_named_by_their_title(page):
    spec = {"data": [], "layout": {"title": {"text": "Delay<br><b>by hour</b>"}, "height": 600}}
    block = from_bundle({PLOTLY: spec}, page)
    assert block.label.split() == ["Delay", "by", "hour"]
    assert block.height == 600
    assert from_bundle({PLOTLY: {"data": []}}, page).label == "Figure"


def test_svg_cannot_bring_scripts(page):
    block = from_bundle({"image/svg+xml": "<svg><script>alert(1)</script></svg>"}, page)
    assert block.source.startswith("data:image/svg+xml;base64,")


@pytest.mark.parametrize("text", ["</script><script>alert(1)</script>", "<!--", "\u2028", "é", '"\\'])
def test_json_in_a_script_element_keeps_its_value_and_ends_nothing(text):
    written = script_json({"a": text})
    assert "<" not in written
    assert json.loads(written) == {"a": text}


def test_json_has_no_nan():
    assert json.loads(script_json({"y": [1.0, float("nan"), float("inf")]})) == {"y": [1.0, None, None]}


def test_errors_show_their_traceback(page):
    output = NotebookNode(
        output_type="error", ename="KeyError", evalue="'<x>'", traceback=["\x1b[31mKeyError\x1b[0m <x>"]
    )
    (block,) = blocks([output], page)
    assert block.kind == "error"
    assert "&lt;x&gt;" in block.html
    assert "ansi-red-fg" in block.html
