"""The run that `sweep` starts: one trial after the other."""

from __future__ import annotations

import contextlib
import itertools
import math
import queue
import shutil
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from lepton_nb.background import BackgroundRun, Control
from lepton_nb.errors import LeptonError, TrainingError
from lepton_nb.events import Status
from lepton_nb.training import sweep_folder
from lepton_nb.training.placement import place
from lepton_nb.training.run import TrainingRun
from lepton_nb.training.spec import TrainingSpec
from lepton_nb.training.sweep_space import Recipe
from lepton_nb.training.sweep_spec import SweepSpec
from lepton_nb.training.sweep_study import Drawn, Trials
from lepton_nb.training.train import train
from lepton_nb.training.trained import Trained, load

if TYPE_CHECKING:
    import polars as pl

    from lepton_nb.cluster.session import Cluster

TICK_S = 0.1
_numbers = itertools.count(1)


class SweepRun(BackgroundRun["SweepRun"]):
    """A sweep in the background; `wait()` returns the sweep itself, or raises what went wrong.

    Its `Progress` events count trials that have ended, with `trial`, `state` and `value` of the trial they tell of,
    and `epoch` while it runs. A trial that fails is noted, and the sweep goes on; it fails if all trials do. A sweep
    that is stopped keeps what it has; the trial that it stopped in runs again when a folder is resumed.
    """

    def __init__(
        self,
        spec: SweepSpec,
        recipe: Recipe,
        trials: Trials,
        data: Any,
        options: Mapping[str, Any],
        cluster: Cluster | None,
        folder: Path | None,
        held: contextlib.ExitStack,
    ) -> None:
        super().__init__(self._conduct, name=f"sweep-{next(_numbers)}")
        self.spec = spec
        self.path = folder
        self._recipe = recipe
        self._trials = trials
        self._data = data
        self._options = options
        # The drawn options may be needed for the others to be valid, but not for these.
        where = {name: options[name] for name in ("workers", "start_timeout_s") if name in options}
        self._place = TrainingSpec.of(**where)
        self._cluster = cluster
        self._held = held
        self._inbox: queue.SimpleQueue[None] = queue.SimpleQueue()
        # The best trial that this process has trained, and its number.
        self._kept: tuple[int, TrainingRun] | None = None

    @property
    def trials(self) -> pl.DataFrame:
        """One row for each trial begun, in order, growing while the sweep goes on.

        state: "running", "complete", "pruned", "failed", or "stopped" with the sweep; value: of the metric, the last
        one known for a trial that is not complete; epochs_done: those with a figure that counted; duration_s: of the
        training, null until it ends; then a column for each drawn name, text for choices that are not plain values;
        reason: why a trial failed.
        """
        return self._trials.frame(over=self.status.over)

    @property
    def best(self) -> dict[str, Any]:
        """The drawn values of the best complete trial. Raises TrainingError while there is none."""
        return self._best()[2]

    @property
    def best_value(self) -> float:
        """The metric of the best complete trial. Raises TrainingError while there is none."""
        return self._best()[1]

    @property
    def best_model(self) -> Trained:
        """The model of the best complete trial, trained: predict, evaluate, save. Raises TrainingError without one."""
        number, _, values = self._best()
        kept = self._kept
        if kept is not None and kept[0] == number:
            return kept[1].trained
        assert self.path is not None, "a sweep without a folder keeps the run of its best trial"
        return load(_model_folder(self.path, number), model=self._recipe.model_of(values))

    def __repr__(self) -> str:
        found = self._trials.best()
        best = "" if found is None else f", best {self.spec.metric} {found[1]:.4g} in trial {found[0]}"
        return (
            f"SweepRun {self.name}: {self.status.value}, {self._trials.finished()} of {self.spec.trials} trials{best}"
        )

    def _best(self) -> tuple[int, float, dict[str, Any]]:
        found = self._trials.best()
        if found is None:
            raise TrainingError(f"{self.name} has no complete trial: it is {self.status.value}; see its trials")
        return found

    def _conduct(self, control: Control) -> Self:
        control.on_stop(lambda: self._inbox.put(None))
        with self._held, contextlib.ExitStack() as opened:
            cluster = None
            while not control.stopping and (trial := self._trials.begin(self.spec.trials)) is not None:
                if cluster is None:
                    cluster = opened.enter_context(self._open_cluster())
                self._try(trial, cluster, control)
        reasons = self._trials.reasons()
        if not control.stopping and len(reasons) >= self.spec.trials:
            raise TrainingError(f"all {len(reasons)} trials failed, the first of them so: {reasons[0]}")
        return self

    @contextlib.contextmanager
    def _open_cluster(self) -> Iterator[Cluster]:
        if self._cluster is not None:
            yield self._cluster
            return
        from lepton_nb.cluster.session import Cluster

        with Cluster(workers=self._place.most_workers) as own:
            yield own

    def _try(self, trial: Drawn, cluster: Cluster, control: Control) -> None:
        """Train once, from beginning to end, and note how it went."""
        options = {**self._options, **self._recipe.options_of(trial.values)}
        if not self._has_workers(cluster, control):
            return
        began_s = time.monotonic()
        self._tell(control, trial, "running")
        try:
            model = self._recipe.model_of(trial.values)
            run = train(model, self._data, cluster=cluster, **options)
        except LeptonError as error:
            trial.fail(_reason(error), time.monotonic() - began_s)
            self._tell(control, trial, "failed", reason=_reason(error))
            return
        with _ended(run):
            run.watch(lambda _: self._inbox.put(None) if run.status.over else None)
            judged = self._follow(run, trial, control)
            duration_s = time.monotonic() - began_s
            if judged == "pruned":
                run.stop(timeout_s=None)
                trial.prune(duration_s)
                self._tell(control, trial, "pruned")
            elif run.status is Status.FINISHED:
                self._finish(run, trial, duration_s, control)
            elif run.error is not None:
                self._fail(run, trial, duration_s, cluster, control)

    def _has_workers(self, cluster: Cluster, control: Control) -> bool:
        """Give a worker that the trial before has lost time to be replaced; False if the sweep is stopped meanwhile.

        Without workers every further trial would fail: the sweep fails instead, and can be resumed.
        """
        until_s = time.monotonic() + self._place.start_timeout_s
        while len(cluster.workers) < self._place.least_workers:
            if cluster.client.status in ("closing", "closed"):
                raise TrainingError("the cluster was closed while the sweep went on; keep it open until it ends")
            if time.monotonic() > until_s:
                place(cluster.workers, self._place.least_workers)  # raises, with both numbers
            if control.wait_for_stop(TICK_S):
                return False
        return True

    def _follow(self, run: TrainingRun, trial: Drawn, control: Control) -> str:
        """Report the figures of each epoch until the training is over or poor: "over" or "pruned"."""
        seen = 0
        while True:
            over = run.status.over  # asked for first, so that no epoch comes between
            history = run.history
            if history.height and self.spec.metric not in history.columns:
                measured = [name for name in history.columns if history[name].dtype.is_float()]
                raise TrainingError.unknown("metric for this task", self.spec.metric, measured)
            for row in history[seen:].iter_rows(named=True):
                value = row[self.spec.metric]
                last = run.spec.steps is None and row["epoch"] == run.spec.epochs
                if value is None:
                    continue
                poor = trial.report(row["epoch"], value)
                self._tell(control, trial, "running", value=value, epoch=row["epoch"])
                if poor and not last:
                    return "pruned"
            seen = history.height
            if over:
                return "over"
            if control.stopping:
                run.stop(timeout_s=None)
                continue
            with contextlib.suppress(queue.Empty):
                self._inbox.get(timeout=TICK_S)

    def _finish(self, run: TrainingRun, trial: Drawn, duration_s: float, control: Control) -> None:
        value = _value_of(run, self.spec.metric)
        if value is None or not math.isfinite(value):
            reason = f"{self.spec.metric} is {value} at the end"
            if value is None:
                reason += "; train for an epoch or more"
            trial.fail(reason, duration_s)
            self._tell(control, trial, "failed", reason=reason)
            return
        if self._trials.better(value):
            if self.path is not None:
                # Before the trial counts as complete: the best trial always has its model, whenever the process ends.
                run.save(_model_folder(self.path, trial.number), overwrite=True)
            self._kept = (trial.number, run)
        trial.complete(value, duration_s)
        if self.path is not None:
            _keep_only(self.path, self._best()[0])
        self._tell(control, trial, "complete", value=value)

    def _fail(self, run: TrainingRun, trial: Drawn, duration_s: float, cluster: Cluster, control: Control) -> None:
        error = run.error
        assert error is not None
        if not isinstance(error, LeptonError) or cluster.client.status in ("closing", "closed"):
            raise error
        trial.fail(_reason(error), duration_s)
        self._tell(control, trial, "failed", reason=_reason(error))

    def _tell(self, control: Control, trial: Drawn, state: str, **values: Any) -> None:
        control.progress(self._trials.finished(), self.spec.trials, trial=trial.number, state=state, **values)


@contextlib.contextmanager
def _ended(run: TrainingRun) -> Iterator[None]:
    """No training goes on when its trial is over, whatever happens."""
    try:
        yield
    finally:
        if not run.status.over:
            run.stop(timeout_s=None)
        with contextlib.suppress(Exception):  # how it ended has been noted, or another error is on its way
            run.wait()


def _reason(error: BaseException) -> str:
    return str(error).splitlines()[0] if str(error) else repr(error)


def _value_of(run: TrainingRun, metric: str) -> float | None:
    """The metric for the epoch whose weights the model has: the last, or with patience that of the lowest loss."""
    history = run.history.drop_nulls(metric)
    if run.spec.patience is not None:
        history = history.filter(history["validation_loss"] == history["validation_loss"].min())[:1]
    return float(history[metric][-1]) if history.height else None


def _model_folder(folder: Path, number: int) -> Path:
    return folder / sweep_folder.MODELS / str(number)


def _keep_only(folder: Path, number: int) -> None:
    for path in (folder / sweep_folder.MODELS).iterdir():
        if path.name != str(number):
            shutil.rmtree(path)
