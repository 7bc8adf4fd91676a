"""A part of a panel that opens and closes by the mouse and the keyboard: an accordion's headers take no focus."""

from __future__ import annotations

import anywidget
import ipywidgets
import traitlets


class FoldButton(anywidget.AnyWidget):
    """A button that says whether what it belongs to is open."""

    _esm = """
    function render({ model, el }) {
      const button = document.createElement("button");
      button.type = "button";
      button.className = "lepton-fold";
      const show = () => {
        button.textContent = `${model.get("unfolded") ? "▾" : "▸"} ${model.get("title")}`;
        button.setAttribute("aria-expanded", String(model.get("unfolded")));
        button.setAttribute("aria-label", model.get("title"));
      };
      button.addEventListener("click", () => {
        model.set("unfolded", !model.get("unfolded"));
        model.save_changes();
      });
      model.on("change", show);
      show();
      el.append(button);
      return () => model.off("change", show);
    }
    export default { render };
    """
    title = traitlets.Unicode().tag(sync=True)
    unfolded = traitlets.Bool(False).tag(sync=True)


class Fold:
    """`view` is a title, and below it `content` while it is `open`."""

    def __init__(self, title: str, content: ipywidgets.Widget, *, open: bool = False) -> None:
        self._button = FoldButton(title=title)
        self._content = ipywidgets.VBox([content], layout=ipywidgets.Layout(display="none"))
        self._content.add_class("lepton-folded")
        self._button.observe(lambda _: self._show(), "unfolded")
        self.view = ipywidgets.VBox([self._button, self._content])
        self.open = open

    @property
    def open(self) -> bool:
        """Whether the content is shown."""
        return bool(self._button.unfolded)

    @open.setter
    def open(self, open: bool) -> None:
        self._button.unfolded = open

    def _show(self) -> None:
        self._content.layout.display = "" if self._button.unfolded else "none"
