"""What a framework does for the training loop: the contract that every engine keeps. No framework here."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np

from lepton_nb.errors import TrainingError
from lepton_nb.training.array_rows import row_of
from lepton_nb.training.batches import Array, Batch, TargetFacts
from lepton_nb.training.spec import Task

FIGURE: dict[Task, str] = {"binary": "accuracy", "multiclass": "accuracy", "regression": "mae"}


class PeerLostError(Exception):
    """Another rank went away in the middle of a sum; that rank's own error is the cause."""


class Wishes(NamedTuple):
    """What a rank wants to happen after a step; together: what at least one rank wants."""

    stop: bool = False
    pause: bool = False
    save: bool = False


@dataclass(frozen=True, slots=True)
class Outcome:
    """A step over all ranks: `loss` is the mean over what the batch counts (`counted`), before the step.

    gradient_norm: over all weights before clipping; None where nobody asked. Every rank has the same.
    """

    loss: float
    counted: float
    wishes: Wishes
    gradient_norm: float | None


class Engine(Protocol):
    """One rank's model, its optimizer and its place among the ranks.

    All methods that talk to other ranks (step, validate, add_up, copy_weights, state, weights_file) are called by
    every rank in the same order.
    """

    rank: int
    ranks: int
    threads: int
    # False where no rank can do a pass without the others.
    can_rehearse: bool
    # Whether there is anything to `compile`, and with what.
    can_compile: bool

    @property
    def gradients(self) -> int:
        """How many numbers are added up over the ranks in each step."""
        ...

    def output_shape(self, features: Array) -> tuple[int, ...]:
        """The shape of the model's output for `features` (rows, ...). Raises TrainingError where it takes none."""
        ...

    def begin(self, task: Task, weights: Array | None, target: tuple[int, ...]) -> None:
        """Get ready to train for `task`.

        weights: what a row of each class counts; target: the shape of one row's target.
        """
        ...

    def step(self, batch: Batch, rate: float, wishes: Wishes, clip_norm: float | None, *, tell: bool) -> Outcome:
        """One optimizer step at the learning rate `rate`; `tell` asks for the gradient norm.

        The gradient is that of the mean loss of the whole batch. Where the loss is not finite the weights may be lost.
        """
        ...

    def validate(self, pieces: Iterator[tuple[Array, Array]], rows: int) -> dict[str, float]:
        """ "loss", the figure of the task and the wanted metrics over the `rows` rows that all ranks have together."""
        ...

    def rehearsed(self, batch: Batch, threads: int) -> AbstractContextManager[Callable[[], None]]:
        """A forward and backward pass over `batch`, all of it on this rank alone, to be timed within the context.

        threads: what the pass may use, where the framework can still change that. The run goes on as if it had not
        been.
        """
        ...

    def compile(self, batch: Batch | None) -> None:
        """Compile the passes over shares as large as that of `batch`, when the next comes; None: no longer."""
        ...

    def rehearsed_sum(self, numbers: int) -> Callable[[], None]:
        """A sum of so many numbers over all ranks, to be timed; all take part."""
        ...

    def add_up(self, values: Array) -> Array:
        """The sum of `values` (float64) over all ranks; all take part."""
        ...

    def not_finite(self) -> str | None:
        """The name of a weight that is not finite."""
        ...

    def copy_weights(self) -> Any:
        """The weights as they are now, to be put back or kept in a state; all ranks take part, rank 0's are whole."""
        ...

    def put_weights(self, weights: Any) -> None:
        """Go back to `copy_weights`."""
        ...

    def identity(self) -> dict[str, Any]:
        """What of the model must be the same when a run goes on, as plain values."""
        ...

    def state(self) -> dict[str, Any]:
        """Weights, optimizer and random states, to be packed; all ranks take part, rank 0's is whole."""
        ...

    def restore(self, state: dict[str, Any], step: int) -> None:
        """Go on from `state`, after `step` steps."""
        ...

    def pack(self, values: dict[str, Any]) -> bytes:
        """Values of `state` and plain values, as bytes in which no code lies."""
        ...

    def unpack(self, content: bytes) -> dict[str, Any]:
        """What `pack` made; nothing in it is executed. Raises TrainingError for anything else."""
        ...

    def weights_file(self) -> bytes:
        """The weights as `Trained` reads them; all ranks take part."""
        ...


def other_rows(takes: tuple[int, ...], shape: tuple[int, ...]) -> TrainingError:
    """The error for a model that takes rows of the shape `takes`, for rows of another."""
    return TrainingError(
        f"the model takes rows with {row_of(takes)}, and these have {row_of(shape)}; build it for these, or give a "
        "function that builds it and takes the number of features (or the shape of a row)",
        takes=takes,
        shape=shape,
    )


def class_weights(wanted: Any, task: Task, facts: TargetFacts) -> Array | None:
    """What a row of each class counts, by class number; None where nothing is wanted.

    "balanced" is rows / (classes * rows of the class). Raises TrainingError for a regression, and for a class without
    a weight.
    """
    if wanted is None:
        return None
    if task == "regression" or facts.counts is None:
        raise TrainingError("class_weights are for classes, and this is a regression; leave them out")
    counts = np.array(facts.counts)
    if wanted == "balanced":
        balanced: Array = counts.sum() / (np.count_nonzero(counts) * np.maximum(counts, 1))
        return balanced
    missing = [number for number in np.flatnonzero(counts).tolist() if number not in wanted]
    if missing:
        raise TrainingError(
            f"class_weights has no weight for class {missing[0]}, which the training rows hold; add it",
            missing=missing[0],
        )
    return np.array([float(wanted.get(number, 1.0)) for number in range(len(counts))])
