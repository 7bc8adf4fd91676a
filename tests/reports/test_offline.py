import base64

import plotly.graph_objects as go
import pytest

from lepton_nb.reports.offline import embedded, offline

PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)


@pytest.mark.parametrize(
    "html",
    [
        '<script src="https://cdn.example.org/a.js"></script>',
        '<script type="module">import "https://cdn.example.org/a.js"</script>',
        '<link rel="stylesheet" href="https://cdn.example.org/a.css">',
        '<link rel="stylesheet" href="a.css">',
        "<style>@import 'https://cdn.example.org/a.css';</style>",
        '<style>@import url("https://cdn.example.org/a.css?a=1;2") print</style>',
        "<style>@import 'https://cdn.example.org/a.css</style>",
        "<style>a { b: url(https://cdn.example.org/a.css</style>",
        "<style>@import url(https://cdn.example.org/a.css);</style>",
        '<div style="background: url(//cdn.example.org/a.png)"></div>',
        '<base href="https://cdn.example.org/">',
        '<meta http-equiv="refresh" content="0; url=https://cdn.example.org/">',
    ],
)
def test_what_would_be_fetched_goes(html, tmp_path):
    result = offline(f"<p>before</p>{html}<p>after</p>", tmp_path)
    assert "example.org" not in result
    assert "a.css" not in result
    assert "<p>before</p>" in result
    assert "<p>after</p>" in result


@pytest.mark.parametrize(
    ("css", "left"),
    [
        ('a { b: url("data:image/png;base64,AAAA") }', None),
        ("a { b: url( 'data:image/svg+xml,<svg x=\")\"/>' ) }", None),
        ("a { b: url(data:image/png;base64,AAAA) }", None),
        ("a { fill: url(#gradient) } b > c { d: e }", None),
        ("a::before { content: '@import; url(x)' } /* url(x) @import */", None),
        ("a { b: url(x.png) red }", "a { b: none red }"),
        ("a { b: url('https://x/(y).png') red }", "a { b: none red }"),
        ('@import url("https://x/y.css");p { color: red }', "p { color: red }"),
        ("@import url(https://x/y?a:400;700) screen;p { color: red }", "p { color: red }"),
        ("@import 'https://x/;.css';p { color: red }", "p { color: red }"),
    ],
)
def test_only_what_would_be_fetched_goes_from_a_style(css, left, tmp_path):
    assert offline(f"<style>{css}</style>", tmp_path) == f"<style>{css if left is None else left}</style>"


def test_remote_images_and_frames_become_links(tmp_path):
    result = offline(
        '<img src="https://example.org/a.png" alt="A plane"><iframe src="//example.org/b"></iframe>', tmp_path
    )
    assert '<a href="https://example.org/a.png">A plane</a>' in result
    assert "<img" not in result
    assert "<iframe" not in result


def test_local_images_are_embedded_and_missing_ones_named(tmp_path):
    (tmp_path / "a b.png").write_bytes(PIXEL)
    result = offline('<img src="a%20b.png"><img src="gone.png" alt="A chart">', tmp_path)
    assert f"data:image/png;base64,{base64.b64encode(PIXEL).decode()}" in result
    assert "[A chart]" in result


def test_inline_scripts_and_tables_stay(tmp_path):
    html = "<table><tr><td>1</td></tr></table><script>let a = '<b>';</script>"
    assert offline(html, tmp_path) == html


def test_only_images_are_embedded(tmp_path):
    (tmp_path / "secret.txt").write_text("secret")
    assert embedded("secret.txt", tmp_path) is None
    assert embedded("https://example.org/a.png", tmp_path) is None
    assert embedded("data:image/png;base64,AA==", tmp_path) == "data:image/png;base64,AA=="


def test_a_plotly_js_of_an_output_goes_and_what_it_draws_stays(tmp_path):
    html = go.Figure(go.Bar(y=[1])).to_html(full_html=False, include_plotlyjs=True)
    result = offline(html, tmp_path)
    assert len(html) > 4_000_000
    assert len(result) < 20_000
    assert "Plotly.newPlot(" in result
