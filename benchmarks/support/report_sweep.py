"""Part `sweep` of the benchmark of reports: many short runs, some at a time, against the time that their cells need."""

from __future__ import annotations

import json
import tempfile
import time
from pathlib import Path

import nbformat
from nbformat.v4 import new_code_cell, new_notebook
from support.contest import Targets

import lepton_nb as lnb

CELL_S, AT_ONCE, MOST = 2.0, 2, 1.15
RUNS = 50


def sweep(targets: Targets, *, rounds: int) -> None:
    """50 runs of a notebook that sleeps 2 s, by 2 at once; the ideal is half of the seconds that they sleep.

    The start of the cluster, the kernels and the writing of pages count. A second sweep finds all done. It takes a
    minute and is done once, whatever `rounds` says.
    """
    del rounds
    with tempfile.TemporaryDirectory(prefix="lepton-nb-sweep-") as work:
        _sweep(Path(work), targets, RUNS)


def _sweep(work: Path, targets: Targets, runs: int) -> None:
    source = work / "sleeps.ipynb"
    parameters = new_code_cell("number: int = 0", metadata={"tags": ["parameters"]})
    cell = new_code_cell(f"import time\ntime.sleep({CELL_S})")
    nbformat.write(new_notebook(cells=[parameters, cell]), source)
    folder = work / "swept"
    began = time.perf_counter()
    done = lnb.report_sweep(source, {"number": list(range(runs))}, parallel=AT_ONCE, output=folder)
    took_s = time.perf_counter() - began
    began = time.perf_counter()
    again = lnb.report_sweep(source, {"number": list(range(runs))}, parallel=AT_ONCE, output=folder)
    again_s = time.perf_counter() - began
    ideal_s = runs * CELL_S / AT_ONCE
    finished = sum(run.status == "finished" for run in done.runs)
    print(f"sweep: {finished} of {runs} runs in {took_s:.1f} s, ideal {ideal_s:.1f} s, ratio {took_s / ideal_s:.3f}")
    print(f"sweep: again, with {again.made} runs missing: {again_s:.2f} s", flush=True)
    cells = json.loads((done.runs[0].folder / "manifest.json").read_text())["cells"]
    print(f"sweep: the cells of one run took {sum(cell['seconds'] or 0 for cell in cells):.2f} s")
    targets.at_most(f"{runs} runs of {CELL_S:g} s by {AT_ONCE} at once, over the ideal:", took_s / ideal_s, MOST)
