"""The page in a real browser with the network cut."""

import nbformat
import pytest
from axe_playwright_python.sync_playwright import Axe
from browsing import visiting
from notebook_files import figure, write_notebook

import lepton_nb as lnb

DRAWN = "() => [...document.querySelectorAll('.js-plotly-plot')].filter((one) => one.querySelector('.main-svg')).length"
MARKS = "box => box.querySelectorAll('.trace path, .hm image').length"
OTHERS = """
from plotly.subplots import make_subplots
for trace in (go.Heatmap(z=[[1, 2], [3, 4]]), go.Box(y=[1, 2, 9]), go.Histogram(x=[1, 1, 2]), go.Violin(y=[1, 2, 3])):
    go.Figure(trace, layout={'title': trace.type, 'template': 'plotly_dark'}).show()
both = make_subplots(rows=1, cols=2, specs=[[{}, {'type': 'domain'}]])
both.add_trace(go.Scatter(y=[1, 2]), row=1, col=1).add_trace(go.Pie(values=[1, 2]), row=1, col=2)
both.update_layout(title='Two <img src=x onerror="window.ran = 1">').show()
""".strip()


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    folder = tmp_path_factory.mktemp("page")
    source = write_notebook(
        folder / "page.ipynb",
        "# Delays `<by>` hour\n\nMath: $x^2$. ![logo](https://example.org/logo.png)\n",
        "## First\n",
        figure("First </script><b>figure</b>"),
        "## Second\n",
        "import plotly.graph_objects as go\n"
        "fig = go.Figure(go.Bar(x=['a', 'b'], y=[1, 2]), layout={'title': 'Second'})\nfig.show()",
        "fig.show('notebook_connected')",
        "import polars as pl\nimport lepton_nb as lnb\nlnb.record('auc', 0.75)\n"
        "lnb.record('<i>table', pl.DataFrame({'<u>name': ['<script>window.ran = 1</script>', 'b'], 'n': [1, 2]}))\n"
        "lnb.record('<s>text', '<img src=x onerror=\"window.ran = 1\">');",
        "pl.DataFrame({'carrier': ['UA', '<AA>']})",
        "from IPython.display import HTML, Javascript\n"
        'HTML(\'<img src="https://example.org/x.png"><script src="https://example.org/x.js"></script>\')',
        "import plotly.express as px\npx.scatter(x=[1, 2, 3], y=[1, 2, 3], render_mode='webgl', title='On the GPU')",
        OTHERS,
        parameters="epochs: int = 3  # passes",
    )
    return lnb.report(source, output=folder / "out", epochs=2, show_code=False)


@pytest.mark.browser
@pytest.mark.parametrize("dark", [False, True])
def test_every_figure_is_drawn_and_nobody_is_asked(report, dark):
    with visiting(offline=True, dark=dark) as visit:
        visit.page.goto(report.html.as_uri())
        visit.page.evaluate("window.lepton.ready.then(() => true)")
        # One of them is drawn by a script of its own, which waits for the same library.
        visit.page.wait_for_function(f"({DRAWN})() === 9")
        marks = visit.page.locator(".js-plotly-plot").evaluate_all(f"boxes => boxes.map({MARKS})")
        assert [count > 0 for count in marks] == [True] * 9
        assert visit.page.locator("canvas").count() == 0
        assert visit.page.title() == "Delays <by> hour"
        assert visit.page.locator("img[src^='http'], script[src]").count() == 0
        assert visit.page.evaluate("window.ran") is None
        assert Axe().run(visit.page).response["violations"] == []
    assert visit.outside() == []
    assert visit.failed == []
    assert visit.errors == []


@pytest.mark.browser
def test_the_page_can_be_read_by_everyone(report):
    with visiting(offline=True) as visit:
        page = visit.page
        page.goto(report.html.as_uri())
        assert page.get_attribute("html", "lang") == "en"
        assert page.locator("h1").all_inner_texts() == ["Delays <by> hour"]
        assert page.get_by_role("navigation", name="Contents").get_by_role("link").all_inner_texts() == [
            "Recorded",
            "First",
            "Second",
        ]
        page.get_by_role("link", name="Second", exact=True).click()
        assert page.url.endswith("#second")
        assert page.get_by_role("figure", name="Second").count() == 1
        assert page.locator("#figure\\:3-words").text_content().startswith("Line chart: First figure. 3 points")
        assert page.get_by_role("main").count() == 1
        assert page.locator("math").text_content() == "x2"
        assert page.locator("td", has_text="<AA>").count() == 1
        assert page.locator(".metrics").inner_text().split("\n")[:2] == ["auc", "0.75"]
        assert page.get_by_role("table", name="<i>table").inner_text().split() == [
            "<i>table", "<u>name", "n", "<script>window.ran", "=", "1</script>", "1", "b", "2",
        ]  # fmt: skip
        assert "passes" in page.get_by_role("contentinfo").inner_text()
        assert page.locator(".code").count() == 0


WIDE = range(40)
EDGES = """() => {
  const edges = (selector) => [...document.querySelectorAll(selector)].map((box) => box.getBoundingClientRect());
  return { left: edges("nav, main > *").reduce((least, box) => Math.min(least, box.left), Infinity),
    right: document.documentElement.clientWidth - Math.max(...edges("main > *").map((box) => box.right)),
    page: document.documentElement.scrollWidth - document.documentElement.clientWidth,
    tables: edges("main table").map((box) => box.width) }; }"""


@pytest.mark.browser
def test_text_keeps_off_both_edges_and_wide_tables_scroll_by_themselves(tmp_path):
    row = "".join(f"<td>column_{number}</td>" for number in WIDE)
    source = write_notebook(
        tmp_path / "a.ipynb",
        "# Title\n\n" + "Words that wrap. " * 40,
        "## First\n\n" + "".join(f"| {number}0000000 " for number in WIDE) + "|\n" + "|---" * len(WIDE) + "|",
        f"## Second\n\n<table><tr>{row}</tr></table>\n",
        f"from IPython.display import HTML\nHTML('<table><tr>{row}</tr></table>')",
    )
    page = lnb.report(source, output=tmp_path / "out").html
    with visiting(offline=True) as visit:
        visit.page.goto(page.as_uri())
        for width in (1000, 1100, 1200, 1600):
            visit.page.set_viewport_size({"width": width, "height": 800})
            edges = visit.page.evaluate(EDGES)
            assert edges["page"] == 0
            assert edges["left"] >= 40
            assert edges["right"] == pytest.approx(edges["left"], abs=1)
            assert len(edges["tables"]) == 3
        assert Axe().run(visit.page).response["violations"] == []


@pytest.mark.browser
def test_the_page_prints(report):
    with visiting(offline=True) as visit:
        visit.page.goto(report.html.as_uri())
        visit.page.evaluate("window.lepton.ready.then(() => true)")
        visit.page.evaluate(
            "window.addEventListener('beforeprint', () => { window.onPaper = [...document.querySelectorAll("
            "'[data-figure]')].map((box) => box.querySelector('.main-svg').width.baseVal.value) })"
        )
        wide = visit.page.evaluate("document.querySelector('[data-figure] .main-svg').width.baseVal.value")
        assert visit.page.pdf(format="A4").startswith(b"%PDF")
        assert visit.page.evaluate("window.onPaper") == [660] * 8
        again = f"document.querySelector('[data-figure] .main-svg').width.baseVal.value === {wide}"
        visit.page.wait_for_function(again)
    assert visit.errors == []


def test_a_page_without_scripts_says_so(report):
    noscript = report.html.read_text().partition("<noscript>")[2].partition("</noscript>")[0]
    assert "drawn by JavaScript, which is switched off here" in noscript
    assert "2 bars, the largest 2 (b)" in report.html.read_text()


def test_figures_weigh_no_more_than_they_need(report):
    assert report.html.stat().st_size < 800_000
    assert "This page holds all of plotly.js" not in report.html.read_text()


@pytest.mark.browser
def test_a_figure_in_space_is_drawn_by_all_of_plotly_and_the_page_says_so(tmp_path):
    source = write_notebook(
        tmp_path / "a.ipynb",
        "import plotly.graph_objects as go\ngo.Figure(go.Barpolar(r=[1, 2]), layout={'title': 'Wind <b>rose</b>'})",
    )
    page = lnb.report(source, output=tmp_path / "out", show_code=True).html
    with visiting(offline=True) as visit:
        visit.page.goto(page.as_uri())
        visit.page.evaluate("window.lepton.ready.then(() => true)")
        assert visit.page.locator(".polar .trace path").count() > 0
        said = visit.page.get_by_role("contentinfo").inner_text()
        assert "holds all of plotly.js, as the figure 'Wind rose' is of the type barpolar," in said
        visit.page.get_by_role("button", name="Hide code").click()
        assert not visit.page.locator(".code").is_visible()
        visit.page.get_by_role("button", name="Show code").press("Enter")
        assert visit.page.locator(".code").is_visible()
    assert visit.errors == []


def test_code_is_shown_when_asked_for(tmp_path):
    source = write_notebook(tmp_path / "a.ipynb", "value = '<b>'")
    assert "value" not in lnb.report(source, output=tmp_path / "plain").html.read_text()
    shown = lnb.report(source, output=tmp_path / "code", show_code=True).html.read_text()
    assert 'class="code"' in shown
    assert "&lt;b&gt;" in shown


def test_a_report_without_figures_does_not_carry_plotly(tmp_path):
    report = lnb.report(write_notebook(tmp_path / "a.ipynb", "print(1)"), output=tmp_path / "out")
    assert report.html.stat().st_size < 100_000


def test_widget_state_is_left_out_of_the_executed_notebook(tmp_path):
    source = write_notebook(tmp_path / "a.ipynb", "import ipywidgets\nipywidgets.IntSlider()")
    report = lnb.report(source, output=tmp_path / "out")
    assert "widgets" not in nbformat.read(report.notebook, 4).metadata
    assert "A live view was here" in report.html.read_text()
