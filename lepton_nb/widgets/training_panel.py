"""`TrainingPanel`: start, watch, steer, evaluate and compare training runs with the mouse."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Self

import ipywidgets

from lepton_nb.errors import LeptonError, TrainingError
from lepton_nb.events import Event, Failed, Finished
from lepton_nb.training.choices import Parts, parts
from lepton_nb.training.evaluation import Evaluation
from lepton_nb.training.options import MODELS
from lepton_nb.training.run import TrainingRun
from lepton_nb.training.train import train
from lepton_nb.widgets.form import Field
from lepton_nb.widgets.notebook import tables
from lepton_nb.widgets.panel import Panel
from lepton_nb.widgets.training_controls import Controls
from lepton_nb.widgets.training_curves import CurvesView
from lepton_nb.widgets.training_evaluation import EvaluationView
from lepton_nb.widgets.training_form import TrainingForm, Wish
from lepton_nb.widgets.training_likely import LikelyTask
from lepton_nb.widgets.training_ranks import RanksView
from lepton_nb.widgets.training_runs import TEST, KeptRun

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from lepton_nb.cluster.session import Cluster

REFRESH_S = 0.5
VIEWS = {
    "Set up": "Data, model and options",
    "Curves": "Losses and metrics",
    "Ranks": "What each rank does and prints, notes, and checkpoints",
    "Evaluation": "How well the model does on other rows than those it learnt from",
}


class TrainingPanel(Panel):
    """Train models, watch them learn, and see how well they do.

    run: a run that code started; the panel watches it and does not stop it when it closes. data: name → rows to train
    on (tables, what `lnb.prepare` returned, or arrays), or one of these; by default the tables of the notebook.
    cluster: where to train, or a function that gives it; by default each run has its own. `run` and `runs` are what
    the panel shows, for code to go on with; `start`, `pause`, `resume`, `stop` and `go_on` do what the buttons do.
    """

    def __init__(
        self,
        run: TrainingRun | None = None,
        *,
        data: Any = None,
        cluster: Cluster | Callable[[], Cluster | None] | None = None,
    ) -> None:
        super().__init__("Training")
        self._given = data if data is None or isinstance(data, Mapping) else {"data": data}
        self._cluster = cluster
        self._kept: dict[str, KeptRun] = {}
        self._ends: list[Callable[[], None]] = []
        self._starting = False
        self._change = threading.RLock()
        self._likely = LikelyTask(self.do, lambda *found: self.form.suggest(*found))
        self.form = TrainingForm(self._data, self._likely.ask)
        self._curves = CurvesView()
        self._ranks = RanksView()
        self._evaluation = EvaluationView(self._ask_evaluation)
        self._controls = Controls(
            self.button,
            start=self.start,
            pause=self.pause,
            resume=self.resume,
            stop=self.stop,
            go_on=self.go_on,
            chosen=self._show_run,
        )
        self._lay_out()
        self.form.renew()
        self.every(REFRESH_S, self._refresh)
        if run is not None:
            self.adopt(run)
        self._refresh()

    def _lay_out(self) -> None:
        self._tabs = ipywidgets.ToggleButtons(options=list(VIEWS), tooltips=list(VIEWS.values()))
        self._tabs.style.button_width = "auto"
        self._tabs.observe(lambda _: self._show_view(), "value")
        parts = (self.form.view, self._curves.view, self._ranks.view, self._evaluation.view)
        self._views = dict(zip(VIEWS, parts, strict=True))
        self.body.children = (self._controls.view, self._tabs, *parts)
        self._show_view()

    @property
    def run(self) -> TrainingRun | None:
        """The run that is shown; None before the first."""
        kept = self._shown_run
        return None if kept is None else kept.run

    @property
    def runs(self) -> tuple[TrainingRun, ...]:
        """All runs of the panel, oldest first."""
        return tuple(kept.run for kept in self._kept.values())

    @property
    def evaluation(self) -> Evaluation | None:
        """How well the model of the shown run does on its test rows; None while it was not evaluated."""
        kept = self._shown_run
        return None if kept is None else kept.evaluation

    def set(self, **values: Any) -> Self:
        """Fill in the form by the names of its fields: data, target, features, kind (of model), and all options."""
        self.form.set(**values)
        if "task" in values:
            self._likely.overtake()
        return self

    def adopt(self, run: TrainingRun) -> Self:
        """Show a run that code started, beside those that are there."""
        if not isinstance(run, TrainingRun):
            raise TrainingError(f"a {type(run).__name__} is no training run; give what lnb.train(...) returned")
        self._keep(KeptRun(run, own=False))
        return self

    def start(self) -> None:
        """Start to train with what the form says, beside the kernel; `run` is the new run once it is there."""
        self.clear_faults()
        self._begin(self.form.values(), None)

    def pause(self) -> None:
        """Let the ranks of the shown run wait."""
        self._live_run("pause").pause()

    def resume(self) -> None:
        """Let the shown run go on after a pause."""
        self._live_run("resume").resume()

    def stop(self) -> None:
        """Stop the shown run; what it has learnt stays."""
        run = self._live_run("stop")
        self.do(f"stop {run.name}", run.stop)

    def go_on(self) -> None:
        """Go on with the shown run from where it was stopped, with the rows, the model and the options it had."""
        kept = self._shown_run
        if kept is None or kept.wish is None:
            raise TrainingError(
                "only a run that this panel started can be gone on with here; use lnb.train(..., resume=run)"
            )
        self.clear_faults()
        self._begin(kept.wish, kept)

    def evaluate(self, data: Any, name: str = "the test data") -> None:
        """Evaluate the model of the shown run on `data`, beside the kernel; `evaluation` has the result."""
        kept = self._shown_run
        if kept is None:
            raise TrainingError("there is no run to evaluate; start one first")
        self._evaluate(kept, data, name)

    def figures(self) -> list[go.Figure]:
        """The curves of the runs, and the figures of the evaluation."""
        self._refresh()
        return [*self._curves.figures(), *self._evaluation.figures()]

    def summary(self) -> str:
        """How each run stands, and how well the shown one does."""
        lines = [repr(run) for run in self.runs] or ["No training run yet."]
        kept = self._shown_run
        if kept is not None:
            lines += [f"Started again: {reason}" for reason in kept.run.restarts]
            if kept.evaluation is not None:
                found = ", ".join(f"{name} {value:.6g}" for name, value in kept.evaluation.metrics.items())
                lines.append(f"{kept.run.name} on {kept.evaluated_on}: {found}")
                lines += [kept.caution] if kept.caution else []
        return "\n".join(lines)

    def wait(self) -> None:
        """Wait until all runs are over and evaluated; raises what a run raised."""
        self._wait_for_works()
        for run in self.runs:
            run.wait()
        self._wait_for_works()
        self._refresh()

    def _wait_for_works(self) -> None:
        for work in list(self._works):
            work.wait()

    def _close(self) -> None:
        for end in self._ends:
            end()
        for kept in self._kept.values():
            if kept.own and not kept.run.status.over:
                with self.guard(f"stop {kept.run.name}"):
                    kept.run.stop()

    @property
    def _shown_run(self) -> KeptRun | None:
        return self._kept.get(self._controls.chosen or "")

    def _live_run(self, what: str) -> TrainingRun:
        run = self.run
        if run is None or run.status.over:
            raise TrainingError(f"there is no training to {what}; start one first")
        return run

    def _fields(self) -> Mapping[str, Field]:
        return self.form.fields

    def _data(self) -> Mapping[str, Any]:
        return tables() if self._given is None else self._given

    def _begin(self, wish: Wish, before: KeptRun | None) -> None:
        with self._change:
            if self._starting:
                raise TrainingError("a training is just being started; wait until it is there")
            self._starting = True
        self._show_state(self._shown_run)
        self.do("start the training", lambda: self._train(wish, before))

    def _train(self, wish: Wish, before: KeptRun | None) -> None:
        try:
            try:
                rows = before.rows if before is not None and before.rows is not None else self._rows(wish)
                # The run that goes on writes where the one before did.
                again = {} if before is None else {"resume": before.run, "checkpoint": None}
                options = wish.training | again
                cluster = self._cluster() if callable(self._cluster) else self._cluster
                model = MODELS[wish.kind](**wish.model)
                run = train(
                    model, rows.train, target=rows.target, validation=rows.validation, cluster=cluster, **options
                )
            except LeptonError as error:
                self.form.tell(error)
                raise
            self._keep(KeptRun(run, own=True, wish=wish, rows=rows))
            if self.closed:
                run.stop()
            self._tabs.value = "Curves"
        finally:
            self._starting = False
            self._refresh()

    def _rows(self, wish: Wish) -> Parts:
        data = self._data()
        if wish.data not in data:
            raise LeptonError.unknown("data", wish.data, data)
        return parts(data[wish.data], seed=wish.training["seed"], **wish.parts)

    def _keep(self, kept: KeptRun) -> None:
        with self._change:
            if kept.run.name in self._kept:
                return
            self._kept[kept.run.name] = kept
            self._controls.offer(tuple(self._kept), kept.run.name)
        self._ends.append(kept.run.watch(lambda event: self._hear(kept, event)))
        if not kept.own:
            self._tabs.value = "Curves"

    def _hear(self, kept: KeptRun, event: Event) -> None:
        if isinstance(event, Failed):
            self.fail(f"train {kept.run.name}", event.error)
        if isinstance(event, Finished | Failed) and not self.closed:
            self.do(f"show the end of {kept.run.name}", lambda: self._end(kept))

    def _end(self, kept: KeptRun) -> None:
        """A run is over: evaluate it if there are rows for that, and show its last state."""
        # A first evaluation loads the framework, and a notebook may be saved meanwhile.
        self.settle()
        if kept.run.error is None and kept.run.step and TEST in kept.parts:
            kept.judge(kept.parts[TEST], TEST)
        self._refresh()
        self._show_run()
        self.settle()

    def _ask_evaluation(self) -> None:
        with self.guard("evaluate the model"):
            kept, rows = self._shown_run, self._evaluation.chosen
            if kept is None or rows is None:
                raise TrainingError("there is nothing to evaluate; start a run and choose test data first")
            self._evaluate(kept, kept.parts[rows] if rows in kept.parts else self._data()[rows], rows)

    def _evaluate(self, kept: KeptRun, data: Any, name: str) -> None:
        self.do(f"evaluate {kept.run.name}", lambda: kept.judge(data, name), lambda _: self._show_run())

    def _show_view(self) -> None:
        for name, view in self._views.items():
            view.layout.display = "" if name == self._tabs.value else "none"

    def _show_run(self) -> None:
        kept = self._shown_run
        if kept is not None:
            self._evaluation.show(kept.run.name, kept.evaluation, kept.words, kept.caution)
            self._refresh()

    def _refresh(self) -> None:
        with self._change:
            self.form.renew()
            kept = self._shown_run
            self._show_state(kept)
            self._offer_test_data(kept)
            if kept is not None:
                self._curves.show({name: one.run for name, one in self._kept.items()}, kept.run.name)
                self._ranks.show(kept.run, kept.test_note)

    def _show_state(self, kept: KeptRun | None) -> None:
        run, can_go_on = (None, False) if kept is None else (kept.run, kept.can_go_on)
        self.say(self._controls.show(run, starting=self._starting, can_go_on=can_go_on))

    def _offer_test_data(self, kept: KeptRun | None) -> None:
        if kept is not None:
            rows = kept.offered(self._data())
            self._evaluation.offer(kept.run.name, {one.name: (one.label, kept.warning(one)) for one in rows})
        self._evaluation.button.disabled = kept is None or not kept.run.status.over or self._evaluation.chosen is None
