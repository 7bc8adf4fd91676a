"""What a stream has found, into a file that is named in a form."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import ipywidgets

from lepton_nb.data.saving import save_table
from lepton_nb.errors import WindowError
from lepton_nb.widgets.form import Field, Form
from lepton_nb.windowing.progress import counted

if TYPE_CHECKING:
    from lepton_nb.widgets.panel import Panel
    from lepton_nb.windowing.stream import StreamRun

WHAT = (("all results so far", "table"), ("late rows", "late"), ("rows without time or key", "aside"))


class ExportView:
    """A path, what to write there, and a button. stream: gives the stream that is shown."""

    def __init__(self, panel: Panel, stream: Callable[[], StreamRun | None]) -> None:
        self._panel, self._stream = panel, stream
        self.form = Form(
            [
                Field(name="what", label="Save", choices=WHAT, default="table", help="what the file holds"),
                Field(name="path", label="Into", default="windows.parquet", help="a path: .parquet or .csv"),
                Field(name="replace", label="Replace a file", kind=bool, default=False, help="also write over another"),
            ]
        )
        self.save_button = panel.button("Save", self.save, icon="download", help="Write the file")
        self.save_button.layout.align_self = "flex-start"
        self.view = ipywidgets.VBox([self.form.view, self.save_button])

    def save(self) -> None:
        """Write the file, beside the kernel."""
        values = self.form.values()
        stream = self._stream()
        if stream is None:
            raise WindowError("there is nothing to save yet; start a stream first")

        def write() -> tuple[Path, int]:
            table = getattr(stream, values["what"])()
            return save_table(table, values["path"], replace=values["replace"]), table.height

        self._panel.do("save the results", write, then=self._saved)

    def _saved(self, written: tuple[Path, int]) -> None:
        path, rows = written
        self._panel.say(f"{counted(rows, 'row')} saved to {path}.")
