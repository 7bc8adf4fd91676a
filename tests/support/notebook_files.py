"""Small notebooks, written for a test."""

from __future__ import annotations

from pathlib import Path

import nbformat
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

FIGURE = """
import plotly.graph_objects as go
go.Figure(go.Scatter(y=[1, 3, 2]), layout={{"title": {title!r}}})
"""


def write_notebook(path: Path, *cells: str, parameters: str | None = None, kernel: str | None = None) -> Path:
    """A notebook of `cells`; those that start with "#" are Markdown. `parameters` is the tagged cell, put first.

    kernel: the kernel that it names; JupyterLab asks for one where there is none.
    """
    made = [new_markdown_cell(cell) if cell.startswith("#") else new_code_cell(cell) for cell in cells]
    if parameters is not None:
        made.insert(0, new_code_cell(parameters, metadata={"tags": ["parameters"]}))
    metadata = {} if kernel is None else {"kernelspec": {"name": kernel, "display_name": kernel}}
    nbformat.write(new_notebook(cells=made, metadata=metadata), path)
    return path


def figure(title: str = "A figure") -> str:
    """The source of a cell that ends in a Plotly figure."""
    return FIGURE.format(title=title).strip()
