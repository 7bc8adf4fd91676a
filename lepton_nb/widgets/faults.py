"""Errors as a panel shows them: what was tried, what is wrong and the fix, and a traceback to copy."""

from __future__ import annotations

import html
import traceback

import anywidget
import ipywidgets
import traitlets

from lepton_nb.errors import LeptonError

MOST = 3


class CopyButton(anywidget.AnyWidget):
    """A button that copies `text`."""

    _esm = """
    function render({ model, el }) {
      const button = document.createElement("button");
      button.className = "jupyter-button lepton-copy";
      button.textContent = model.get("label");
      const said = document.createElement("span");
      said.setAttribute("role", "status");
      button.addEventListener("click", async () => {
        try {
          await navigator.clipboard.writeText(model.get("text"));
        } catch {
          const area = document.createElement("textarea");
          area.value = model.get("text");
          el.append(area);
          area.select();
          document.execCommand("copy");
          area.remove();
        }
        said.textContent = " copied";
      });
      el.append(button, said);
    }
    export default { render };
    """
    label = traitlets.Unicode("Copy").tag(sync=True)
    text = traitlets.Unicode().tag(sync=True)


class Faults:
    """The last few errors, each with a traceback to open and copy, and a button that takes it away."""

    def __init__(self) -> None:
        self.view = ipywidgets.VBox()
        # Of each error that is shown: what was tried, its words and its box.
        self._shown: list[tuple[str, str, ipywidgets.VBox]] = []

    def add(self, what: str, error: BaseException, message: str = "") -> None:
        """Show an error once, however often it comes; `message` instead of its own where that is given."""
        message = message or str(error) or type(error).__name__
        said = message if isinstance(error, LeptonError) else f"{type(error).__name__}: {message}"
        text = f"Could not {what}: {said}"
        if text in self.texts:
            return
        trace = "".join(traceback.format_exception(error))
        words = ipywidgets.HTML(
            f'<div role="alert" class="lepton-error"><strong>Could not {html.escape(what)}.</strong> '
            f"{html.escape(said)}<details><summary>Traceback</summary>"
            f'<pre tabindex="0" aria-label="Traceback">{html.escape(trace)}</pre></details></div>'
        )
        dismiss = ipywidgets.Button(description="Dismiss", tooltip="Take this message away")
        dismiss.layout.width = "auto"
        box = ipywidgets.VBox([words, ipywidgets.HBox([CopyButton(label="Copy traceback", text=trace), dismiss])])
        dismiss.on_click(lambda _: self._keep([one for one in self._shown if one[2] is not box]))
        self._keep([*self._shown, (what, text, box)][-MOST:])

    def clear(self) -> None:
        """Take all away."""
        self._keep([])

    def drop(self, what: str) -> None:
        """Take away the errors of what is tried again."""
        self._keep([one for one in self._shown if one[0] != what])

    @property
    def texts(self) -> tuple[str, ...]:
        """What is shown, oldest first."""
        return tuple(text for _, text, _ in self._shown)

    def _keep(self, shown: list[tuple[str, str, ipywidgets.VBox]]) -> None:
        if len(shown) != len(self._shown) or shown != self._shown:
            self._shown = shown
            self.view.children = tuple(box for _, _, box in shown)
