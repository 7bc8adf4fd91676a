import pytest

from lepton_nb.errors import ReportError
from lepton_nb.reports.parameters import check, read_source

SOURCE = """
%matplotlib inline
from typing import Literal
epochs: int = 3  # passes over the data
rate: float = 1e-3
late = 15
verbose: bool = False
name: str = "a#b"  # not a #comment before
optimizer: Literal["adam", "sgd"] = "adam"
columns: list[str] = [
    "origin",
    "carrier",
]  # what to group by
limits: dict[str, int] = {}
memory: str | None = None
size: "Optional[int]" = None
anything = None
"""


def declared():
    return {parameter.name: parameter for parameter in read_source(SOURCE)}


def test_names_defaults_and_help_are_read_without_running():
    found = declared()
    assert list(found) == [
        "epochs", "rate", "late", "verbose", "name", "optimizer", "columns", "limits", "memory", "size", "anything",
    ]  # fmt: skip
    assert found["epochs"].default == 3
    assert found["epochs"].annotation == "int"
    assert found["epochs"].help == "passes over the data"
    assert found["name"].help == "not a #comment before"
    assert found["columns"].default == ["origin", "carrier"]
    assert found["columns"].help == "what to group by"


def test_a_comment_alone_above_is_help_and_one_behind_the_line_before_is_not():
    first, second = read_source("# The first day.\nday: int = 1\nother: int = 2  # of other days\nthird: int = 3")[:2]
    assert (first.help, second.help) == ("The first day.", "of other days")
    assert read_source("a: int = 1  # of a\nb: int = 2")[1].help == ""


def test_reading_never_runs_the_cell(tmp_path):
    marker = tmp_path / "ran"
    (parameter,) = read_source(f"x: int = len(open({str(marker)!r}, 'w').name)")
    assert not marker.exists()
    assert parameter.default is None
    assert parameter.default_text.startswith("len(")


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("epochs", "5", 5),
        ("epochs", "-5", -5),
        ("rate", "1", 1.0),
        ("rate", "1e-4", 1e-4),
        ("late", "20", 20),
        ("verbose", "yes", True),
        ("verbose", "FALSE", False),
        ("name", "5", "5"),
        ("name", "", ""),
        ("optimizer", "sgd", "sgd"),
        ("columns", '["dest"]', ["dest"]),
        ("limits", '{"a": 2}', {"a": 2}),
        ("memory", "2GB", "2GB"),
        ("memory", "null", None),
        ("size", "7", 7),
        ("size", "None", None),
        ("anything", "[1, 2]", [1, 2]),
        ("anything", "plain text", "plain text"),
    ],
)
def test_text_is_parsed_by_the_type(name, text, expected):
    result = check(read_source(SOURCE), {name: text}, text=True)[name]
    assert result == expected
    assert type(result) is type(expected)


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [("rate", 1, 1.0), ("columns", ("a", "b"), ["a", "b"]), ("size", None, None), ("limits", {"a": 1}, {"a": 1})],
)
def test_python_values_are_taken(name, value, expected):
    assert check(read_source(SOURCE), {name: value})[name] == expected


@pytest.mark.parametrize(
    ("name", "value", "wanted"),
    [
        ("epochs", "3", "must be int, not '3' (str)"),
        ("epochs", True, "must be int, not True (bool)"),
        ("epochs", 2.0, "must be int"),
        ("rate", "fast", "must be float"),
        ("verbose", 1, "must be bool"),
        ("name", 3, "must be str"),
        ("optimizer", "adamw", "must be one of 'adam', 'sgd'"),
        ("columns", "origin", "must be list[str]"),
        ("columns", ["a", 2], "item 1 must be str"),
        ("limits", {"a": "b"}, "value of 'a' must be int"),
        ("limits", {1: 1}, "must be dict[str, int]"),
        ("memory", 2, "must be str or None"),
        ("anything", object(), "must be made of"),
    ],
)
def test_values_of_another_type_are_refused(name, value, wanted):
    with pytest.raises(ReportError) as raised:
        check(read_source(SOURCE), {name: value})
    assert f"parameter {name!r} " in raised.value.message
    assert wanted in raised.value.message


@pytest.mark.parametrize(
    ("name", "text"),
    [("epochs", "two"), ("epochs", "2.5"), ("verbose", "maybe"), ("columns", "a,b"), ("size", "x"), ("optimizer", "")],
)
def test_text_that_does_not_fit_is_refused(name, text):
    with pytest.raises(ReportError, match=f"parameter {name!r}"):
        check(read_source(SOURCE), {name: text}, text=True)


def test_all_problems_are_told_at_once_with_the_closest_names():
    source = SOURCE + "target: str\n"
    with pytest.raises(ReportError) as raised:
        check(read_source(source), {"epoch": 2, "rate": "x", "zzz": 1})
    assert raised.value.problems == (
        "unknown parameter 'epoch'; did you mean 'epochs'?",
        "parameter 'rate' must be float, not 'x' (str)",
        "unknown parameter 'zzz'",
        "parameter 'target' has no default; give it a value",
    )
    assert "epochs" in raised.value.known


def test_annotations_outside_the_table_matter_only_when_given():
    declared = read_source("when: pathlib.Path = None\nepochs: int = 1")
    assert check(declared, {"epochs": 2}) == {"epochs": 2}
    with pytest.raises(ReportError, match="annotation Path is none of int, float"):
        check(declared, {"when": "2013-01-01"})


def test_no_cell_is_fine_without_parameters_and_says_how_to_tag_with_some():
    assert check(None, {}) == {}
    with pytest.raises(ReportError, match="tag one cell `parameters`: in JupyterLab"):
        check(None, {"epochs": 2})


def test_a_cell_that_is_not_python_is_an_error():
    with pytest.raises(ReportError, match=r"parameters cell \(cell 3\) is not valid Python.*line 2"):
        read_source("a = 1\nb: int = =", index=2)


def test_a_default_is_shown_as_one_types_it():
    first, name = read_source("from datetime import date\nfirst: date = date(2013, 6, 24)\nname: str = 'UA'")
    assert (first.default_shown, name.default_shown) == ("2013-06-24", "'UA'")
