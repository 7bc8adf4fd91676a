import json
import os

import pytest
from nbformat.v4 import new_code_cell, new_notebook

import lepton_nb as lnb
from lepton_nb import announce
from lepton_nb.reports.facts import Facts, read_facts
from lepton_nb.reports.inputs import Inputs, find, place, public


@pytest.fixture
def told(tmp_path, monkeypatch):
    path = tmp_path / "facts"
    monkeypatch.setenv(announce.VARIABLE, str(path))
    return path


def test_data_that_lepton_nb_reads_and_seeds_are_told(told, tmp_path):
    table = tmp_path / "a.csv"
    table.write_text("x,y\n1,2\n3,4\n5,6\n7,8\n")
    lnb.prepare(str(table), target="y", seed=5, validation=0.25, test=0.25)
    lnb.datasets.nexmark(100, seed=3)
    lnb.record_seed(9, "mine")
    assert lnb.record_input(table) == str(table)
    found = read_facts(told)
    assert found.inputs == (str(table),)
    assert found.seeds == {"prepare": [5], "nexmark": [3], "mine": [9]}


def test_nothing_is_told_outside_of_a_report(tmp_path, monkeypatch):
    monkeypatch.delenv(announce.VARIABLE, raising=False)
    monkeypatch.chdir(tmp_path)
    assert lnb.record_seed(3) == 3
    announce.read_file("a")
    assert os.listdir(tmp_path) == []


def test_what_cannot_be_an_input_or_a_seed_is_refused(tmp_path):
    with pytest.raises(lnb.ReportError, match="there is no file"):
        lnb.record_input(tmp_path / "gone")
    for wrong in (1.5, True, "7"):
        with pytest.raises(lnb.ReportError, match="a seed is a whole number"):
            lnb.record_seed(wrong)


def test_files_that_the_run_wrote_are_no_inputs_and_damaged_lines_do_not_matter(tmp_path):
    lines = [
        {"kind": "read", "path": "/d/in"},
        {"kind": "read", "path": "/d/out"},
        {"kind": "written", "path": "/d/out"},
        {"kind": "flag", "name": "f", "value": True},
        {"kind": "cluster", "workers": 2},
        {"kind": "strange"},
        [],
    ]
    path = tmp_path / "facts"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines) + '{"kind": "se')
    assert read_facts(path) == Facts(inputs=("/d/in",), flags={"f": True}, cluster={"workers": 2})
    assert read_facts(tmp_path / "gone") == Facts()


def test_files_that_parameters_and_texts_name_are_inputs_unless_the_run_changes_them(tmp_path):
    for name in ("given", "a.txt", "b.txt", "plain"):
        (tmp_path / name).write_text(name)
    notebook = new_notebook(cells=[new_code_cell("open('a.txt'); open('b.txt', 'w'); 'plain'; 'none.txt'")])
    inputs = Inputs(notebook, ["given", 3, ["none"], "x\0"], tmp_path)
    (tmp_path / "b.txt").write_text("another")
    found = inputs.found([str(tmp_path / "plain")], ["https://ann:word@example.org/a.csv?key=1"], tmp_path)
    assert [entry.get("path") or entry["url"] for entry in found] == [
        "a.txt", "given", "plain", "https://example.org/a.csv",
    ]  # fmt: skip


def test_names_of_files_mean_the_same_elsewhere(tmp_path):
    import polars

    inside = place(tmp_path / "a" / "b.csv", tmp_path)
    assert inside == "a/b.csv"
    assert find(inside, tmp_path) == tmp_path / "a" / "b.csv"
    package = place(find("package:polars/__init__.py", None).resolve(), tmp_path)
    assert package == "package:polars/__init__.py"
    assert find(package, None).samefile(polars.__file__)
    assert public("s3://key:word@bucket/x?signature=1") == "s3://bucket/x"
