import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from lepton_nb.cli.webapp import parameters
from lepton_nb.cli.webapp.handlers import prelaunch
from lepton_nb.cli.webapp.kernels import environment, without_token
from lepton_nb.errors import ReportError
from lepton_nb.reports.parameters import read_source

KNOWN = read_source("carrier: str = 'UA'\nhours: int = 1\nlimit: float | None = None\nnames: list[str] = []\nday: str")


def test_values_of_an_address_are_typed():
    query = "carrier=A%26A+B&hours=3&limit=none&names=%5B%22x%22%5D&day=&token=secret"
    expected = {"carrier": "A&A B", "hours": 3, "limit": None, "names": ["x"], "day": ""}
    assert parameters.values(KNOWN, query) == expected


@pytest.mark.parametrize(
    ("query", "problems"),
    [
        ("", ["parameter 'day' has no default; give it a value"]),
        (
            "day=x&hour=1&limit=much",
            ["unknown parameter 'hour'; did you mean 'hours'?", "parameter 'limit' must be float or None, not 'much'"],
        ),
        ("day=x&day=y", ["parameter 'day' is given more than once; give it once"]),
    ],
)
def test_all_that_is_wrong_with_an_address_is_told(query, problems):
    with pytest.raises(ReportError) as caught:
        parameters.values(KNOWN, query)
    assert [problem.partition(" (")[0] for problem in caught.value.problems] == problems


@pytest.mark.parametrize(("known", "query"), [(KNOWN, "day=%ff"), (None, "day=x"), (KNOWN, "&".join(["day=x"] * 9999))])
def test_an_address_that_cannot_be_read_is_an_error_of_ours(known, query):
    with pytest.raises(ReportError):
        parameters.values(known, query)


@pytest.mark.parametrize(
    ("cells", "title"),
    [
        (["no heading", "## A *second* level", "# Later"], "A second level"),
        (["```\n# a comment\n```\n\n# $x^2$ & `code`"], "x2 & code"),
        (["nothing"], None),
    ],
)
def test_a_page_is_named_after_the_first_heading(cells, title, tmp_path):
    notebook = new_notebook(cells=[new_code_cell("# no heading"), *map(new_markdown_cell, cells)])
    parameters.entitle(notebook, tmp_path)
    assert notebook.metadata.get("title") == title


def test_a_kernel_is_told_nothing_of_others_and_no_token():
    asked = {"VOILA_REQUEST_URL": "http://h/?token=abc&hours=2", "QUERY_STRING": "token=abc&hours=2", "HOME": "/"}
    clean = {"VOILA_REQUEST_URL": "http://h/?hours=2", "QUERY_STRING": "hours=2", "HOME": "/"}
    assert environment({**asked, "VOILA_PREHEAT": "False"}) == {**clean, "VOILA_PREHEAT": "False"}
    assert environment({**asked, "VOILA_PREHEAT": "True"}) == {
        "VOILA_PREHEAT": "False",
        "QUERY_STRING": "",
        "HOME": "/",
    }
    assert without_token("a=b%20c&d") == "a=b%20c&d"


def test_an_app_has_no_words_that_are_for_reports_alone(tmp_path):
    cells = [new_markdown_cell(tag, metadata={"tags": [tag]}) for tag in ("live-only", "report-only")]
    notebook = new_notebook(cells=[*cells, new_code_cell("1", metadata={"tags": ["report-only"]})])
    made = prelaunch(None, notebook, str(tmp_path))
    assert [(cell.cell_type, cell.source) for cell in made.cells] == [("markdown", "live-only"), ("code", "1")]
