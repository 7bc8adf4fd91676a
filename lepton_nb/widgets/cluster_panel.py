"""`ClusterPanel`: start, watch, scale and stop a cluster with the mouse."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import ipywidgets

from lepton_nb.cluster.choose import Backend
from lepton_nb.cluster.history import ClusterHistory
from lepton_nb.cluster.session import Cluster
from lepton_nb.errors import ClusterError, LeptonError
from lepton_nb.figures import cluster as figures
from lepton_nb.widgets import cluster_words as words
from lepton_nb.widgets.chart import LiveChart
from lepton_nb.widgets.cluster_form import count, start_fields
from lepton_nb.widgets.form import Field, Form
from lepton_nb.widgets.labels import in_labels
from lepton_nb.widgets.panel import Panel
from lepton_nb.widgets.style import fitting_columns, side_by_side

if TYPE_CHECKING:
    import plotly.graph_objects as go

REFRESH_S = 1.0

Drawing = Callable[[ClusterHistory], "go.Figure"]

_ALWAYS: dict[str, Drawing] = {
    "CPU of each worker": figures.cpu,
    "Memory of each worker": figures.memory_over_time,
    "Tasks of each worker": figures.tasks,
    "Network traffic of each worker": figures.network,
}
_WITH_GPUS: dict[str, Drawing] = {"GPU of each worker": figures.gpu}


def _drawn(backend: Backend) -> dict[str, Drawing]:
    """By its label, each chart of a cluster. Why there is no GPU is told in words."""
    return _ALWAYS | _WITH_GPUS if backend == "cuda" else _ALWAYS


class ClusterPanel(Panel):
    """A cluster's controls and instruments.

    cluster: one that code has made; without it, the panel shows a form that starts one. `cluster` is the one that runs
    now, for code to use. A cluster that the panel started ends with the panel; one that it was given goes on.
    """

    def __init__(self, cluster: Cluster | None = None) -> None:
        super().__init__("Cluster")
        self._cluster: Cluster | None = None
        self._owned = False
        self._changing = threading.RLock()
        self._history = ClusterHistory()
        self._adapting: tuple[int, int] | None = None
        self._over = "No cluster is running."
        self._make_setup()
        self._make_controls()
        self._make_instruments()
        self.every(REFRESH_S, self._look)
        if cluster is None:
            self._show_setup(self._over)
        else:
            cluster.client  # noqa: B018 - raises for one that is closed
            self._adopt(cluster, owned=False)

    @property
    def cluster(self) -> Cluster | None:
        """The cluster that runs now: the one that code gave, or the one that the panel started."""
        cluster = self._cluster
        return None if cluster is None or cluster.closed else cluster

    def _make_setup(self) -> None:
        self._form = Form(start_fields())
        self._start_button = self.button("Start", self._start, icon="play", help="Start a cluster on this machine")
        self._start_button.button_style = "primary"
        self._setup = ipywidgets.VBox([self._form.view, side_by_side([self._start_button])])

    def _make_controls(self) -> None:
        self._facts = ipywidgets.HTML()
        self._size = Form([count("workers", "Workers", 2, "Have just this many workers")], columns=1)
        self._bounds = Form(
            [
                count("minimum", "Adapt from", 1, "The fewest workers, without load"),
                count("maximum", "Adapt to", 2, "The most workers, under load"),
            ]
        )
        self._scale_button = self.button("Scale", self._scale, help="Have just this many workers")
        self._adapt_button = self.button("Adapt", self._adapt, help="Let the number of workers follow the load")
        self._stop_button = self.button("Stop", self._stop, icon="stop", help="End all workers and the scheduler")
        self._stop_button.button_style = "danger"
        self._size.view.layout.flex, self._bounds.view.layout.flex = "1 1 15rem", "2 1 20rem"
        forms = side_by_side([self._size.view, self._bounds.view], grid_gap="0 1.5rem", overflow="visible")
        buttons = side_by_side([self._scale_button, self._adapt_button, self._stop_button])
        self._controls = ipywidgets.VBox([forms, buttons])

    def _fields(self) -> Mapping[str, Field]:
        return self._form.by_name | self._bounds.by_name

    def _make_instruments(self) -> None:
        self._table = ipywidgets.HTML()
        self._charts = {label: LiveChart(draw(self._history), label=label) for label, draw in _drawn("cuda").items()}
        layout = ipywidgets.Layout(grid_template_columns=fitting_columns("24rem"), width="100%")
        self._grid = ipywidgets.GridBox([], layout=layout)
        self._worker = ipywidgets.Dropdown(description="Worker", tooltip="Whose log to show")
        self._log_button = self.button("Show log", self._show_log, help="Show the last lines of this worker's log")
        self._hide_button = self.button("Hide log", self._hide_log)
        self._log = ipywidgets.HTML()
        self._instruments = ipywidgets.VBox(
            [self._table, self._grid, side_by_side([self._worker, self._log_button, self._hide_button]), self._log]
        )

    def _start(self) -> None:
        self.clear_faults()
        with self.guard("start the cluster"):
            self._begin(self._form.values())

    def _begin(self, values: dict[str, Any]) -> None:
        self._form.disabled = self._start_button.disabled = True
        self.say("The cluster starts; this takes some seconds.")
        self.do("start the cluster", lambda: self._make(values))

    def _make(self, values: dict[str, Any]) -> None:
        try:
            cluster = Cluster(**values)
        except BaseException as error:
            option = getattr(error, "facts", {}).get("option")
            if option in values:
                self._form.mark({option: in_labels(str(error), self._fields())})
            self._show_setup("The cluster did not start.")
            raise
        with self._changing:
            if not self.closed:
                return self._adopt(cluster, owned=True)
        cluster.close()

    def _adopt(self, cluster: Cluster, *, owned: bool) -> None:
        with self._changing:
            self._cluster, self._owned, self._history = cluster, owned, ClusterHistory()
        self._hide_log()
        self._grid.children = [self._charts[label] for label in _drawn(cluster.backend)]
        self._enable_controls()
        self._look()
        last = self._history.last
        if last is not None:
            self._facts.value = words.facts(last)
            self._size.set(workers=last.wanted)
            self._bounds.set(maximum=max(2, last.wanted))
        self.body.children = [self._facts, self._controls, self._instruments]

    def _show_setup(self, said: str) -> None:
        with self._changing:
            self._cluster, self._owned = None, False
        self._form.disabled = self._start_button.disabled = False
        self.body.children = [self._setup]
        self._over = said
        self.say(said)
        self.settle()

    def _enable_controls(self) -> None:
        for button in (self._scale_button, self._adapt_button, self._stop_button):
            button.disabled = False

    def _look(self) -> None:
        """Take a snapshot and show it."""
        cluster = self._cluster
        if cluster is None:
            return
        try:
            snapshot, adapting = cluster.snapshot(), cluster.adapting
        except ClusterError:
            if not cluster.closed:
                raise
            if cluster is self._cluster and not self._stop_button.disabled:
                self._show_setup("The cluster was closed from outside this panel.")
            return
        with self._changing:
            if cluster is not self._cluster:
                return
            self._history.add(snapshot)
            self._adapting = adapting
        self._table.value = words.workers_table(snapshot)
        self._offer_logs(words.names(snapshot))
        for label, draw in _drawn(snapshot.backend).items():
            self._charts[label].show(draw(self._history))
        # Last: who hears of a change finds it shown. Not while one is under way, which is told already.
        if not self._scale_button.disabled:
            self.say(words.status(snapshot, adapting))

    def _offer_logs(self, names: list[str]) -> None:
        if list(self._worker.options) != names:
            kept = self._worker.value
            self._worker.options = names
            self._worker.value = kept if kept in names else next(iter(names), None)

    def _scale(self) -> None:
        workers = self._size.values()["workers"]
        self._change(
            f"The cluster changes to {workers} workers.", "scale the cluster", lambda cluster: cluster.scale(workers)
        )

    def _adapt(self) -> None:
        bounds = self._bounds.values()
        if bounds["minimum"] > bounds["maximum"]:
            fault = f"must be {bounds['minimum']} or more, as Adapt from is, not {bounds['maximum']}"
            self._bounds.mark({"maximum": fault})
            raise LeptonError(f"Adapt to {fault}")
        self._change("The cluster adapts.", "adapt the cluster", lambda cluster: cluster.adapt(**bounds))

    def _change(self, said: str, what: str, change: Callable[[Cluster], object]) -> None:
        cluster = self._cluster
        if cluster is None:
            return
        self.clear_faults()
        self._scale_button.disabled = self._adapt_button.disabled = True
        self.say(said)

        def work() -> None:
            try:
                change(cluster)
            except ClusterError:
                # Stopped meanwhile: nothing is left to change.
                if not cluster.closed:
                    raise
            finally:
                self._scale_button.disabled = self._adapt_button.disabled = False
            self._look()

        self.do(what, work)

    def _stop(self) -> None:
        cluster = self._cluster
        if cluster is None:
            return
        self.clear_faults()
        self._stop_button.disabled = self._scale_button.disabled = self._adapt_button.disabled = True
        self.say("The cluster stops.")
        with self._changing:
            self._owned = False  # this work ends it, and the panel's end waits for that

        def work() -> None:
            try:
                cluster.close()
            finally:
                self._show_setup("The cluster was stopped.")

        self.do("stop the cluster", work)

    def _show_log(self) -> None:
        cluster, name = self._cluster, self._worker.value
        if cluster is None or name is None:
            return

        def show(text: str) -> None:
            self._log.value = words.log(name, text)
            self._hide_button.layout.display = ""

        self.do(f"read the log of worker {name}", lambda: cluster.log(name), then=show)

    def _hide_log(self) -> None:
        self._log.value = ""
        self._hide_button.layout.display = "none"

    def _close(self) -> None:
        with self._changing:
            cluster, owned = self._cluster, self._owned
            self._cluster, self._owned = None, False
        if cluster is not None and owned:
            cluster.close()

    def figures(self) -> list[go.Figure]:
        """The memory of each worker, and where the panel has watched for a while, what it saw over time."""
        history = self._history
        if history.last is None:
            return []
        drawn = [draw(history) for draw in _drawn(history.last.backend).values()]
        return [figures.memory(history.last), *(drawn if len(history) >= figures.FEWEST_IN_A_LINE else [])]

    def summary(self) -> str:
        """The workers and tasks in words."""
        last = self._history.last
        if last is None:
            return self._over
        seen = words.summary(last, self._adapting)
        return seen if self._cluster is not None else f"{self._over} When it was last seen: {seen}"

    def wait(self) -> None:
        """Take a last look: a cluster is over only when somebody ends it."""
        self._look()
