"""What widgets held when a notebook ended, as plain outputs: what was printed into them, and their text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from nbformat.v4 import new_output

from lepton_nb.reports.outputs import WIDGET

_STATE = "application/vnd.jupyter.widget-state+json"
_REFERENCE = "IPY_MODEL_"


def unfold(notebook: Any) -> None:
    """Put what widgets hold behind the output that shows them, in place, and drop their state (nbformat 4 node).

    So the result of a function under `interact` can be read where no program answers the sliders.
    """
    states = notebook.metadata.pop("widgets", {}).get(_STATE, {}).get("state", {})
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = [part for output in cell.outputs for part in (output, *_held(output, states))]


def _held(output: Any, states: Mapping[str, Any]) -> list[Any]:
    view = output.get("data", {}).get(WIDGET) or {}
    return list(_contents(str(view.get("model_id", "")), states, set()))


def _contents(model: str, states: Mapping[str, Any], seen: set[str]) -> Iterator[Any]:
    if model in seen or model not in states:
        return
    seen.add(model)
    state = states[model].get("state", {})
    match states[model].get("model_name"):
        case "OutputModel":
            for output in state.get("outputs", ()):
                yield output
                yield from _held(output, states)
        case "HTMLModel" | "HTMLMathModel" if state.get("value"):
            yield new_output("display_data", {"text/html": state["value"]})
        case "LabelModel" if state.get("value"):
            yield new_output("display_data", {"text/plain": state["value"]})
    for child in state.get("children") or ():
        yield from _contents(str(child).removeprefix(_REFERENCE), states, seen)
