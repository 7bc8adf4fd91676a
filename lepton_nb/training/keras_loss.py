"""Losses and figures of Keras models, as sums over rows, so that ranks can add them up exactly."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from lepton_nb.training.spec import Task


def fitting(output: Any, target: Any, task: Task) -> tuple[Any, Any]:
    """Output and target in the shapes and types that the loss of `task` takes: (values,) or (values, classes).

    A row with a target of several steps has as many values.
    """
    output = tf.cast(output, target.dtype)
    if task == "multiclass":
        return tf.reshape(output, [-1, output.shape[-1]]), tf.cast(tf.reshape(target, [-1]), tf.int64)
    return tf.reshape(output, [-1]), tf.reshape(target, [-1])


def loss_sum(output: Any, target: Any, task: Task, weights: Any = None) -> Any:
    """The loss summed over values: binary cross-entropy of logits, cross-entropy of logits, or squared error.

    weights: what each value counts (values,); one without.
    """
    if task == "binary":
        losses = tf.nn.sigmoid_cross_entropy_with_logits(labels=target, logits=output)
    elif task == "multiclass":
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=target, logits=output)
    else:
        losses = tf.math.squared_difference(output, target)
    return tf.reduce_sum(losses if weights is None else losses * weights)


def figure_sum(output: Any, target: Any, task: Task) -> Any:
    """Values predicted right (classes), or the sum of absolute errors (regression), as float64."""
    if task == "regression":
        return tf.cast(tf.reduce_sum(tf.abs(output - target)), tf.float64)
    right = tf.equal(output > 0, target > 0.5) if task == "binary" else tf.equal(tf.argmax(output, axis=1), target)
    return tf.reduce_sum(tf.cast(right, tf.float64))
