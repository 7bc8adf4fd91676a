"""`train` and the run that it starts."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import cloudpickle
import numpy as np
import numpy.typing as npt

from lepton_nb.background import BackgroundRun, Control
from lepton_nb.errors import TrainingError
from lepton_nb.events import Status
from lepton_nb.training import checkpoint, models
from lepton_nb.training.conductor import Plan, conduct
from lepton_nb.training.history import History
from lepton_nb.training.placement import place
from lepton_nb.training.rows import Reader, Rows, training_rows
from lepton_nb.training.spec import LOSS_OF_TASK, TASK_OF_LOSS, Task, TrainingSpec
from lepton_nb.training.trained import Trained

if TYPE_CHECKING:
    import polars as pl
    import torch

    from lepton_nb.cluster.session import Cluster
    from lepton_nb.data.frames import Frame
    from lepton_nb.data.transform import Prepared

_numbers = itertools.count(1)


def train(
    model: models.Model,
    data: Prepared | Frame,
    *,
    target: str | None = None,
    workers: int | tuple[int, int] = 2,
    epochs: int = 10,
    batch_size: int = 256,
    cluster: Cluster | None = None,
    **options: Any,
) -> TrainingRun:
    """Start to train `model` on `workers` workers, and return at once.

    model: a torch.nn.Module (a copy is trained), a function that builds one (called with the number of features
        if it takes an argument), or a description such as `lnb.models.mlp()`. The model gives logits for classes,
        (rows,), (rows, 1) or (rows, classes), without sigmoid or softmax.
    data: what `lnb.prepare` returned, or any frame with numeric columns, of which `target` is learnt.
    batch_size: rows of one step over all workers together; the result does not depend on the number of workers,
        but for random noise inside the model (dropout).
    workers: how many, or the least and the most of them.
    cluster: where to train; by default a cluster is started for this run and closed at its end.
    options: see TrainingSpec, such as learning_rate=1e-3, optimizer="adam", loss="auto", validation=rows, seed=0.

    Raises TrainingError for options, data or a cluster that do not fit; what goes wrong later is raised by `wait`.
    """
    spec = TrainingSpec.of(target=target, workers=workers, epochs=epochs, batch_size=batch_size, **options)
    models.check(model)
    spec = _with_task_of(model, spec)
    if cluster is not None:
        _check_cluster(cluster)
    if spec.patience is not None and spec.validation is None:
        raise TrainingError("patience looks at the validation loss; give rows for it: validation=...")
    spec, resumed = _with_checkpoints(spec)
    own: tempfile.TemporaryDirectory[str] | None = None
    rows, reader = training_rows(data, spec.target, spec.precision)
    validation = None
    if spec.validation is not None:
        validation = reader.read(spec.validation, need_target=True, what="the validation data")
    if cluster is not None:
        place(cluster.workers, spec.least_workers)
    if spec.max_restarts and spec.checkpoint is None:
        own = tempfile.TemporaryDirectory(prefix="lepton-nb-checkpoints-")
        spec = replace(spec, checkpoint=own.name)
    return TrainingRun(model, spec, rows, validation, reader, cluster, resumed, own).start()


def _with_checkpoints(spec: TrainingSpec) -> tuple[TrainingSpec, bytes | None]:
    """The spec with one whole path to write checkpoints to, if any, and the state to go on from, if any."""
    resumed = None if spec.resume is None else checkpoint.newest(spec.resume)
    folder = spec.checkpoint
    if folder is None and spec.resume is not None and os.path.isdir(spec.resume):
        folder = spec.resume
    if folder is None:
        return spec, resumed
    path = Path(folder).absolute()
    if path.exists() and not path.is_dir():
        raise TrainingError(f"checkpoint={str(path)!r} is a file; give a folder", path=str(path))
    mine = spec.resume is not None and path == Path(spec.resume).absolute()
    if not mine and path.is_dir() and checkpoint.steps(path):
        raise TrainingError(
            f"{path} holds the checkpoints of another run; go on with that one (resume={str(folder)!r}), or choose "
            "another folder",
            path=str(path),
        )
    return replace(spec, checkpoint=str(path)), resumed


def _with_task_of(model: models.Model, spec: TrainingSpec) -> TrainingSpec:
    """The spec with the loss of a described model's task, which "auto" would otherwise guess from the target."""
    if not isinstance(model, models.Description):
        return spec
    if spec.loss == "auto":
        return replace(spec, loss=LOSS_OF_TASK[model.task])
    if TASK_OF_LOSS[spec.loss] != model.task:
        raise TrainingError(
            f"the model has task={model.task!r}, and loss={spec.loss!r} is for {TASK_OF_LOSS[spec.loss]!r}; "
            "change one of them, or leave the loss out"
        )
    return spec


def _check_cluster(cluster: Any) -> None:
    missing = [name for name in ("client", "workers", "backend") if not hasattr(cluster, name)]
    if missing:
        raise TrainingError(
            f"cluster is a {type(cluster).__name__}; give an lnb.Cluster, as in "
            "lnb.train(model, data, cluster=lnb.Cluster(workers=2))"
        )


def _pickled(model: models.Model, spec: TrainingSpec, features: int) -> bytes:
    try:
        job: bytes = cloudpickle.dumps({"model": model, "spec": spec, "features": features})
    except Exception as error:  # whatever the parts of the model raise
        raise TrainingError(
            f"the model cannot be sent to the workers: {error}; give a function that builds it there, "
            "and open files, locks and the like inside of it"
        ) from error
    return job


class TrainingRun(BackgroundRun["TrainingRun"]):
    """A training run in the background; `wait()` returns the run itself, or raises what went wrong.

    Its `Progress` events count optimizer steps, with `phase` ("starting" or "training"), `epoch` and `loss`.
    """

    def __init__(
        self,
        model: models.Model,
        spec: TrainingSpec,
        rows: Rows,
        validation: Rows | None,
        reader: Reader,
        cluster: Cluster | None,
        resumed: bytes | None = None,
        own: tempfile.TemporaryDirectory[str] | None = None,
    ) -> None:
        super().__init__(self._conduct, name=f"training-{next(_numbers)}")
        self.spec = spec.without_data()
        self._described = model
        self._job = _pickled(model, self.spec, len(reader.names))
        self._reader = reader
        self._cluster = cluster
        self._history = History()
        self._total_steps = spec.total_steps(len(rows))
        # Given up when the ranks have them, so that a finished run does not hold on to the data.
        self._data: dict[str, Rows] = {"train": rows} | ({} if validation is None else {"validation": validation})
        self._resumed = resumed
        self._own = own
        self._restarts: tuple[str, ...] = ()
        self._task: Task | None = None
        self._weights: bytes | None = None
        self._finished: Trained | None = None
        self._steps_done = 0

    @property
    def history(self) -> pl.DataFrame:
        """One row for each finished epoch (from 1), growing while the run goes on.

        loss is the mean over the epoch's rows, each measured before the step it was part of; validation_loss and
        validation_accuracy (of classes) or validation_mae (of a regression) are measured after the epoch, null
        without validation rows and for an epoch with whose last step the run was stopped; rows_per_s counts all
        workers, without validation; elapsed_s counts from the first step.
        """
        return self._history.epochs(self._task)

    @property
    def steps(self) -> pl.DataFrame:
        """One row for every `log_every_steps` steps: the mean loss of the rows since the row before.

        Counted on across epochs; epoch, gradient_norm (over all weights, before it is clipped) and learning_rate are
        those of the row's last step.
        """
        return self._history.steps()

    @property
    def step(self) -> int:
        """Optimizer steps that are known to be done."""
        return self._steps_done

    @property
    def restarts(self) -> tuple[str, ...]:
        """Why the run started again, once for each time; see `max_restarts`."""
        return self._restarts

    @property
    def task(self) -> Task | None:
        """ "binary", "multiclass" or "regression"; None until the model has met the data."""
        return self._task

    @property
    def model(self) -> torch.nn.Module:
        """The trained module, on the CPU, ready to predict. Raises TrainingError while there is none."""
        return self._trained().model

    def predict(self, data: Prepared | Frame) -> npt.NDArray[np.float64]:
        """Predictions for the rows of `data`; see `Trained.predict`."""
        return self._trained().predict(data)

    def evaluate(self, test: Prepared | Frame) -> dict[str, float]:
        """How well the model does on `test`; see `Trained.evaluate`."""
        return self._trained().evaluate(test)

    def save(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
        """Write the trained model, its preparation and history into a folder for `lnb.load`; see `Trained.save`."""
        return self._trained().save(path, overwrite=overwrite)

    def __repr__(self) -> str:
        epochs = self.history
        loss = f", loss {epochs['loss'][-1]:.4g}" if epochs.height else ""
        epoch = f"epoch {epochs.height}" + (f" of {self.spec.epochs}" if self.spec.steps is None else "")
        return f"TrainingRun {self.name}: {self.status.value}, {epoch}{loss}"

    def _conduct(self, control: Control) -> Self:
        control.progress(0, self._total_steps, phase="starting")
        with self._own or contextlib.nullcontext(), self._open_cluster() as cluster:
            plan = self._plan(cluster)
            while True:
                try:
                    result = conduct(cluster, plan, control, lambda message: self._hear(message, control))
                    break
                except TrainingError as error:
                    self._note_restart(error, control)
                    plan = replace(plan, arrays={**plan.arrays, **self._last_state()})
                    control.progress(self._steps_done, self._total_steps, phase="restarting")
        if result is not None:
            self._weights = result.weights
        return self

    def _note_restart(self, error: TrainingError, control: Control) -> None:
        """Note why the run starts again; raises the error where it may not."""
        if control.stopping or getattr(error, "cause", None) not in ("lost", "crash"):
            raise error
        if len(self._restarts) == self.spec.max_restarts:
            if self._restarts:
                error.add_note(f"The run was started again {len(self._restarts)} times before: {self._restarts}")
            raise error
        self._restarts = (*self._restarts, str(error).splitlines()[0])

    def _last_state(self) -> dict[str, npt.NDArray[Any]]:
        """The newest checkpoint, for the ranks; nothing where there is none yet."""
        assert self.spec.checkpoint is not None
        if not checkpoint.steps(Path(self.spec.checkpoint)):
            return {}
        return {"resume": np.frombuffer(checkpoint.newest(self.spec.checkpoint), np.uint8)}

    @contextlib.contextmanager
    def _open_cluster(self) -> Any:
        if self._cluster is not None:
            yield self._cluster
            return
        from lepton_nb.cluster.session import Cluster

        with Cluster(workers=self.spec.most_workers) as own:
            yield own

    def _plan(self, cluster: Cluster) -> Plan:
        path = json.dumps([entry for entry in sys.path if entry]).encode()
        arrays: dict[str, npt.NDArray[Any]] = {
            "job": np.frombuffer(self._job, np.uint8),
            "path": np.frombuffer(path, np.uint8),
        }
        for part, rows in self._data.items():
            assert rows.target is not None
            arrays |= {f"{part}_features": rows.features, f"{part}_target": rows.target}
        if self._resumed is not None:
            arrays["resume"] = np.frombuffer(self._resumed, np.uint8)
        self._data, self._job, self._resumed = {}, b"", None
        return Plan(
            least=self.spec.least_workers,
            most=self.spec.most_workers,
            framework="torch",
            device="cuda" if cluster.backend == "cuda" else "cpu",
            arrays=arrays,
            start_timeout_s=self.spec.start_timeout_s,
        )

    def _hear(self, message: Mapping[str, Any], control: Control) -> None:
        """Note a message of a rank. Each may come twice: as an event, and with the result."""
        if message["kind"] == "ready" and self._task is None:
            self._task = message["task"]
            control.progress(0, self._total_steps, phase="training")
        elif message["kind"] == "steps":
            self._history.add_steps(message["rows"])
            last = message["rows"][-1]
            self._advance(last["step"], control, epoch=last["epoch"], loss=last["loss"])
        elif message["kind"] == "epoch":
            self._history.add_epoch(message["row"])
            row = message["row"]
            self._advance(row["step"], control, epoch=row["epoch"], loss=row["loss"])
        elif message["kind"] == "done":
            self._steps_done = message["step"]

    def _advance(self, step: int, control: Control, **values: Any) -> None:
        if step > self._steps_done:
            self._steps_done = step
            control.progress(step, self._total_steps, phase="training", **values)

    def _trained(self) -> Trained:
        if self._finished is None:
            if self._weights is None:
                raise TrainingError(
                    f"{self.name} has no trained model: it is {self.status.value}; {self._why_no_model()}"
                )
            assert self._task is not None
            facts = {
                "steps_done": self._steps_done,
                "stopped": self.status is Status.STOPPED,
                "options": self.spec.told(),
            }
            self._finished = Trained(
                self._described,
                self._reader,
                self._task,
                self._weights,
                self.spec.seed,
                self.history,
                self.steps,
                facts,
            )
        return self._finished

    def _why_no_model(self) -> str:
        if not self.status.over:
            return "call run.wait() first"
        return "run.wait() tells why" if self.error is not None else "it was stopped before its first step"
