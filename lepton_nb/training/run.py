"""A training run: what it is, how it goes, and what it has learnt."""

from __future__ import annotations

import contextlib
import itertools
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from lepton_nb.background import BackgroundRun, Control
from lepton_nb.errors import TrainingError
from lepton_nb.events import Status
from lepton_nb.training import models
from lepton_nb.training.attempts import Restarts, Team, first_plan, job_of
from lepton_nb.training.cost import Cost
from lepton_nb.training.course import Course
from lepton_nb.training.feeds import Feed
from lepton_nb.training.heard import Heard
from lepton_nb.training.known_rows import KnownRows
from lepton_nb.training.spec import Task, TrainingSpec
from lepton_nb.training.steering import Steering
from lepton_nb.training.subject import Subject
from lepton_nb.training.tracking import Tracker, Tracking, TrackingWarning
from lepton_nb.training.trained import Trained

if TYPE_CHECKING:
    import polars as pl
    import torch

    from lepton_nb.cluster.scratch import Scratch
    from lepton_nb.cluster.session import Cluster
    from lepton_nb.data.frames import Frame
    from lepton_nb.data.transform import Prepared

_numbers = itertools.count(1)
# What the rows of a part are for.
_USES = {"train": "to learn from", "validation": "to validate"}


class TrainingRun(BackgroundRun["TrainingRun"]):
    """A training run in the background; `wait()` returns the run itself, or raises what went wrong.

    Its `Progress` events count optimizer steps, with `phase` ("starting", "waiting" for another run on the same
    cluster, "training", "paused" or "restarting"), `epoch` and `loss`. `state` is what a run that was stopped can be
    gone on with (`lnb.train(..., resume=run)`).
    """

    def __init__(
        self,
        model: models.Model,
        spec: TrainingSpec,
        feeds: Mapping[str, Feed],
        cluster: Cluster | None,
        resumed: bytes | None = None,
        own: Scratch | None = None,
        trackers: Sequence[Tracker] = (),
        before: TrainingRun | None = None,
    ) -> None:
        super().__init__(self._conduct, name=f"training-{next(_numbers)}")
        self.spec = spec.without_data()
        self._described = model
        self._job = job_of(model, self.spec, own is not None)
        self._reader = feeds["train"].reader
        self._cluster = cluster
        self._total_steps = spec.total_steps(len(feeds["train"]))
        # Given up when the ranks have them, so that a finished run does not hold on to the data.
        self._feeds = dict(feeds)
        self._subject = Subject.of(feeds)
        self._known = KnownRows.of(feeds["train"].arrays)
        self._notes = [f"{_USES[part]}: {feed.note}" for part, feed in feeds.items()]
        self._tracking = Tracking(trackers, lambda said: self._warn(said, TrackingWarning))
        self._resumed = resumed
        self._own = own
        self._steering = Steering()
        self._restarts = Restarts(spec.max_restarts)
        self._team = Team(spec)
        self._heard = Heard(self._team, self._tracking, self._warn, goes_on=resumed is not None)
        if before is not None:
            # Its state lacks what it did before it last started again by itself.
            self._heard.history.begin_with(before._heard.history)
        self._weights: bytes | None = None
        self.state: bytes | None = None
        self._finished: Trained | None = None

    @property
    def history(self) -> pl.DataFrame:
        """One row for each finished epoch (from 1), growing while the run goes on.

        loss is the mean over the epoch's rows, each measured before the step it was part of; validation_loss and
        validation_accuracy (of classes) or validation_mae (of a regression) are measured after the epoch, null
        without validation rows and for an epoch with whose last step the run was stopped; rows_per_s counts all
        workers, without validation; elapsed_s counts from the first step.
        """
        return self._heard.history.epochs(self._heard.task)

    @property
    def steps(self) -> pl.DataFrame:
        """One row for every `log_every_steps` steps and for the last: the mean loss of the rows since the row before.

        Counted on across epochs; epoch, gradient_norm (over all weights, before it is clipped) and learning_rate are
        those of the row's last step.
        """
        return self._heard.history.steps()

    @property
    def step(self) -> int:
        """Optimizer steps that are known to be done."""
        return self._heard.steps_done

    @property
    def row_notes(self) -> tuple[str, ...]:
        """Of the notes, those that say which rows are for what, and how many."""
        return tuple(self._notes)

    @property
    def notes(self) -> tuple[str, ...]:
        """What was decided for this run, and why."""
        return (*self._notes, *(note for note in (self._team.note, self._heard.compiled, self._ended_early()) if note))

    @property
    def subject(self) -> Subject:
        """What is learnt, by which loss, and from which rows."""
        return self._subject.with_loss(self.spec.loss, self._heard.task)

    @property
    def cost(self) -> Cost:
        """Core-seconds, GPU-seconds and energy of all ranks so far, of runs before a restart too."""
        return self._heard.cost

    @property
    def usage(self) -> pl.DataFrame:
        """One row for each rank of the running (or last) attempt: seconds, rows, memory, GPU; see `Meter.read`."""
        import polars as pl

        costs = self._heard.costs[-1]
        return pl.DataFrame([costs[rank] for rank in sorted(costs)], infer_schema_length=None)

    @property
    def restarts(self) -> tuple[str, ...]:
        """Why the run started again, once for each time; see `max_restarts`."""
        return self._restarts.reasons

    @property
    def has_own_checkpoints(self) -> bool:
        """True where the checkpoints are only for the run's own restarts, and go with it."""
        return self._own is not None

    @property
    def output(self) -> dict[int, str]:
        """What each rank printed last, by rank, at most 2,000 lines; while the run goes on, the last 100 lines."""
        return dict(self._heard.outputs)

    @property
    def paused(self) -> bool:
        """True while all ranks wait, after the same step."""
        return self._heard.paused

    def pause(self) -> Self:
        """Ask the ranks to wait after a step, and return at once; they keep all that they have, and their workers."""
        self._require_live("pause")
        self._steering.set(pausing=True)
        return self

    def resume(self) -> Self:
        """Let a paused run go on; one that was stopped is gone on with by `lnb.train(..., resume=run)`."""
        self._require_live("resume")
        self._steering.set(pausing=False)
        return self

    def _require_live(self, what: str) -> None:
        if self.status.over:
            hint = "; go on from where it was with lnb.train(..., resume=run)" if self.state is not None else ""
            raise TrainingError(f"{self.name} is {self.status.value}, so there is nothing to {what}{hint}")

    @property
    def task(self) -> Task | None:
        """ "binary", "multiclass" or "regression"; None until the model has met the data."""
        return self._heard.task

    @property
    def model(self) -> torch.nn.Module | Any:
        """The trained model, ready to predict; a module is on the CPU. Raises TrainingError while there is none."""
        return self.trained.model

    def predict(self, data: Any, **options: Any) -> Any:
        """Predictions for the rows of `data`; see `Trained.predict`."""
        return self.trained.predict(data, **options)

    def predict_labels(self, data: Any, *, threshold: float = 0.5) -> pl.Series:
        """The predicted class of each row of `data`, by name; see `Trained.predict_labels`."""
        return self.trained.predict_labels(data, threshold=threshold)

    def evaluate(self, test: Prepared | Frame) -> dict[str, float]:
        """How well the model does on `test`; see `Trained.evaluate`."""
        return self.trained.evaluate(test)

    def export(self, path: str | os.PathLike[str], **options: Any) -> Path:
        """Write the model for other programs (ONNX, torch.export, TorchScript, SavedModel); see `export.export`."""
        return self.trained.export(path, **options)

    def save(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
        """Write the trained model, its preparation and history into a folder for `lnb.load`; see `Trained.save`."""
        return self.trained.save(path, overwrite=overwrite)

    def __repr__(self) -> str:
        epochs = self.history
        loss = f", loss {epochs['loss'][-1]:.4g}" if epochs.height else ""
        last = epochs["epoch"][-1] if epochs.height else 0
        epoch = f"epoch {last}" + (f" of {self.spec.epochs}" if self.spec.steps is None else "")
        status = "paused" if self._heard.paused else self.status.value
        if self._heard.waiting and not self.status.over:
            status = "waits until another training on this cluster is over"
        return f"TrainingRun {self.name}: {status}, {epoch}{loss}"

    def _conduct(self, control: Control) -> Self:
        status = "failed"
        self._tracking.begin({"name": self.name, "options": self.spec.told(), "resumed": self._resumed is not None})
        try:
            self._train(control)
            status = "stopped" if control.stopping else "finished"
        finally:
            self._tracking.end(status, {"steps": self._heard.steps_done, "cost": str(self.cost)})
        return self

    def _train(self, control: Control) -> None:
        def tell(done: int, phase: str, **values: Any) -> None:
            control.progress(done, self._total_steps, phase=phase, **values)

        tell(0, "starting")
        with self._own_folder(), self._open_cluster() as cluster:
            plan = self._team.begin(first_plan(self.spec, self._job, self._feeds, self._resumed, cluster))
            self._feeds, self._job, self._resumed = {}, b"", None
            course = Course(self._team, self._restarts, self._heard, self._steering, self.spec.checkpoint)
            result = course.follow(cluster, plan, control, tell)
        if result is not None:
            self._weights, self.state = result.weights, result.state

    @contextlib.contextmanager
    def _own_folder(self) -> Iterator[None]:
        try:
            yield
        finally:
            if self._own is not None:
                self._own.close()

    @contextlib.contextmanager
    def _open_cluster(self) -> Any:
        if self._cluster is not None:
            yield self._cluster
            return
        from lepton_nb.cluster.session import Cluster

        with Cluster(workers=self.spec.most_workers) as own:
            yield own

    @property
    def trained(self) -> Trained:
        """The trained model with its preparation and history. Raises TrainingError while there is none."""
        if self._finished is None:
            if self._weights is None:
                raise TrainingError(
                    f"{self.name} has no trained model: it is {self.status.value}; {self._why_no_model()}"
                )
            assert self._heard.task is not None
            facts = {
                "steps_done": self._heard.steps_done,
                "stopped": self.status is Status.STOPPED,
                "options": self.spec.told(),
                "cost": str(self.cost),
            }
            self._finished = Trained(
                self._described,
                self._reader,
                self._heard.task,
                self._weights,
                self.spec.seed,
                self.history,
                self.steps,
                facts,
                self.spec.framework,
                self._known,
            )
        return self._finished

    def _ended_early(self) -> str | None:
        epochs, patience = self.history, self.spec.patience
        if self.status is not Status.FINISHED or patience is None or not 0 < self._heard.steps_done < self._total_steps:
            return None
        best = epochs.drop_nulls("validation_loss").sort("validation_loss", maintain_order=True)["epoch"][0]
        return (
            f"ended after epoch {epochs['epoch'][-1]}, as validation_loss has not fallen for {patience} epochs; the "
            f"weights are those of epoch {best}"
        )

    def _why_no_model(self) -> str:
        if not self.status.over:
            return "call run.wait() first"
        return "run.wait() tells why" if self.error is not None else "it was stopped before its first step"
