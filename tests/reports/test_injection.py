import ast
import datetime
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from lepton_nb.reports.injection import inject, literal

# What a form gives has no fold: it is not in a time written as text.
TIMES = st.datetimes(timezones=st.none() | st.just(datetime.UTC)).map(lambda time: time.replace(fold=0))
MOMENTS = st.dates() | TIMES | st.timedeltas()
PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | MOMENTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
)


@given(PLAIN)
def test_a_value_is_one_line_of_source_that_gives_it_back(value):
    source = literal(value)
    assert source.isascii()
    assert source.isprintable()
    # eval, as literals know no float("nan"); nothing but that function and those of `datetime` is called.
    calls = [ast.unparse(node.func) for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)]
    assert set(calls) <= {
        "float", "__import__", *(f"__import__('datetime').{name}" for name in ("date.fromisoformat", "timedelta",
        "datetime.fromisoformat"))
    }  # fmt: skip
    assert repr(eval(source, {"__builtins__": {"__import__": __import__}, "float": float})) == repr(value)


def test_what_is_no_plain_value_is_refused():
    assert literal(-math.inf) == "float('-inf')"
    with pytest.raises(TypeError, match="not a plain value"):
        literal(object())


def test_values_come_right_after_the_cell_with_the_defaults():
    notebook = new_notebook(
        cells=[
            new_markdown_cell("text"),
            new_code_cell("hours = 1", metadata={"tags": ["parameters"]}),
            new_code_cell("hours"),
        ]
    )
    inject(notebook, {})
    assert len(notebook.cells) == 3
    inject(notebook, {"hours": 2, "carrier": "'\n"})
    assert [cell.source for cell in notebook.cells[1:]] == [
        "hours = 1",
        '# Parameters\nhours = 2\ncarrier = "\'\\n"',
        "hours",
    ]


def test_values_of_an_earlier_run_give_way():
    cells = [("hours = 1", "parameters"), ("hours = 5", "injected-parameters"), ("hours", "other")]
    notebook = new_notebook(cells=[new_code_cell(source, metadata={"tags": [tag]}) for source, tag in cells])
    inject(notebook, {"hours": 2})
    assert [cell.source for cell in notebook.cells] == ["hours = 1", "# Parameters\nhours = 2", "hours"]
