"""Verifying a report beside making it: what the reading back, the hashing and the comparing add to the run."""

from __future__ import annotations

import itertools
import tempfile
from functools import partial
from pathlib import Path

import nbformat
from nbformat.v4 import new_code_cell, new_notebook
from support.contest import Contender, Targets, show, take_turns

import lepton_nb as lnb

MOST = 1.1
ROWS = 200_000
CELLS = (
    "import json, time\nimport numpy as np\nimport lepton_nb as lnb\nrng = np.random.default_rng(lnb.record_seed(7))",
    "table = np.loadtxt('rows.csv', delimiter=',')\nlnb.record('mean', float(table.mean()))",
    "from IPython.display import display\n"
    "y = rng.normal(size=20_000).round(4).tolist()\n"
    "display({'application/vnd.plotly.v1+json': {'data': [{'y': y}], 'layout': {}}}, raw=True)",
    "matrix = rng.normal(size=(600, 600))\nuntil = time.monotonic() + 2\n"
    "while time.monotonic() < until:\n    matrix @ matrix\nlnb.record('trace', float(np.trace(matrix)))",
)


def verify(targets: Targets, *, rounds: int) -> None:
    """A notebook that reads a file of a few MB, draws 20,000 points and works for 2 s."""
    with tempfile.TemporaryDirectory(prefix="lepton-nb-verify-") as name:
        folder = Path(name)
        (folder / "rows.csv").write_text("".join(f"{row},{row % 7}\n" for row in range(ROWS)))
        nbformat.write(new_notebook(cells=[new_code_cell(cell) for cell in CELLS]), folder / "n.ipynb")
        made = lnb.report(folder / "n.ipynb", output=folder / "first")
        verdict = lnb.report_verify(made.folder, notebook=folder / "n.ipynb")
        if not verdict:
            raise SystemExit(f"the report does not verify: {verdict}")
        number = itertools.count()
        contenders = {
            "run": Contender(lambda: lnb.report(folder / "n.ipynb", output=folder / f"again-{next(number)}")),
            "ours": Contender(partial(lnb.report_verify, made.folder, notebook=folder / "n.ipynb")),
        }
        times = take_turns(contenders, rounds)
        show(times, ROWS)
    targets.at_most("verifying a report, as a multiple of making it", times.ratio("ours", "run"), MOST)
