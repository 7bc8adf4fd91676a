import ast
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from lepton_nb.cli.webapp import parameters
from lepton_nb.cli.webapp.kernels import environment, without_token
from lepton_nb.errors import ReportError
from lepton_nb.reports.parameters import read_source

KNOWN = read_source("carrier: str = 'UA'\nhours: int = 1\nlimit: float | None = None\nnames: list[str] = []\nday: str")
PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
)


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


@given(PLAIN)
def test_a_value_is_one_line_of_source_that_gives_it_back(value):
    source = parameters.literal(value)
    assert source.isascii()
    assert source.isprintable()
    # eval, as literals know no float("nan"); nothing but that function is called.
    calls = [ast.unparse(node.func) for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)]
    assert set(calls) <= {"float"}
    assert repr(eval(source, {"__builtins__": {}, "float": float})) == repr(value)


def test_what_is_no_plain_value_is_refused():
    assert parameters.literal(-math.inf) == "float('-inf')"
    with pytest.raises(TypeError, match="not a plain value"):
        parameters.literal(object())


def test_values_come_right_after_the_cell_with_the_defaults():
    notebook = new_notebook(
        cells=[
            new_markdown_cell("text"),
            new_code_cell("hours = 1", metadata={"tags": ["parameters"]}),
            new_code_cell("hours"),
        ]
    )
    parameters.inject(notebook, {})
    assert len(notebook.cells) == 3
    parameters.inject(notebook, {"hours": 2, "carrier": "'\n"})
    assert [cell.source for cell in notebook.cells[1:]] == [
        "hours = 1",
        '# Parameters\nhours = 2\ncarrier = "\'\\n"',
        "hours",
    ]


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
