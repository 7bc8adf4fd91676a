"""The training loop's engine for Keras on TensorFlow: one rank's model, optimizer and place in the strategy."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from lepton_nb.errors import TrainingError
from lepton_nb.training import arrays, keras_setup, metrics, tokens
from lepton_nb.training.batches import Array, Batch
from lepton_nb.training.engine import FIGURE, Outcome, Wishes, other_rows
from lepton_nb.training.keras_graphs import Graphs
from lepton_nb.training.keras_group import Group
from lepton_nb.training.spec import Task, TrainingSpec


class KerasEngine:
    """See `Engine`. Forward, backward, the sum over ranks and the optimizer's step are one graph."""

    can_rehearse = True
    can_compile = False

    def __init__(self, model: Any, shape: tuple[int, ...], spec: TrainingSpec, group: Group) -> None:
        self._spec = spec
        self._group = group
        self.rank, self.ranks = group.rank, group.ranks
        self.threads = tf.config.threading.get_intra_op_parallelism_threads()
        self._dtype = tf.as_dtype(spec.row_dtype)
        self._shape = shape
        self._rate: float | None = None
        self._constants: dict[Any, Any] = {}
        # The type of the learning rate, too.
        keras.config.set_floatx(spec.row_dtype)
        with group.strategy.scope():
            self.model = keras_setup.build(model, shape, spec, self.rank, self.ranks)
            self._optimizer = keras_setup.make_optimizer(spec)
            self._optimizer.build(self.model.trainable_variables)

    @property
    def gradients(self) -> int:
        """Of all weights that are trained."""
        return self._graphs.gradients

    def output_shape(self, features: Array) -> tuple[int, ...]:
        """The shape of the model's output."""
        rows = tf.constant(features, self._dtype)
        try:
            output = self.model(rows, training=False)
        except Exception as error:
            outside = tokens.told(error)
            if outside is not None:
                raise outside from error
            takes = keras_setup.row_shape(self.model)
            if takes is not None and takes != self._shape:
                raise other_rows(takes, self._shape) from error
            raise TrainingError(
                f"the model cannot take a batch of the shape {tuple(rows.shape)} (rows, features): {error}"
            ) from error
        if not tf.is_tensor(output):
            raise TrainingError(f"the model returns a {type(output).__name__}; return one tensor (rows, outputs)")
        return tuple(output.shape)

    def begin(self, task: Task, weights: Array | None, target: tuple[int, ...]) -> None:
        """The graphs of a step and of validation."""
        self._task = task
        self._graphs = Graphs(
            self.model, self._optimizer, self._group, self._spec, task, weights, rows=(self._shape, target)
        )

    def step(self, batch: Batch, rate: float, wishes: Wishes, clip_norm: float | None, *, tell: bool) -> Outcome:
        """One graph, or one for each piece and one for the sum and the optimizer's step."""
        if rate != self._rate:
            self._optimizer.learning_rate.assign(rate)
            self._rate = rate
        features, target = batch.features, batch.target
        said = (batch.rows, len(target) > 0, *wishes)
        if not len(target):
            # One row of zeros, which counts nothing: all ranks must meet in the same graph.
            features, target = np.zeros((1, *features.shape[1:])), np.zeros((1, *target.shape[1:]))
        x, y = self._tensor(features), self._tensor(target)
        whole = self._graphs.whole if tell or clip_norm is not None else self._graphs.quiet
        found = self._group.meet(lambda: self._run(whole, x, y, said).numpy())
        mean, counts, *together, norm = found.tolist()
        counted = counts * batch.rows if self._graphs.weighted else batch.rows
        return Outcome(mean, float(counted), Wishes(*(value > 0 for value in together)), norm if tell else None)

    def validate(self, pieces: Iterator[tuple[Array, Array]], rows: int) -> dict[str, float]:
        """Sums over all rows of all ranks, divided."""
        sums = np.zeros(2)
        seen: list[tuple[Array, Array]] = []
        for features, target in pieces:
            found, output = self._graphs.look(self._tensor(features), self._tensor(target))
            sums += found.numpy() / max(1, int(np.prod(target.shape[1:])))
            if self._spec.metrics:
                seen.append((output.numpy(), target.reshape(-1)))
        loss, figure = (self._group.add_up(sums) / rows).tolist()
        return {"loss": loss, FIGURE[self._task]: figure, **self._metrics(seen)}

    @contextlib.contextmanager
    def rehearsed(self, batch: Batch, threads: int) -> Iterator[Callable[[], None]]:
        """The graph of one piece, which holds no sum; TensorFlow keeps the threads that it began with."""
        others = (*self.model.non_trainable_variables, *keras_setup.noise(self.model))
        kept = [(variable, variable.numpy()) for variable in others]
        x, y = self._tensor(batch.features), self._tensor(batch.target)
        said = self._constant((batch.rows, True, *Wishes()))

        def act() -> None:
            for start, stop in self._pieces(len(x)):
                self._graphs.part(x[start:stop], y[start:stop], said).numpy()

        try:
            yield act
        finally:
            for variable, value in kept:
                variable.assign(value)

    def compile(self, batch: Batch | None) -> None:
        """Nothing: they are one graph already."""

    def rehearsed_sum(self, numbers: int) -> Callable[[], None]:
        """Of as many bytes, in the graph of `add_up`."""
        values = np.zeros(max(1, numbers * self._dtype.size // 8))

        def act() -> None:
            self.add_up(values)

        return act

    def add_up(self, values: Array) -> Array:
        """Over the group, in 64 bits."""
        return self._group.add_up(np.asarray(values, dtype=np.float64))

    def not_finite(self) -> str | None:
        """The first such weight."""
        for value in self.model.trainable_variables:
            if not np.isfinite(value.numpy()).all():
                return str(value.path)
        return None

    def copy_weights(self) -> list[Array]:
        """All weights, in the model's order."""
        found: list[Array] = self.model.get_weights()
        return found

    def put_weights(self, weights: list[Array]) -> None:
        """All weights, in the model's order."""
        self.model.set_weights(weights)

    def identity(self) -> dict[str, Any]:
        """The shapes of all weights."""
        return {"framework": "keras", "weights": {str(n): list(v.shape) for n, v in enumerate(self.model.weights)}}

    def state(self) -> dict[str, Any]:
        """Weights, optimizer and the random states of all ranks."""
        mine = [np.asarray(value, dtype=np.float64) for value in keras_setup.noise(self.model)]
        random = np.zeros((self.ranks, len(mine), 2))
        for number, value in enumerate(mine):
            random[self.rank, number] = value
        return {
            "model": self.copy_weights(),
            "optimizer": [np.asarray(value) for value in self._optimizer.variables],
            "random": self._group.add_up(random),
        }

    def restore(self, state: dict[str, Any], step: int) -> None:
        """Weights, the optimizer's memory with today's learning rate, and random states."""
        self.put_weights(state["model"])
        rate = self._optimizer.learning_rate.numpy()
        for variable, value in zip(self._optimizer.variables, state["optimizer"], strict=True):
            variable.assign(value)
        self._optimizer.learning_rate.assign(rate)
        random = state["random"]
        for number, variable in enumerate(keras_setup.noise(self.model)):
            if len(random) == self.ranks:
                variable.assign(random[self.rank][number].astype(variable.dtype))
            else:
                drawn = np.array([(self._spec.seed * 1_000_003 + step) % 2**32, self.rank])
                variable.assign(drawn.astype(variable.dtype))

    def pack(self, values: dict[str, Any]) -> bytes:
        """As NumPy arrays and JSON."""
        return arrays.packed(values)

    def unpack(self, content: bytes) -> dict[str, Any]:
        """As NumPy arrays and JSON."""
        found = arrays.unpacked(content)
        if "identity" not in found:
            raise TrainingError("the checkpoint is not one of a Keras run; give the folder of this run's checkpoints")
        return found

    def weights_file(self) -> bytes:
        """All weights, in the model's order."""
        return arrays.packed({"weights": self.copy_weights()})

    def _constant(self, values: tuple[float, ...]) -> Any:
        """A tensor of these numbers; most steps have the same."""
        if values not in self._constants:
            self._constants[values] = tf.constant(values, self._dtype)
        return self._constants[values]

    def _tensor(self, values: Array) -> Any:
        return tf.constant(values, self._dtype)

    def _run(self, whole: Any, x: Any, y: Any, said: tuple[float, ...]) -> Any:
        if self._spec.accumulation == 1:
            return whole(x, y, self._constant(said))
        flat: Any = None
        for start, stop in self._pieces(len(x)):
            part = self._graphs.part(x[start:stop], y[start:stop], self._constant(said))
            flat = part if flat is None else flat + part
            said = (*said[:2], *Wishes())
        return self._graphs.end(flat)

    def _pieces(self, rows: int) -> list[tuple[int, int]]:
        """Where each of the `accumulation` pieces of a share begins and ends, without empty ones."""
        edges = np.linspace(0, rows, self._spec.accumulation + 1).round().astype(int)
        return [(start, stop) for start, stop in itertools.pairwise(edges.tolist()) if stop > start]

    def _metrics(self, seen: list[tuple[Array, Array]]) -> dict[str, float]:
        """Each metric over the rows of all ranks."""
        if not self._spec.metrics:
            return {}
        width = self.model.output_shape[-1] if self._task == "multiclass" else None
        shape = () if width is None else (width,)
        outputs = np.concatenate([part for part, _ in seen]) if seen else np.zeros((0, *shape))
        target = np.concatenate([part for _, part in seen]) if seen else np.zeros(0)
        outputs, target = self._group.gather(outputs, shape), self._group.gather(target, ())
        return {name: metrics.further(name, self._task, target, outputs) for name in self._spec.metrics}
