import ast
import datetime
import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook
from notebook_files import write_notebook

import lepton_nb as lnb
from lepton_nb.errors import ReportError
from lepton_nb.reports.injection import inject, literal
from lepton_nb.reports.parameters import check, read_source
from lepton_nb.reports.run import plan

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


HOSTILE = {
    "quotes": "'\"\"\"\\'''\\",
    "lines": "a\nimport os; os._exit(3)\r\u2028\u2029b",
    "page": "</script><script>alert(1)</script><img src=x onerror=alert(1)>&amp;",
    "path": "../../../../etc/passwd",
    "shell": "$(touch pwned); `touch pwned` | rm -rf . && !touch pwned",
    "magic": "%run pwned\n!touch pwned\n{get_ipython()}",
    "null": "a\0b\x1b[31m",
    "wide": "\U0001f600 \u202e\u0661",
    "large": -(10**4000),
    "nan": math.nan,
}


def test_hostile_values_reach_the_notebook_as_data_and_nothing_leaves_the_folder(tmp_path, monkeypatch):
    (tmp_path / "home").mkdir()
    monkeypatch.chdir(tmp_path / "home")
    source = write_notebook(
        tmp_path / "home" / "a;$(touch pwned) <b>.ipynb",
        f"import json\nprint(json.dumps({{name: ascii(globals()[name]) for name in {sorted(HOSTILE)}}}))",
        "import lepton_nb as lnb\nfor value in (path, page, null):\n    _ = lnb.record(value, value)",
        parameters="\n".join(f"{name}: {type(value).__name__}" for name, value in HOSTILE.items()),
    )
    report = lnb.report(source, **HOSTILE)
    cells = json.loads(report.notebook.read_text())["cells"]
    (printed,) = (output["text"] for cell in cells for output in cell.get("outputs", []))
    assert json.loads("".join(printed)) == {name: ascii(value) for name, value in HOSTILE.items()}
    assert report.metrics == {HOSTILE[name]: HOSTILE[name] for name in ("path", "page", "null")}
    assert HOSTILE["page"] not in report.html.read_text()
    assert {path.name for path in tmp_path.iterdir()} == {"home"}
    assert {path.name for path in (tmp_path / "home").iterdir()} == {source.name, "reports"}
    assert json.loads(report.manifest.read_text())["parameters"]["path"]["value"] == HOSTILE["path"]


@pytest.mark.parametrize("value", ["a\ud800", ["\udcff"], {"\ud800": 1}, 10**5000, [{"a": -(10**5000)}]], ids=range(5))
def test_what_no_file_can_hold_is_refused_before_anything_runs(value):
    with pytest.raises(ReportError, match="parameter 'x' must be (text that UTF-8 can hold|a number of at most)"):
        check(read_source("x = None"), {"x": value})


@pytest.mark.parametrize("name", ["report.html", "manifest.json", "kernel.log"])
def test_a_notebook_cannot_have_the_name_of_a_file_of_its_report(name, tmp_path):
    with pytest.raises(ReportError, match="rename the notebook"):
        plan(write_notebook(tmp_path / name, "1"), {}, output=tmp_path / "out")
