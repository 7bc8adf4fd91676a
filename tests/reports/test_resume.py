import json

import nbformat
import pytest
from notebook_files import write_notebook

import lepton_nb as lnb
from lepton_nb.cli import main

ONCE = "import lepton_nb as lnb\nopen('once', 'a').write('x')\nlnb.record('rows', 3)\nprint('made the table')"


@pytest.fixture
def failed(tmp_path, monkeypatch):
    """A notebook, and the folder of a report in which its last cell failed."""
    monkeypatch.chdir(tmp_path)
    source = write_notebook(
        tmp_path / "a.ipynb",
        ONCE,
        "open('each', 'a').write('x')\nbase = 20",
        "assert open('ready').read()\nprint(base + epochs)",
        parameters="epochs: int = 1",
    )
    node = nbformat.read(source, 4)
    node.cells[1].metadata["tags"] = ["once"]
    nbformat.write(node, source)
    with pytest.raises(lnb.ReportError, match="FileNotFoundError"):
        lnb.report(source, output="failed", epochs=4)
    (tmp_path / "ready").write_text("yes")
    return source


def change(source, index, text):
    node = nbformat.read(source, 4)
    node.cells[index].source = text
    nbformat.write(node, source)


def test_variables_are_made_anew_and_what_is_done_once_is_taken_over(failed, tmp_path):
    change(failed, 3, "print('corrected', base + epochs)")
    assert main(["report", "run", str(failed), "--resume", "failed", "-o", "out", "-p", "epochs", "4"]) == 0
    page = (tmp_path / "out" / "report.html").read_text()
    assert "made the table" in page
    assert "corrected 24" in page
    assert (tmp_path / "once").read_text() == "x"
    assert (tmp_path / "each").read_text() == "xx"
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert manifest["metrics"] == {"rows": 3}
    assert manifest["parameters"]["epochs"]["value"] == 4
    assert manifest["resumed"] == {"kept_cells": [1]}
    assert {cell["status"] for cell in manifest["cells"]} == {"completed"}
    with pytest.raises(lnb.ReportError, match="has finished: there is nothing to resume"):
        lnb.report(failed, resume="out")


def test_what_has_changed_is_named_and_nothing_runs(failed, tmp_path):
    manifest = tmp_path / "failed" / "manifest.json"
    facts = json.loads(manifest.read_text())
    facts["versions"]["polars"] = "0.1"
    facts["inputs"] = [{"path": "ready", "sha256": "0"}, {"path": "gone", "sha256": "0"}]
    manifest.write_text(json.dumps(facts))
    change(failed, 1, "print('otherwise')")
    with pytest.raises(lnb.ReportError, match="make a new report instead") as raised:
        lnb.report(failed, resume="failed", output="out", epochs=5)
    assert raised.value.changes == (
        "cell 2 has changed",
        "parameter 'epochs' was 4",
        "polars was 0.1",
        "the input ready has changed",
        "the input gone has gone",
    )
    assert not (tmp_path / "out").exists()
    assert (tmp_path / "each").read_text() == "x"


def test_a_folder_without_a_report(failed, tmp_path):
    with pytest.raises(lnb.ReportError, match="holds no report that can be resumed"):
        lnb.report(failed, resume=tmp_path)
