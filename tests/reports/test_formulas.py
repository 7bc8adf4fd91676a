"""Formulas in reports and apps: MathML in the page, drawn by the browser itself with the network cut."""

from xml.etree import ElementTree

import pytest
from browsing import visiting
from notebook_files import write_notebook

import lepton_nb as lnb
from lepton_nb.cli.webapp.markdown import WithFormulas
from lepton_nb.reports.formulas import mathml
from lepton_nb.reports.markdown import Markdown

MATHML = "{http://www.w3.org/1998/Math/MathML}"


def signs(formula):
    """Names and texts of the marks of a formula, in their order."""
    return [
        (part.tag.removeprefix(MATHML), part.text.strip())
        for part in ElementTree.fromstring(formula).iter()
        if part.text
    ]


def test_a_formula_becomes_mathml():
    assert signs(mathml(r"x^2 < \hat{y}")) == [("mi", "x"), ("mn", "2"), ("mo", "<"), ("mi", "y"), ("mo", "^")]
    assert 'display="inline"' in mathml("x")
    assert 'display="block"' in mathml("x", block=True)
    # What Markdown has escaped before is the same formula.
    assert mathml("x &lt; y") == mathml("x < y")


@pytest.mark.parametrize("name", ["align*", "aligned", "split", "cases"])
def test_lines_of_a_formula_are_rows(name):
    formula = mathml(rf"\begin{{{name}}} a &= b \\ c &= d \end{{{name}}}", block=True)
    rows = ElementTree.fromstring(formula).findall(f".//{MATHML}mtr")
    assert ["".join(row.itertext()) for row in rows] == ["a=b", "c=d"]


@pytest.mark.parametrize("tex", ["a_b_c", r"\frac", r"\text{<b>}", "a & b", r"\begin{aligned} x", "{" * 3_000])
def test_what_cannot_be_read_stays_as_it_was_written(tex):
    escaped = tex.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    assert mathml(tex) == f"${escaped}$"
    assert mathml(tex, block=True) == f"$${escaped}$$"


def test_markdown_has_formulas_in_text_in_blocks_and_bare(tmp_path):
    html = Markdown(tmp_path).render(
        "Where $x < y$, at 5 \\$:\n\n$$\n\\frac{a}{b}\n$$\n\n\\begin{align}\na &= b\n\\end{align}\n\n`$z$`"
    )
    assert html.count("<math") == 3
    assert html.count('display="block"') == 2
    assert "<code>$z$</code>" in html
    assert "script" not in html


def test_a_bare_environment_that_cannot_be_read_gets_no_dollars(tmp_path):
    assert "<p>\\begin{foo} a & b_c_d \\end{foo}</p>".replace(" & ", " &amp; ") in Markdown(tmp_path).render(
        "\\begin{foo} a & b_c_d \\end{foo}"
    )


def test_an_app_renders_formulas_alike():
    renderer = WithFormulas(contents_manager=None)
    assert renderer.inline_math("x^2") == mathml("x^2")
    assert renderer.block_math("x^2") == mathml("x^2", block=True)


@pytest.mark.browser
def test_the_browser_draws_them_offline(tmp_path):
    source = write_notebook(tmp_path / "math.ipynb", "# Formulas\n\nInline $x$ and:\n\n$$\\frac{a}{b}$$\n", "1")
    report = lnb.report(source, output=tmp_path / "out")
    with visiting(offline=True) as visit:
        visit.page.goto(report.html.as_uri())
        top, bottom = (visit.page.locator("mfrac > *").nth(number).bounding_box() for number in (0, 1))
        # A fraction is drawn as one: its upper part stands above the lower.
        assert top["y"] + top["height"] <= bottom["y"] + 1
        assert visit.page.locator("math").count() == 2
    assert visit.outside() == []
    assert visit.errors == []
