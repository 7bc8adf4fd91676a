"""The buttons that steer a training run, which run they steer, and how far it is."""

from __future__ import annotations

import html
import time
from collections.abc import Callable, Sequence

import ipywidgets

from lepton_nb.events import Progress, Status
from lepton_nb.training.run import TrainingRun
from lepton_nb.training.time_left import in_words, time_left_s
from lepton_nb.widgets.style import side_by_side

# What a run does, by the phase that its last event tells.
_PHASES = {
    "starting": "starting its ranks",
    "waiting": "waiting until another training on this cluster is over",
    "training": "training",
    "paused": "paused",
    "restarting": "starting again after an error",
}
_STYLES = {Status.FAILED: "danger", Status.FINISHED: "success", Status.STOPPED: "warning"}


class Controls:
    """Five buttons, a choice of the run where there are several, and a bar with words.

    button: makes a button (`Panel.button`); start, pause, resume, stop, go_on: what they do; chosen: called when
    another run is chosen.
    """

    def __init__(
        self,
        button: Callable[..., ipywidgets.Button],
        *,
        start: Callable[[], None],
        pause: Callable[[], None],
        resume: Callable[[], None],
        stop: Callable[[], None],
        go_on: Callable[[], None],
        chosen: Callable[[], None],
    ) -> None:
        self._start = button("Start", start, icon="play", help="Train with what the form says")
        self._pause = button("Pause", pause, icon="pause", help="Let the ranks wait after their next step")
        self._resume = button("Resume", resume, icon="play", help="Let a paused run go on")
        self._stop = button("Stop", stop, icon="stop", help="End the run, and keep what it has learnt")
        self._go_on = button("Go on", go_on, icon="forward", help="Start again from where the run was stopped")
        self._run = ipywidgets.Dropdown(options=(), description="Run", tooltip="The run that is shown and steered")
        self._run.observe(lambda _: chosen(), "value")
        self._bar = ipywidgets.FloatProgress(min=0, max=1, layout=ipywidgets.Layout(width="auto", height="14px"))
        self._words = ipywidgets.HTML()
        buttons = (self._start, self._pause, self._resume, self._stop, self._go_on, self._run)
        row = side_by_side(buttons)
        self.view = ipywidgets.VBox([row, self._words, self._bar])

    @property
    def chosen(self) -> str | None:
        """The name of the run that is shown."""
        name: str | None = self._run.value
        return name

    def offer(self, names: Sequence[str], chosen: str) -> None:
        """Offer these runs, and show one of them."""
        self._run.options = tuple(names)
        self._run.value = chosen
        self._run.layout.display = "" if len(names) > 1 else "none"

    def show(self, run: TrainingRun | None, *, starting: bool, can_go_on: bool) -> str:
        """Show how far `run` is, allow what can be done with it, and return in words what it does."""
        live = run is not None and not run.status.over
        paused = live and run is not None and run.paused
        self._start.disabled = starting
        self._pause.disabled = not live or paused
        self._resume.disabled = not paused
        self._stop.disabled = not live
        self._go_on.disabled = starting or not can_go_on
        self._bar.layout.display = "none" if run is None else ""
        self._run.layout.display = "" if len(self._run.options) > 1 else "none"
        if starting:
            return "The training is being started."
        return "No training run yet." if run is None else self._show_progress(run)

    def _show_progress(self, run: TrainingRun) -> str:
        events = run.events
        last = next((event for event in reversed(events) if isinstance(event, Progress)), None)
        total = last.total or 0 if last is not None else 0
        self._bar.value = 1.0 if run.status is Status.FINISHED else run.step / total if total else 0.0
        self._bar.bar_style = _STYLES.get(run.status, "")
        words = html.escape(progress_words(run, total, time_left_s(events, time.time())))
        if self._words.value != words:
            self._words.value = words
        phase = "starting" if last is None else str(last.values.get("phase", "training"))
        said = run.status.value if run.status.over else _PHASES.get(phase, phase)
        again = f" It was started again {_times(len(run.restarts))}." if run.restarts else ""
        return f"{run.name} is {said}.{again}"


def progress_words(run: TrainingRun, total: int, left_s: float | None) -> str:
    """How far a run is, in a line."""
    epochs = run.history
    words = [f"Step {run.step:,} of {total:,}"]
    if run.spec.steps is None:
        done = epochs.height if run.status.over else min(epochs.height + 1, run.spec.epochs)
        words.append(f"epoch {done} of {run.spec.epochs}")
    if epochs.height:
        words.append(f"loss {epochs['loss'][-1]:.4g}")
        if epochs["validation_loss"].count():
            words.append(f"validation loss {epochs['validation_loss'].drop_nulls()[-1]:.4g}")
        rate = epochs["rows_per_s"].drop_nulls()
        words += [f"{rate[-1]:,.0f} rows / s"] if rate.len() else []
    if not run.status.over and left_s is not None:
        # It may end earlier.
        most = "at most" if run.spec.patience is not None else "about"
        words.append(f"{in_words(left_s)} left" if left_s < 5 else f"{most} {in_words(left_s)} left")
    return " · ".join(words)


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"
