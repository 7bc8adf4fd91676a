"""The Python that does what a window panel does, to read and to copy."""

from __future__ import annotations

import html

import ipywidgets

from lepton_nb.widgets.faults import CopyButton
from lepton_nb.widgets.window_form import Asked
from lepton_nb.windowing.offers import program
from lepton_nb.windowing.spec import Spec
from lepton_nb.windowing.written import query_code


class CodeView:
    """`text` is the code that is shown."""

    def __init__(self) -> None:
        self._shown = ipywidgets.HTML()
        self._copy = CopyButton(label="Copy the code")
        self.view = ipywidgets.VBox([self._shown, self._copy])
        self.text = ""
        self._set("")

    def show(self, asked: Asked | None, spec: Spec | tuple[Spec, ...], on_cluster: bool) -> None:
        """The code of a query, and of its source and stream where a form has asked for them; both queries of a join."""
        if isinstance(spec, tuple):
            names = ("left", "right")
            self._set("\n".join(f"{name} = {query_code(one)}" for name, one in zip(names, spec, strict=True)))
        elif asked is None:
            self._set(f"query = {query_code(spec)}")
        else:
            options = {} if asked.batch_rows == 1_000_000 else {"batch_rows": f"{asked.batch_rows:_}"}
            options |= {"cluster": "cluster"} if on_cluster else {}
            self._set(program(asked.source, asked.query.time, query_code(spec), **options))

    def _set(self, text: str) -> None:
        self.text = self._copy.text = text
        said = html.escape(text) or "Start a stream, or press “Write the code”."
        self._shown.value = f'<pre class="lepton-log" tabindex="0" aria-label="Python code">{said}</pre>'
