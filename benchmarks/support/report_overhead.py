"""What a run by the engine "lepton" costs over bare nbclient, and plain Papermill beside it.

All run the same notebook in a kernel of the same kind and leave the executed notebook on disk.
"""

from __future__ import annotations

import logging
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import nbformat
import papermill
from nbclient import NotebookClient
from nbformat.v4 import new_code_cell, new_notebook
from support.contest import Contender, Targets, Times, take_turns

from lepton_nb.reports import papermill_engine as engine

TRIVIAL, LARGE, LARGE_BYTES = 300, 100, 100_000
# Of plain Papermill, which is slow.
FEW_ROUNDS = 2


def trivial(targets: Targets, *, rounds: int) -> None:
    """300 cells such as `x = 1`."""
    cells = [f"x = {number}" for number in range(TRIVIAL)]
    _compare(f"{TRIVIAL} trivial cells", cells, targets, rounds, 1.1)


def outputs(targets: Targets, *, rounds: int) -> None:
    """100 cells that print 100 kB each."""
    cells = [f"print(('{number:02}' + 'x' * 97 + '\\n') * {LARGE_BYTES // 100})" for number in range(LARGE)]
    _compare(f"{LARGE} cells with {LARGE_BYTES // 1000} kB each", cells, targets, rounds, 1.15)


def _compare(what: str, cells: list[str], targets: Targets, rounds: int, limit: float) -> None:
    with tempfile.TemporaryDirectory(prefix="lepton-nb-reports-") as folder:
        _compare_in(Path(folder), what, cells, targets, rounds, limit)


def _compare_in(work: Path, what: str, cells: list[str], targets: Targets, rounds: int, limit: float) -> None:
    source = work / "source.ipynb"
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    made = new_notebook(cells=[new_code_cell(cell) for cell in cells], metadata={"kernelspec": kernel})
    nbformat.write(made, source)
    logging.getLogger("papermill").addHandler(logging.NullHandler())
    engine.register()
    runs = {"lepton": partial(_papermill, source, work, "lepton"), "nbclient": partial(_nbclient, source, work)}
    runs["papermill"] = partial(_papermill, source, work, None)
    found = {name: _outputs(run()) for name, run in runs.items()}
    assert found["lepton"] == found["nbclient"] == found["papermill"], "the outputs differ"
    contenders = {
        name: Contender(run, rounds=FEW_ROUNDS if name == "papermill" else None) for name, run in runs.items()
    }
    times = take_turns(contenders, rounds)
    print(f"\n{what}, from the notebook's file to the executed one's")
    _show(times)
    targets.at_most(f"{what}: lepton / nbclient", times.ratio("lepton", "nbclient"), limit)


def _show(times: Times) -> None:
    print(f"  {'':12}{'median s':>9} {'min':>8} {'max':>8} {'/ nbclient':>11}")
    for name, taken in times.taken.items():
        ratio = times.ratio(name, "nbclient")
        print(f"  {name:12}{times.median(name):9.3f} {min(taken):8.3f} {max(taken):8.3f} {ratio:11.2f}")


def _papermill(source: Path, work: Path, name: str | None) -> Path:
    output = work / f"{name}.ipynb"
    papermill.execute_notebook(source, output, engine_name=name, progress_bar=False)
    return output


def _nbclient(source: Path, work: Path) -> Path:
    output = work / "nbclient.ipynb"
    notebook: Any = nbformat.read(source, 4)
    # As much time for outputs as the others have.
    NotebookClient(notebook, iopub_timeout=engine.OUTPUTS_S, resources={"metadata": {"path": str(work)}}).execute()
    nbformat.write(notebook, output)
    return output


def _outputs(path: Path) -> list[str]:
    """What each cell printed; a kernel may send it in pieces."""
    notebook = nbformat.read(path, 4)
    return ["".join(output.text for output in cell.outputs) for cell in notebook.cells]
