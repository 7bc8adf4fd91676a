import json
import shutil

import pytest
from notebook_files import write_notebook

import lepton_nb as lnb
from lepton_nb.cli import main

CELL = """
import json, os
import lepton_nb as lnb, helper
import polars as pl
seed = lnb.record_seed(int(os.environ.get("A_SEED", "7")))
rows = json.load(open("rows.json"))
lnb.record("total", sum(rows) * factor * helper.SCALE)
lnb.record("columns", pl.read_csv("table.csv").width)
lnb.record("rows", pl.DataFrame({"x": rows}))
many = pl.DataFrame({"x": range(3000)})
lnb.record("many", many.with_columns(y=pl.col("x") * rows[0], z=pl.col("x").cast(pl.String)))
"""
FIGURE = """
from IPython.display import display
display({"application/vnd.plotly.v1+json": {"data": [{"y": rows}], "layout": {}}}, raw=True)
"""
CAUSES = ("parameter", "input", "package", "seed", "source", "notebook", "cell", "file")


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A project with a report of its notebook, as it was made."""
    folder = tmp_path_factory.mktemp("first") / "project"
    folder.mkdir()
    (folder / "helper.py").write_text("SCALE = 1\n")
    (folder / "rows.json").write_text("[1, 2, 4]")
    (folder / "table.csv").write_text("a,b\n1,2\n")
    write_notebook(folder / "n.ipynb", "# Rows\n", CELL, FIGURE, parameters="factor: float = 2.0\nday: str = 'x'")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        lnb.report("n.ipynb", output="out/r", factor=3)
    return folder


@pytest.fixture
def checkout(project, tmp_path, monkeypatch):
    """A second copy of the project, which is the current folder."""
    folder = tmp_path / "checkout"
    shutil.copytree(project, folder)
    monkeypatch.chdir(folder)
    return folder


def causes(verdict):
    return [(one.kind, one.name) for one in (*verdict.held, *verdict.told) if one.kind in CAUSES]


def test_the_manifest_says_what_went_in(project):
    manifest = json.loads((project / "out" / "r" / "manifest.json").read_text())
    assert [(entry["path"], entry["bytes"]) for entry in manifest["inputs"]] == [("rows.json", 9), ("table.csv", 8)]
    assert manifest["seeds"] == {"seed": [7]}
    assert "helper.py" in [entry["path"] for entry in manifest["notebook"]["sources"]]
    assert manifest["packages"]["installed"]["polars"] == manifest["versions"]["polars"]
    assert manifest["machine"]["cores"] >= 1
    assert manifest["core_seconds"] > 0
    assert len(manifest["id"]) == 32
    assert (manifest["parent"], manifest["slot"], manifest["cluster"]) == (None, None, None)
    assert str(project.parent) not in json.dumps(manifest)


def test_a_report_verifies_in_another_checkout(checkout, capsys):
    assert main(["report", "verify", "out/r", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["reproduced"] is True
    assert said["ran"] is True
    assert said["notebook"] == "ran n.ipynb, which has not changed"
    assert said["held"] == said["told"] == []
    assert sorted(path.name for path in checkout.iterdir() if path.name != "__pycache__") == sorted(
        ["helper.py", "n.ipynb", "out", "rows.json", "table.csv"]
    )


def test_one_byte_of_an_input_is_named(checkout):
    (checkout / "rows.json").write_text("[1, 2, 5]")
    verdict = lnb.report_verify("out/r")
    assert not verdict
    assert causes(verdict) == [("input", "rows.json")]
    assert [(one.kind, one.text) for one in verdict.held if one.kind not in CAUSES] == [
        ("metric", "total: 21.0 against 24.0"),
        ("figure", "of cell 4: trace 1: y differs in 1 of 3 values, most at 2: 4 against 5"),
        ("table", "rows: column 'x' differs in 1 of 3 values, most at 2: 4 against 5"),
    ]
    assert "input rows.json: other content" in str(verdict)


def test_one_seed_is_named(checkout, monkeypatch):
    monkeypatch.setenv("A_SEED", "8")
    verdict = lnb.report_verify("out/r")
    assert not verdict
    assert [str(one) for one in verdict.held] == ["seed seed: [7] against [8]"]
    assert causes(verdict) == [("seed", "seed")]


def test_changed_code_is_named_and_the_kept_code_is_run(checkout):
    node = json.loads((checkout / "n.ipynb").read_text())
    node["cells"][0]["source"] = "factor: float = 2.5\nday: str = 'x'"
    (checkout / "n.ipynb").write_text(json.dumps(node))
    (checkout / "helper.py").write_text("SCALE = 1  # as before\n")
    verdict = lnb.report_verify("out/r")
    assert verdict.reproduced
    assert verdict.notebook == "ran the code that the report keeps, for n.ipynb has changed since"
    assert [str(one) for one in verdict.told] == [
        "notebook n.ipynb: cell 1 was changed: line 1, 'factor: float = 2.0' against 'factor: float = 2.5'",
        "source helper.py: other content",
    ]


def test_one_parameter_is_named_before_anything_runs(checkout, capsys):
    path = checkout / "out" / "r" / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest["parameters"]["factor"]["value"] = 4.0
    path.write_text(json.dumps(manifest))
    assert main(["report", "verify", "out/r"]) == 1
    assert "parameter factor: 4.0 against 3.0 (the manifest against the executed notebook)" in capsys.readouterr().out


def test_one_package_is_named(checkout, tmp_path, monkeypatch):
    assert lnb.report_verify("out/r", run=False).reproduced
    facts = tmp_path / "site" / "new_one-1.5.dist-info"
    facts.mkdir(parents=True)
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: new.one\nVersion: 1.5\n")
    monkeypatch.syspath_prepend(facts.parent)
    verdict = lnb.report_verify("out/r", run=False)
    assert [str(one) for one in verdict.held] == ["package new-one: missing against 1.5"]
    assert not verdict.ran
    assert not verdict


def test_without_a_run_inputs_and_sources_are_checked(checkout, capsys):
    (checkout / "rows.json").write_text("[1]")
    (checkout / "table.csv").unlink()
    (checkout / "helper.py").write_text("SCALE = 2\n")
    assert main(["report", "verify", "out/r", "--no-run"]) == 1
    said = capsys.readouterr().out
    assert said.startswith("not as it was: out/r\n")
    assert "input rows.json: 9 bytes against 3" in said
    assert "input table.csv: is missing" in said
    assert "source helper.py: other content" in said


def test_two_reports_are_compared_on_the_command_line(checkout, capsys):
    assert main(["report", "diff", "out/r", "out/r"]) == 0
    assert "no difference" in capsys.readouterr().out
    assert main(["report", "diff", "out/r", "out/r", "--json", "--tolerance", "total=1"]) == 0
    assert json.loads(capsys.readouterr().out)["differences"] == []
    assert main(["report", "diff", "out/r", "out/none"]) == 1
    assert "there is no report in out/none" in capsys.readouterr().err
