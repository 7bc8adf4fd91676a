"""A step and a validation of a Keras model as graphs: forward, backward, the sum over ranks, the update."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from lepton_nb.training.batches import Array
from lepton_nb.training.engine import Wishes
from lepton_nb.training.keras_group import Group
from lepton_nb.training.keras_loss import figure_sum, fitting, loss_sum
from lepton_nb.training.spec import Task, TrainingSpec

# The loss, what the batch counts, and the wishes.
_FACTS = 2 + len(Wishes._fields)


class Graphs:
    """One graph for each purpose, whatever the number of rows: ranks with shares of other sizes must meet in one sum.

    weights: of the classes, None for none; rows: the shapes of a row's features and target. All but `end` and `look`
    take features, target, and in one tensor the rows of the whole batch, whether these count, and the wishes.

    whole: the step of a batch in one piece, with the norm of the gradient; quiet: without it, as it is a good part of
    a small step, and few ask for it. part: of one piece, what `end` takes when all pieces are added up. look: the sums
    of loss and figure over some rows, and the model's outputs.
    """

    def __init__(
        self,
        model: Any,
        optimizer: Any,
        group: Group,
        spec: TrainingSpec,
        task: Task,
        weights: Array | None,
        *,
        rows: tuple[tuple[int, ...], tuple[int, ...]],
    ) -> None:
        self.model, self._optimizer, self._group, self._spec, self._task = model, optimizer, group, spec, task
        self._dtype = tf.as_dtype(spec.row_dtype)
        self._weights = None if weights is None else tf.constant(weights, self._dtype)
        self._learnt = model.trainable_variables
        self._sizes = [int(np.prod(value.shape)) for value in self._learnt]
        run = group.strategy.run
        given = [tf.TensorSpec([None, *shape], self._dtype) for shape in rows]
        # In one tensor, as each that is handed in costs time.
        taken = [*given, tf.TensorSpec([2 + len(Wishes._fields)], self._dtype)]
        flat = tf.TensorSpec([sum(self._sizes) + _FACTS], self._dtype)
        self.whole, self.quiet = (
            tf.function(
                lambda *given, told=told: run(self._step, (told, *given)), input_signature=taken, autograph=False
            )
            for told in (True, False)
        )
        self.part = tf.function(lambda *given: run(self._flat, given), input_signature=taken, autograph=False)
        self.end = tf.function(lambda values: run(self._finish, (values,)), input_signature=[flat], autograph=False)
        self.look = tf.function(self._measure, input_signature=given, autograph=False)

    @property
    def gradients(self) -> int:
        """Of all weights that are trained, how many numbers."""
        return sum(self._sizes)

    @property
    def weighted(self) -> bool:
        """Whether classes have weights of their own."""
        return self._weights is not None

    def _flat(self, *given: Any) -> Any:
        """Of one piece, in one tensor: the gradient and its facts."""
        *gradient, facts = self._pass(*given)
        return tf.concat([*(tf.reshape(part, [-1]) for part in gradient), facts], axis=0)

    def _pass(self, x: Any, y: Any, said: Any) -> list[Any]:
        """Of one piece: the gradient by weight, and in one tensor its loss, what it counts, and the wishes."""
        total, kept, wish = said[0], said[1] > 0, said[2:]
        counts = tf.zeros([], self._dtype)
        rows = tf.cast(tf.shape(x)[0], self._dtype)
        values = rows / tf.cast(tf.size(y), self._dtype)
        with tf.GradientTape() as tape:
            output, wanted = fitting(self.model(x, training=True), y, self._task)
            weights = None if self._weights is None else tf.gather(self._weights, tf.cast(wanted, tf.int64))
            # Each rank divides by the rows of all of them, so that the sum over ranks is the mean's gradient.
            loss = loss_sum(output, wanted, self._task, weights) * values / total
            if self.model.losses:
                loss += tf.add_n([tf.cast(part, self._dtype) for part in self.model.losses]) * rows / total
            loss = tf.where(kept, loss, tf.zeros_like(loss))
        if weights is not None:
            counts = tf.where(kept, tf.reduce_sum(weights) * values / total, counts)
        found = tape.gradient(loss, self._learnt, unconnected_gradients=tf.UnconnectedGradients.ZERO)
        gradient = [tf.convert_to_tensor(part) for part in found]
        for part, value in zip(gradient, self._learnt, strict=True):
            part.set_shape(value.shape)  # the graph does not always know it, as with a recurrent layer
        return [*gradient, tf.concat([[loss, counts], wish], axis=0)]

    def _step(self, told: bool, *given: Any) -> Any:
        return self._apply(self._group.sum_in_step(self._pass(*given)), told=told)

    def _finish(self, flat: Any) -> Any:
        """The step of pieces that were added up: see `_flat`."""
        *parts, facts = tf.split(self._group.sum_in_step(flat), [*self._sizes, _FACTS])
        gradient = [tf.reshape(part, value.shape) for part, value in zip(parts, self._learnt, strict=True)]
        return self._apply([*gradient, facts])

    def _apply(self, added: list[Any], *, told: bool = True) -> Any:
        """The optimizer's step with what `_pass` gave, added up over the ranks: loss, counted, wishes, and the norm.

        told: whether the norm is wanted; it is 0 otherwise.
        """
        *whole, facts = added
        if self._weights is not None:
            whole = [part / facts[1] for part in whole]
            facts = tf.concat([facts[:1] / facts[1], facts[1:]], axis=0)
        norm = tf.linalg.global_norm(whole) if told else tf.zeros([], self._dtype)
        if self._spec.clip_norm is not None:
            shorter = tf.where(norm > self._spec.clip_norm, self._spec.clip_norm / norm, 1.0)
            whole = [part * shorter for part in whole]
        if self._spec.weight_decay and self._spec.optimizer != "adamw":
            decay = self._spec.weight_decay
            whole = [part + decay * tf.convert_to_tensor(v) for part, v in zip(whole, self._learnt, strict=True)]
        self._optimizer.apply(whole, self._learnt)
        return tf.concat([facts, [norm]], axis=0)

    def _measure(self, x: Any, y: Any) -> Any:
        output, wanted = fitting(self.model(x, training=False), y, self._task)
        loss = tf.cast(loss_sum(output, wanted, self._task), tf.float64)
        return tf.stack([loss, figure_sum(output, wanted, self._task)]), output
