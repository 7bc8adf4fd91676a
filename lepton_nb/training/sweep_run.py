"""The run that `sweep` starts: one trial after the other, or several at once."""

from __future__ import annotations

import contextlib
import itertools
import math
import queue
import shutil
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, cast

from lepton_nb.background import BackgroundRun, Control
from lepton_nb.errors import LeptonError, TrainingError
from lepton_nb.training import sweep_folder
from lepton_nb.training.part import ClusterPart, free_part
from lepton_nb.training.placement import place
from lepton_nb.training.run import TrainingRun
from lepton_nb.training.saved import load
from lepton_nb.training.spec import TrainingSpec
from lepton_nb.training.sweep_attempt import Attempt, teller, value_of
from lepton_nb.training.sweep_space import Recipe
from lepton_nb.training.sweep_spec import SweepSpec
from lepton_nb.training.sweep_study import Drawn, Trials
from lepton_nb.training.train import train
from lepton_nb.training.trained import Trained
from lepton_nb.training.turns import LOCK, turn

if TYPE_CHECKING:
    import polars as pl

    from lepton_nb.cluster.session import Cluster

TICK_S = 0.1
_numbers = itertools.count(1)


class SweepRun(BackgroundRun["SweepRun"]):
    """A sweep in the background; `wait()` returns the sweep itself, or raises what went wrong.

    Its `Progress` events count trials that have ended, with `trial`, `state` and `value` of the trial they tell of,
    and `epoch` while it runs. A trial that fails is noted, and the sweep goes on; it fails if all trials do. A sweep
    that is stopped keeps what it has; the trials that it stopped in run again when a folder is resumed.
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
            if self._trials.left(self.spec.trials):
                cluster = opened.enter_context(self._open_cluster())
                lanes = self._lanes(cluster)
                # Several trainings at once share the cluster by parts, so nobody else may train on all of it.
                alone = turn(cluster.client, control) if lanes > 1 else contextlib.nullcontext(True)
                if opened.enter_context(alone):
                    self._try_all(cluster, lanes, control)
        reasons = self._trials.reasons()
        if not control.stopping and len(reasons) >= self.spec.trials:
            raise TrainingError(f"all {len(reasons)} trials failed, the first of them so: {reasons[0]}")
        return self

    def _lanes(self, cluster: Cluster) -> int:
        """How many trials train at once: as many as there is room for, if they are wanted."""
        workers = len(cluster.workers)
        if self.spec.at_once == "auto":
            return max(1, workers // (self._place.most_workers or 1))
        return min(self.spec.at_once, max(1, workers // self._place.least_workers))

    def _try_all(self, cluster: Cluster, lanes: int, control: Control) -> None:
        active: list[Attempt] = []
        try:
            while True:
                while not control.stopping and len(active) < lanes:
                    place = self._find_place(cluster, active, lanes, control)
                    begun = [attempt.trial.number for attempt in active]
                    trial = None if place is None else self._trials.begin(self.spec.trials, begun)
                    if place is None or trial is None:
                        break
                    attempt = self._attempt(trial, place, control)
                    if attempt is not None:
                        active.append(attempt)
                # Without a trial and with some left, the workers went away just now: they are waited for again.
                if not active and (control.stopping or not self._trials.left(self.spec.trials)):
                    return
                for attempt in tuple(active):
                    if control.stopping:
                        attempt.end()
                    if self._is_over(attempt, cluster):
                        attempt.end()
                        active.remove(attempt)
                with contextlib.suppress(queue.Empty):
                    self._inbox.get(timeout=TICK_S)
        finally:
            for attempt in active:
                attempt.end()

    def _find_place(
        self, cluster: Cluster, active: Sequence[Attempt], lanes: int, control: Control
    ) -> Cluster | ClusterPart | None:
        """Where a further trial trains; None while others have all workers, and when the sweep is stopped."""
        if lanes == 1:
            return cluster if self._has_workers(cluster, control) else None
        count = self._place.most_workers
        assert count is not None
        if not active and not self._has_workers(cluster, control):
            return None
        used = {name for attempt in active for name in attempt.workers}
        name = f"{LOCK}-{uuid.uuid4().hex}"
        found = free_part(cluster, used, count, lanes, name)
        if found is None and not active:
            # Fewer than a trial takes at most, and nobody to wait for.
            found = free_part(cluster, used, self._place.least_workers, lanes, name)
        return found

    def _attempt(self, trial: Drawn, place: Cluster | ClusterPart, control: Control) -> Attempt | None:
        """The trial, training; None where its options are refused, which is noted."""
        names = place.names if isinstance(place, ClusterPart) else frozenset[str]()
        tell = teller(control.progress, self._trials.finished, self.spec.trials, trial.number)
        attempt = Attempt(trial, self.spec.metric, names, tell)

        def begin() -> TrainingRun:
            options = {**self._options, **self._recipe.options_of(trial.values)}
            return train(self._recipe.model_of(trial.values), self._data, cluster=cast("Cluster", place), **options)

        return attempt if attempt.start(begin, lambda: self._inbox.put(None)) else None

    def _is_over(self, attempt: Attempt, cluster: Cluster) -> bool:
        """Look at a trial; note its end, if it has ended."""
        ended = attempt.judge()
        if ended == "complete":
            self._finish(attempt)
        elif ended == "failed":
            assert attempt.run is not None
            error = attempt.run.error
            assert error is not None
            if not isinstance(error, LeptonError) or cluster.client.status in ("closing", "closed"):
                raise error
            attempt.fail(error)
        return ended is not None

    @contextlib.contextmanager
    def _open_cluster(self) -> Iterator[Cluster]:
        if self._cluster is not None:
            yield self._cluster
            return
        from lepton_nb.cluster.session import Cluster

        count = self._place.most_workers
        if count is not None:
            count = None if self.spec.at_once == "auto" else count * self.spec.at_once
        with Cluster(workers=count) as own:
            yield own

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

    def _finish(self, attempt: Attempt) -> None:
        run, trial = attempt.run, attempt.trial
        assert run is not None
        value = value_of(run, self.spec.metric)
        if value is None or not math.isfinite(value):
            hint = "; train for an epoch or more" if value is None else ""
            attempt.fail(TrainingError(f"{self.spec.metric} is {value} at the end{hint}"))
            return
        if self._trials.better(value):
            if self.path is not None:
                # Before the trial counts as complete: the best trial always has its model, whenever the process ends.
                run.save(_model_folder(self.path, trial.number), overwrite=True)
            self._kept = (trial.number, run)
        trial.complete(value, attempt.duration_s)
        if self.path is not None:
            _keep_only(self.path, self._best()[0])
        attempt.tell("complete", value=value)


def _model_folder(folder: Path, number: int) -> Path:
    return folder / sweep_folder.MODELS / str(number)


def _keep_only(folder: Path, number: int) -> None:
    for path in (folder / sweep_folder.MODELS).iterdir():
        if path.name != str(number):
            shutil.rmtree(path)
