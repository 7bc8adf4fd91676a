"""What a training run is told to do: a frozen, validated value."""

from __future__ import annotations

import dataclasses
import difflib
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from lepton_nb.errors import TrainingError
from lepton_nb.training.sharding import steps_per_epoch

# torch takes 64 bits, of which ranks need some to draw noise of their own.
SEEDS = 2**32

Optimizer = Literal["adam", "adamw", "sgd"]
Loss = Literal["auto", "binary_cross_entropy", "cross_entropy", "mse"]
Precision = Literal["float32", "float64", "mixed_bfloat16"]
Parallel = Literal["auto", "sum", "ddp", "fsdp"]
Framework = Literal["auto", "torch", "keras"]
Task = Literal["binary", "multiclass", "regression"]
Schedule = Literal["constant", "linear", "cosine"]

ClassMetric = Literal["auc", "average_precision", "f1", "precision", "recall"]
NumberMetric = Literal["rmse", "r2", "explained_variance"]
CLASS_METRICS: tuple[str, ...] = get_args(ClassMetric)
NUMBER_METRICS: tuple[str, ...] = get_args(NumberMetric)
ALWAYS_MEASURED = ("loss", "accuracy", "mae")

LOSS_OF_TASK: dict[Task, Loss] = {
    "binary": "binary_cross_entropy",
    "multiclass": "cross_entropy",
    "regression": "mse",
}
TASK_OF_LOSS: dict[str, Task] = {loss: task for task, loss in LOSS_OF_TASK.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingSpec:
    """The options of `lnb.train`.

    `batch_size` is global: the rows of one optimizer step over all ranks together. `loss` "auto" takes what
    fits the target and the width of the model's output. `validation` is rows (`Prepared`, or a frame) on which
    the loss is measured after each epoch. `seed` fixes the first weights and the order of the rows.
    `log_every_steps` is the spacing of `run.steps`. Ranks that are not ready after `start_timeout_s` fail the run.

    steps: optimizer steps of the whole run, instead of `epochs`; the last epoch may then be a part of one.
    momentum: of "sgd".
    schedule, warmup_steps: how the learning rate changes; see `schedules.rate`. A run is longer than its warm-up.
    accumulation: each rank does its share of a batch in so many pieces, one after the other, to need less memory; the
        step is that of the whole batch.
    clip_norm: the largest norm of the gradient, over all weights together; a longer one is shortened to it.
    patience: end after so many epochs without a lower validation loss, and give the weights of the epoch that had the
        lowest; needs `validation`.
    class_weights: what a row of each class counts in the training loss, by class number; "balanced" is
        rows / (classes * rows of the class). The loss is then the mean with these weights. Validation has none.
    checkpoint: a folder into which the state of the run is written after every epoch, or every
        `checkpoint_every_steps` steps, when it is stopped and when it ends; the last `keep_checkpoints` of these are
        kept, and best.ckpt, of the lowest validation loss. Rank 0 writes it, so its worker must reach the folder too.
    resume: a folder of checkpoints, or one of them: the run goes on from there, in the middle of an epoch too, to the
        numbers that it would have had. Model, rows, batch_size, precision, optimizer and seed must be the same. With
        another number of workers noise (dropout) is drawn anew. A folder gets the further checkpoints as well.
    max_restarts: how often the run starts again by itself after a rank or a worker was lost or its code raised an
        error, from its last checkpoint; without `checkpoint` these are written every few seconds into a folder that
        goes with the run. An error that comes again before a further step is done ends the run.
    precision: of the weights and the arithmetic; "mixed_bfloat16" keeps weights and losses in 32 bits and multiplies in
        16, where the model's framework finds that safe.
    framework: "auto" is that of the model; a function is taken for one that builds a torch.nn.Module.
    parallel: how PyTorch adds up gradients: "ddp" is DistributedDataParallel, "sum" one sum of all gradients, which
        is faster for small models, "auto" the one of these that fits the model's size, "fsdp" FSDP2, which also deals
        the weights out among the workers.
    metrics: further figures of the validation rows of all workers together, in `history` as validation_<name>: "auc",
        "average_precision", "f1", "precision" and "recall" of classes (mean over the classes), "rmse", "r2" and
        "explained_variance" of a regression.
    stream: whether Parquet is read while it is learnt from, each rank its own row groups; None does so where its
        numbers would take more than a quarter of the memory that is left. `run.notes` says which it was.
    track: where the history is written while it grows: a folder (JSON lines, and event files for TensorBoard), or
        {"jsonl": path, "tensorboard": folder, "mlflow": uri}, of which any may be left out.
    compile: whether PyTorch compiles the forward and backward pass (torch.compile). "auto" tries it in a run of which
        at least ten minutes are left after its first steps, if the workers have a C++ compiler (on a GPU: Triton), and
        keeps what is quicker; `run.notes` says what came of it. Compiled or not, results agree to rounding.
    workers: a number, or the least and the most: (1, 4) takes as many workers as there are, also when it starts again.
        "auto" measures a few steps with one worker, with two, and so on, and takes the quickest number, which costs a
        start more where that is not all of them. `run.notes` says what it was and why.
    """

    target: str | None = None
    workers: int | tuple[int, int] | Literal["auto"] = 2
    epochs: int = 10
    batch_size: int = 256
    learning_rate: float = 1e-3
    weight_decay: float = 0.0
    optimizer: Optimizer = "adam"
    loss: Loss = "auto"
    precision: Precision = "float32"
    framework: Framework = "auto"
    parallel: Parallel = "auto"
    metrics: tuple[ClassMetric | NumberMetric, ...] = ()
    steps: int | None = None
    momentum: float = 0.0
    schedule: Schedule = "constant"
    warmup_steps: int = 0
    accumulation: int = 1
    clip_norm: float | None = None
    patience: int | None = None
    class_weights: Mapping[int, float] | Literal["balanced"] | None = None
    checkpoint: str | os.PathLike[str] | None = None
    checkpoint_every_steps: int | None = None
    keep_checkpoints: int = 2
    resume: str | os.PathLike[str] | None = None
    max_restarts: int = 3
    seed: int = 0
    validation: Any = None
    compile: bool | Literal["auto"] = "auto"
    stream: bool | None = None
    track: Any = None
    log_every_steps: int = 20
    start_timeout_s: float = 120.0

    def __post_init__(self) -> None:
        _require_workers(self.workers)
        for name in ("epochs", "batch_size", "log_every_steps", "accumulation", "keep_checkpoints"):
            _require_count(name, getattr(self, name))
        for name in ("steps", "patience", "checkpoint_every_steps"):
            if getattr(self, name) is not None:
                _require_count(name, getattr(self, name))
        for name in ("checkpoint", "resume"):
            path = getattr(self, name)
            if path is not None and (not isinstance(path, str | os.PathLike) or not os.fspath(path)):
                raise TrainingError(f"{name} is {path!r}; give the path of a folder", name=name)
        if self.checkpoint_every_steps is not None and self.checkpoint is None and self.resume is None:
            raise TrainingError("checkpoint_every_steps needs a folder to write into; give checkpoint='...' too")
        for name in ("warmup_steps", "max_restarts"):
            # False and 0.0 are no counts, though they equal 0.
            if getattr(self, name) != 0 or type(getattr(self, name)) is not int:
                _require_count(name, getattr(self, name))
        for name in ("optimizer", "loss", "precision", "schedule", "framework", "parallel"):
            _require_choice(name, getattr(self, name))
        object.__setattr__(self, "metrics", _names_of_metrics(self.metrics))
        if self.workers == "auto" and self.parallel == "fsdp":
            raise TrainingError("workers='auto' times passes of single workers, which FSDP2 has not; give their number")
        if self.compile != "auto" and not isinstance(self.compile, bool):
            raise TrainingError(f"compile is {self.compile!r}; give True, False, or 'auto' to let a measurement decide")
        if self.compile is True and (self.parallel == "fsdp" or self.framework == "keras"):
            what = "parallel='fsdp'" if self.parallel == "fsdp" else "Keras, whose steps are one graph anyway"
            raise TrainingError(f"compile=True is not for {what}; leave compile out")
        if self.stream is not None and not isinstance(self.stream, bool):
            raise TrainingError(f"stream is {self.stream!r}; give True, False, or None to let the size decide")
        _require_number("learning_rate", self.learning_rate, above=True)
        _require_number("weight_decay", self.weight_decay, above=False)
        _require_number("momentum", self.momentum, above=False)
        if self.momentum >= 1 or (self.momentum and self.optimizer != "sgd"):
            raise TrainingError(
                f"momentum is {self.momentum!r} with optimizer={self.optimizer!r}; give a number below 1, and "
                "optimizer='sgd': the others have their own",
                momentum=self.momentum,
            )
        if self.clip_norm is not None:
            _require_number("clip_norm", self.clip_norm, above=True)
        _require_weights(self.class_weights)
        _require_number("start_timeout_s", self.start_timeout_s, above=True)
        if isinstance(self.seed, bool) or not isinstance(self.seed, int) or not 0 <= self.seed < SEEDS:
            raise TrainingError(f"seed is {self.seed!r}; give an integer from 0 to {SEEDS - 1:,}", seed=self.seed)
        if self.target is not None and not isinstance(self.target, str):
            raise TrainingError(f"target is {self.target!r}; give the name of one column", target=self.target)

    @classmethod
    def of(cls, **options: Any) -> TrainingSpec:
        """The spec with `options`; TrainingError names the closest option for one that does not exist."""
        known = [field.name for field in dataclasses.fields(cls)]
        for name in options:
            if name not in known:
                raise TrainingError.unknown("option", name, [*known, "cluster"])
        return cls(**options)

    @property
    def row_dtype(self) -> Literal["float32", "float64"]:
        """The type of rows and weights."""
        return "float64" if self.precision == "float64" else "float32"

    @property
    def least_workers(self) -> int:
        """Without so many workers the run does not start."""
        if self.workers == "auto":
            return 1
        return self.workers if isinstance(self.workers, int) else self.workers[0]

    @property
    def most_workers(self) -> int | None:
        """Not more workers than these are used; None: all that there are."""
        if self.workers == "auto":
            return None
        return self.workers if isinstance(self.workers, int) else self.workers[1]

    def total_steps(self, rows: int) -> int:
        """Optimizer steps of the whole run over `rows` training rows, if nothing ends it before."""
        return self.steps or self.epochs * steps_per_epoch(rows, self.batch_size)

    def told(self) -> dict[str, Any]:
        """The options as plain values, without data and paths."""
        left_out = ("validation", "checkpoint", "resume", "target", "track")
        found = {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if f.name not in left_out}
        weights = self.class_weights
        return found | ({"class_weights": dict(weights)} if isinstance(weights, Mapping) else {})

    def without_data(self) -> TrainingSpec:
        """The same options, small enough to travel: rows go another way."""
        return dataclasses.replace(self, validation=None, track=None)


_CHOICES: dict[str, tuple[str, ...]] = {
    "optimizer": get_args(Optimizer),
    "loss": get_args(Loss),
    "precision": get_args(Precision),
    "schedule": get_args(Schedule),
    "framework": get_args(Framework),
    "parallel": get_args(Parallel),
}


def _names_of_metrics(metrics: Any) -> tuple[str, ...]:
    names = (metrics,) if isinstance(metrics, str) else tuple(metrics)
    for name in names:
        if name not in CLASS_METRICS + NUMBER_METRICS and difflib.get_close_matches(str(name), ALWAYS_MEASURED, n=1):
            raise TrainingError(
                f"the metric {name!r} need not be asked for: loss, and accuracy (of classes) or mae (of numbers), are "
                "measured wherever there are validation rows; leave it out",
                metric=name,
            )
        if name not in CLASS_METRICS + NUMBER_METRICS:
            raise TrainingError.unknown("metric", str(name), CLASS_METRICS + NUMBER_METRICS)
    return tuple(dict.fromkeys(names))


def _require_count(name: str, value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise TrainingError(f"{name} is {value!r}; give a whole number of 1 or more", name=name, value=value)


def _require_choice(name: str, value: Any) -> None:
    choices = _CHOICES[name]
    if not isinstance(value, str) or value not in choices:
        raise TrainingError.unknown(name, str(value), choices)


def _require_workers(workers: Any) -> None:
    if isinstance(workers, str):
        if workers != "auto":
            raise TrainingError(f"workers is {workers!r}; give a number, (the least, the most), or 'auto'")
        return
    if not isinstance(workers, tuple):
        _require_count("workers", workers)
        return
    for number in workers:
        _require_count("workers", number)
    if len(workers) != 2 or workers[0] > workers[1]:
        raise TrainingError(f"workers is {workers!r}; give a number, or the least and the most, such as (1, 4)")


def _require_number(name: str, value: Any, *, above: bool) -> None:
    bad = isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value)
    if bad or value < 0 or (above and value == 0):
        wanted = "a number above 0" if above else "a number of 0 or more"
        raise TrainingError(f"{name} is {value!r}; give {wanted}", name=name, value=value)


def _require_weights(weights: Any) -> None:
    if weights is None or weights == "balanced":
        return
    if not isinstance(weights, Mapping) or not weights:
        raise TrainingError(
            f"class_weights is {weights!r}; give 'balanced', or the weight of every class, such as {{0: 1.0, 1: 4.0}}"
        )
    for number, weight in weights.items():
        if isinstance(number, bool) or not isinstance(number, int) or number < 0:
            raise TrainingError(f"class_weights names the class {number!r}; classes are whole numbers from 0 on")
        _require_number(f"class_weights[{number}]", weight, above=True)
