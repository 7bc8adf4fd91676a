"""What to compute of each window: the chosen aggregates, each a button that takes it away, and a form for one more."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import ipywidgets
import polars as pl

from lepton_nb.errors import WindowError
from lepton_nb.widgets.form import Field, Form
from lepton_nb.widgets.style import side_by_side
from lepton_nb.windowing.choices import FUNCTIONS, AggregateRow

if TYPE_CHECKING:
    from lepton_nb.widgets.panel import Panel

NO_COLUMN = ""


class AggregateForm:
    """`rows` are the chosen ones, `form` asks for one more."""

    def __init__(self, panel: Panel) -> None:
        self._panel = panel
        self._known = False
        self._disabled = False
        self.rows: tuple[AggregateRow, ...] = (AggregateRow("count", "", "rows"),)
        self.form = Form(self._fields(), on_change=self._changed)
        self.add_button = panel.button("Add", self.add, icon="plus", help="Compute this one too")
        self.add_button.layout.align_self = "flex-start"
        self.chosen = side_by_side([], overflow="visible")
        self.view = ipywidgets.VBox([self.chosen, self.form.view, self.add_button])
        self.offer(None)
        self.show(self.rows)

    def show(self, rows: Sequence[AggregateRow]) -> None:
        """Choose these."""
        self.rows = tuple(rows)
        self.chosen.children = [self._button(row) for row in self.rows] or [
            ipywidgets.HTML("<em>none yet; add one</em>")
        ]

    def add(self) -> None:
        """Choose what the form says too. Raises WindowError where that cannot be."""
        values = self.form.values(self._shown())
        parameter = FUNCTIONS[values["function"]].parameter
        value = None if parameter is None else values[parameter.name]
        column = values["column" if self._known else "column_text"]
        row = AggregateRow(values["function"], column or "", values["name"] or "", value)
        row.aggregate()
        if row.result_name in [one.result_name for one in self.rows]:
            raise WindowError(f"{row.result_name!r} is there already; give this one another name")
        self.form.set(name=None)
        self.show((*self.rows, row))

    def offer(self, schema: pl.Schema | None) -> None:
        """The columns to choose from; None where they are not known, and are to be written."""
        self._known = schema is not None
        names = [] if schema is None else schema.names()
        self.form.choose("column", [("", NO_COLUMN), *((name, name) for name in names)])
        self._show()

    @property
    def disabled(self) -> bool:
        """True where nothing can be changed."""
        return self._disabled

    @disabled.setter
    def disabled(self, disabled: bool) -> None:
        self._disabled = disabled
        self.form.disabled = self.add_button.disabled = disabled
        for button in self.chosen.children:
            if isinstance(button, ipywidgets.Button):
                button.disabled = disabled

    def _button(self, row: AggregateRow) -> ipywidgets.Button:
        value = "" if row.parameter is None else f", {row.parameter:g}"
        of = f"{row.function}({row.column}{value})"
        made = self._panel.button(
            f"{row.result_name} = {of}", lambda: self.show([one for one in self.rows if one is not row]), icon="times",
            help=f"Leave out {row.result_name}",
        )  # fmt: skip
        made.disabled = self._disabled
        return made

    def _fields(self) -> list[Field]:
        parameters = [known.parameter for known in FUNCTIONS.values() if known.parameter is not None]
        return [
            Field(name="function", label="Compute", choices=[(known.label, name) for name, known in FUNCTIONS.items()],
                  default="mean", help="what to compute of the rows of a window"),
            Field(name="column", label="Of column", choices=[("", NO_COLUMN)], default=NO_COLUMN, help="whose values"),
            Field(name="column_text", label="Of column", optional=True, example="such as value", help="whose values"),
            *(
                Field(name=one.name, label=one.label, kind=int if one.kind == "rows" else float, default=one.default,
                      optional=True, help=one.help)
                for one in parameters
            ),
            Field(name="name", label="Call it", optional=True, example="made up",
                  help="name of the result's column"),
        ]  # fmt: skip

    def _changed(self, name: str) -> None:
        if name == "function":
            self._show()

    def _shown(self) -> list[str]:
        parameter = FUNCTIONS[self.form.value("function")].parameter
        column = "column" if self._known else "column_text"
        return ["function", column, *([parameter.name] if parameter else []), "name"]

    def _show(self) -> None:
        self.form.show_only(self._shown())
