"""Reports on the disk that no kernel has made, for tests of what reads them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import nbformat
from nbformat.v4 import new_code_cell, new_notebook, new_output

from lepton_nb.reports import manifest
from lepton_nb.reports.execute import Outcome
from lepton_nb.reports.parameters import read_source
from lepton_nb.reports.signature import Signer

STARTED = datetime(2026, 3, 1, 12, tzinfo=UTC)
PARAMETERS = "epochs: int = 3  # passes over the rows\nday: str = 'monday'"


def keep_report(
    folder: Path,
    *,
    cells: tuple[tuple[str, list[Any]], ...] = (),
    metrics: dict[str, Any] | None = None,
    values: dict[str, Any] | None = None,
    signer: Signer | None = None,
    changes: dict[str, Any] | None = None,
) -> Path:
    """A report in `folder`: of code cells with their outputs, with what `changes` puts into the manifest."""
    folder.mkdir(parents=True)
    values = values or {}
    source = folder.parent / "n.ipynb"
    made = [new_code_cell(PARAMETERS, metadata={"tags": ["parameters"]}, id="first")]
    made += [new_code_cell(text, outputs=outputs, id=f"c{at}") for at, (text, outputs) in enumerate(cells)]
    notebook = new_notebook(cells=made, metadata={"papermill": {"parameters": values}})
    nbformat.write(notebook, source)
    nbformat.write(notebook, folder / source.name)
    (folder / "report.html").write_text("<p>a page</p>")
    facts = manifest.build(
        source=source,
        declared=read_source(PARAMETERS),
        values=values,
        outcome=Outcome(notebook=notebook, status="finished", failure=None),
        started=STARTED,
        ended=STARTED + timedelta(seconds=5),
        metrics=metrics or {},
    )
    written = manifest.files(folder / "report.html", folder / source.name)
    manifest.finish({**facts, **(changes or {})}, written, source.name, folder / "manifest.json", signer)
    return folder


def figure_output(*traces: dict[str, Any]) -> Any:
    """An output that is a Plotly figure of these traces."""
    return new_output("display_data", {"application/vnd.plotly.v1+json": {"data": list(traces), "layout": {}}})


def printed(text: str, name: str = "stdout") -> Any:
    """An output that a cell has printed."""
    return new_output("stream", name=name, text=text)
