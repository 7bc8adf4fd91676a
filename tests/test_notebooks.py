"""Every notebook runs from start to end, says what can be set, and is committed as its author wrote it."""

import inspect
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from browsing import visiting

import lepton_nb as lnb
from lepton_nb.reports.parameters import read

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))

# What makes a run small, for the notebooks that have such a parameter.
SMALL = {"epochs": 1}

# What its report is made of; and words that have no place where nothing can be pressed.
DASHBOARD = [
    "Recorded",
    "What came of it",
    "Delays",
    "Foresight",
    "Machines",
    "The network, put to the test",
    "How to read it",
]
CONTROLS = ("button", "click", "drag ", "tab ", "press ", "address")


def identify(path: Path) -> str:
    return path.stem


def test_there_are_notebooks() -> None:
    assert "01_quickstart" in {path.stem for path in NOTEBOOKS}


@pytest.mark.parametrize("path", NOTEBOOKS, ids=identify)
def test_a_notebook_has_typed_parameters(path: Path) -> None:
    parameters = read(nbformat.read(path, as_version=4))
    assert parameters, "add a cell tagged `parameters`"
    # `name: type = value`: a reader sees the type, and the command line can check it.
    assert [parameter.name for parameter in parameters if not parameter.annotation] == []


@pytest.mark.parametrize("path", NOTEBOOKS, ids=identify)
def test_a_notebook_is_committed_without_outputs(path: Path) -> None:
    strip = Path(sys.executable).parent / "nbstripout"
    done = subprocess.run([strip, "--keep-id", "--verify", path], capture_output=True, text=True)
    assert done.returncode == 0, (
        f"run: .venv/bin/nbstripout --keep-id {path.relative_to(ROOT)}\n{done.stdout}{done.stderr}"
    )
    for cell in nbformat.read(path, as_version=4).cells:
        assert cell.get("outputs", []) == []
        assert cell.get("execution_count") is None


@pytest.mark.browser
@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=identify)
def test_a_notebook_runs_and_becomes_a_report_that_draws_every_figure_offline(path: Path, tmp_path: Path) -> None:
    declared = {parameter.name for parameter in read(nbformat.read(path, as_version=4)) or ()}
    # A notebook may not have a parameter of the name of an option of `report`: its reports could not set it.
    assert not declared & set(inspect.signature(lnb.report).parameters)
    small = {name: value for name, value in SMALL.items() if name in declared}
    report = lnb.report(path, output=tmp_path / "report", timeout_s=900, **small)
    assert report.html.stat().st_size > 0
    assert report.metrics, "a notebook records what it found: lnb.record(name, value)"
    executed = nbformat.read(report.notebook, as_version=4)
    ran = [cell.execution_count for cell in executed.cells if cell.cell_type == "code" and cell.source.strip()]
    assert None not in ran
    outputs = [output for cell in executed.cells for output in cell.get("outputs", [])]
    figures = sum("application/vnd.plotly.v1+json" in output.get("data", {}) for output in outputs)
    with visiting(offline=True) as visit:
        visit.page.goto(report.html.as_uri())
        visit.page.wait_for_function(
            "n => [...document.querySelectorAll('.js-plotly-plot')].filter(p => p.querySelector('.trace')).length == n",
            arg=figures,
        )
        assert visit.page.locator(".js-plotly-plot").count() == figures
        if path.stem == "04_dashboard":
            assert visit.page.locator("main h2").all_inner_texts() == DASHBOARD
            said = visit.page.get_by_role("main").inner_text().lower()
            assert [word for word in CONTROLS if word in said] == []
            assert re.search(r"drawn: all \d+ windows\.", said)
    assert visit.outside() == []
    assert visit.failed == []
    assert visit.errors == []
