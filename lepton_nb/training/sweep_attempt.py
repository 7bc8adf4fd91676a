"""One trial of a sweep while it trains: started, judged after each epoch, and noted when it has ended."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from typing import Any, Literal

from lepton_nb.errors import LeptonError, TrainingError
from lepton_nb.events import Status
from lepton_nb.training.run import TrainingRun
from lepton_nb.training.sweep_study import Drawn

Ended = Literal["complete", "pruned", "failed", "stopped"]
# Called with the state of the trial and further values.
Tell = Callable[..., None]


class Attempt:
    """Trains one trial. `workers`: the names of the workers that only it has."""

    def __init__(self, trial: Drawn, metric: str, workers: frozenset[str], tell: Tell) -> None:
        self.trial = trial
        self.workers = workers
        self._metric = metric
        self.tell = tell
        self._seen = 0
        self._began_s = time.monotonic()
        self.run: TrainingRun | None = None

    def start(self, begin: Callable[[], TrainingRun], wake: Callable[[], None]) -> bool:
        """Start the training; `wake` is called when it is over. False where it is refused, which is noted."""
        self.tell("running")
        try:
            self.run = run = begin()
        except LeptonError as error:
            self.fail(error)
            return False
        run.watch(lambda _: wake() if run.status.over else None)
        return True

    @property
    def duration_s(self) -> float:
        """Since it began."""
        return time.monotonic() - self._began_s

    def judge(self) -> Ended | None:
        """Report the figures of new epochs; how the trial ended, None while it trains. A poor one is stopped."""
        run = self.run
        assert run is not None
        over = run.status.over  # asked for first, so that no epoch comes between
        history = run.history
        if history.height and self._metric not in history.columns:
            measured = [name for name in history.columns if history[name].dtype.is_float()]
            raise TrainingError.unknown("metric for this task", self._metric, measured)
        for row in history[self._seen :].iter_rows(named=True):
            value = row[self._metric]
            last = run.spec.steps is None and row["epoch"] == run.spec.epochs
            if value is None:
                continue
            poor = self.trial.report(row["epoch"], value)
            self.tell("running", value=value, epoch=row["epoch"])
            if poor and not last:
                run.stop(timeout_s=None)
                self.trial.prune(self.duration_s)
                self.tell("pruned")
                return "pruned"
        self._seen = history.height
        if not over:
            return None
        if run.status is Status.FINISHED:
            return "complete"
        return "failed" if run.error is not None else "stopped"

    def fail(self, error: BaseException) -> None:
        """Note that the trial failed, and why."""
        reason = str(error).splitlines()[0] if str(error) else repr(error)
        self.trial.fail(reason, self.duration_s)
        self.tell("failed", reason=reason)

    def end(self) -> None:
        """No training goes on when its trial is over, whatever happens."""
        run = self.run
        if run is None:
            return
        if not run.status.over:
            run.stop(timeout_s=None)
        with contextlib.suppress(Exception):  # how it ended has been noted, or another error is on its way
            run.wait()


def value_of(run: TrainingRun, metric: str) -> float | None:
    """The metric for the epoch whose weights the model has: the last, or with patience that of the lowest loss."""
    history = run.history.drop_nulls(metric)
    if run.spec.patience is not None:
        history = history.filter(history["validation_loss"] == history["validation_loss"].min())[:1]
    return float(history[metric][-1]) if history.height else None


def teller(progress: Callable[..., None], finished: Callable[[], int], total: int, number: int) -> Tell:
    """Tells of the trial `number` as progress of its sweep."""

    def tell(state: str, **values: Any) -> None:
        progress(finished(), total, trial=number, state=state, **values)

    return tell
