"""Which panel shows what: a cluster, a run or a stream that is displayed in a cell, or given to a dashboard."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from lepton_nb.errors import LeptonError

if TYPE_CHECKING:
    from lepton_nb.widgets.panel import Panel

# By module and name, so that nothing is loaded for what is not there: what is shown, and its panel.
PANELS = {
    ("lepton_nb.cluster.session", "Cluster"): ("lepton_nb.widgets.cluster_panel", "ClusterPanel"),
    ("lepton_nb.training.run", "TrainingRun"): ("lepton_nb.widgets.training_panel", "TrainingPanel"),
    ("lepton_nb.windowing.stream", "StreamRun"): ("lepton_nb.widgets.window_panel", "WindowPanel"),
}


def panel_of(thing: Any) -> Panel:
    """The panel of a cluster, a run or a stream. Raises LeptonError for anything else."""
    for kind in type(thing).__mro__:
        found = PANELS.get((kind.__module__, kind.__name__))
        if found is not None:
            panel: Panel = getattr(import_module(found[0]), found[1])(thing)
            return panel
    raise LeptonError(
        f"a {type(thing).__name__} cannot be shown on a page; give a panel, a figure, a widget, a cluster, a run or a "
        "stream"
    )


def register(shell: Any) -> None:
    """Show clusters, runs and streams by their panels where `shell`, an IPython shell, displays them."""
    formatter = shell.display_formatter.ipython_display_formatter
    for module, name in PANELS:
        formatter.for_type_by_name(module, name, _display)


def _display(thing: Any) -> None:
    from IPython.display import display

    from lepton_nb.widgets.display import is_live

    # Of a cluster, nothing ends by itself that a report could wait for; and a closed one has nothing to show.
    if type(thing).__name__ == "Cluster" and (not is_live() or thing.closed):
        display({"text/plain": repr(thing)}, raw=True)
    else:
        panel_of(thing)._ipython_display_()
