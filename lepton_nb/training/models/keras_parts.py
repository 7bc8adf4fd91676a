"""The described models in Keras: standard layers and operations alone, so that a saved one loads without our code."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from lepton_nb.training.models import shapes
from lepton_nb.training.models.descriptions import Convolutional, MultilayerPerceptron, Recurrent, Transformer
from lepton_nb.training.models.frameworks import load_keras
from lepton_nb.training.models.weights import layer_name
from lepton_nb.training.spec import Precision

keras = load_keras()
layers, ops = keras.layers, keras.ops

# PyTorch's; Keras has 1e-3 of its own.
_EPSILON = 1e-5
_FAR_BELOW = -1e30


def multilayer_perceptron(told: MultilayerPerceptron, shape: shapes.Shape, dtype: Precision) -> Any:
    """A functional keras.Model; layers are named after the places that they have in torch's Sequential."""
    maker = Maker(dtype)
    rows = hidden = maker.rows(shape)
    place = 0
    width = math.prod(shape)
    if len(shape) > 1:
        hidden = layers.Flatten(data_format="channels_last", dtype=dtype)(hidden)
        place = 1
    for size in told.hidden:
        hidden = maker.activation(maker.dense(hidden, width, size, str(place)), told.activation)
        place += 2
        if told.dropout:
            hidden = maker.dropout(hidden, told.dropout)
            place += 1
        width = size
    return keras.Model(rows, maker.dense(hidden, width, told.outputs, str(place)), name="mlp")


def convolutional(told: Convolutional, shape: shapes.Shape, dtype: Precision) -> Any:
    """A functional keras.Model."""
    maker = Maker(dtype)
    *space, channels = shapes.picture(shape)
    two = len(space) == 2
    rows = hidden = maker.rows(shape)
    if len(shape) == 1:
        hidden = ops.expand_dims(hidden, -1)
    convolution, pool, mean = (
        (layers.Conv2D, layers.MaxPooling2D, layers.GlobalAveragePooling2D)
        if two
        else (layers.Conv1D, layers.MaxPooling1D, layers.GlobalAveragePooling1D)
    )
    form: dict[str, Any] = {"data_format": "channels_last", "dtype": dtype}
    for number, size in enumerate(told.channels):
        drawn = maker.drawn(channels * told.kernel ** len(space))
        name = layer_name(f"blocks.{number}.convolution")
        hidden = convolution(size, told.kernel, padding="same", name=name, **drawn, **form)(hidden)
        name = layer_name(f"blocks.{number}.norm")
        hidden = layers.GroupNormalization(1, axis=-1, epsilon=_EPSILON, name=name, dtype=dtype)(hidden)
        hidden = maker.activation(hidden, told.activation)
        hidden = maker.dropout(pool(2, padding="same", **form)(hidden), told.dropout)
        channels = size
    return keras.Model(rows, maker.dense(mean(**form)(hidden), channels, told.outputs, "head"), name="cnn")


def recurrent(told: Recurrent, shape: shapes.Shape, dtype: Precision) -> Any:
    """A functional keras.Model. Padding is moved to the end instead of masked: cuDNN takes masks at the end alone."""
    maker = Maker(dtype)
    seen = shapes.sequence(shape, told.vocabulary)
    rows = maker.rows(shape, tokens=told.vocabulary is not None)
    turned = real = count = place = None
    if told.vocabulary is None:
        hidden = ops.expand_dims(rows, -1) if len(shape) == 1 else rows
        width = seen[-1]
    else:
        real = ops.not_equal(rows, 0)
        count = ops.sum(ops.cast(real, "int32"), axis=1, keepdims=True)
        padding = ops.cast(ops.logical_not(real), "int32")
        place = ops.where(real, _counted(ops.cast(real, "int32")), count + _counted(padding)) - 1
        index = _counted(ops.ones_like(rows)) - 1
        turned = ops.expand_dims(ops.where(index < count, count - 1 - index, index), -1)
        hidden = maker.embedding(ops.take_along_axis(rows, ops.argsort(place, axis=1), axis=1), told)
        width = told.embedding
    for number, size in enumerate(told.hidden):
        found = maker.recurrence(hidden, told, width, size, f"layers.{number}.onward")
        if told.bidirectional:
            back = maker.recurrence(_turn(hidden, turned), told, width, size, f"layers.{number}.backward_")
            found = ops.concatenate([found, _turn(back, turned)], axis=-1)
        hidden = maker.dropout(found, told.dropout)
        width = found.shape[-1]
    size = told.hidden[-1]
    if told.each_step:
        if place is not None:
            hidden = ops.take_along_axis(hidden, ops.expand_dims(place, -1), axis=1)
            hidden = hidden * ops.expand_dims(ops.cast(real, dtype), -1)
    else:
        last = hidden[:, -1:]
        if count is not None:
            last = ops.take_along_axis(hidden, ops.expand_dims(ops.maximum(count - 1, 0), -1), axis=1)
        if told.bidirectional:
            hidden = ops.concatenate([last[:, 0, :size], hidden[:, 0, size:]], axis=-1)
        else:
            hidden = ops.squeeze(last, 1)
        if count is not None:
            hidden = hidden * ops.cast(count > 0, dtype)
    return keras.Model(rows, maker.head(hidden, width, told), name="rnn")


def transformer(told: Transformer, shape: shapes.Shape, dtype: Precision) -> Any:
    """A functional keras.Model."""
    maker = Maker(dtype)
    seen = shapes.sequence(shape, told.vocabulary)
    rows = maker.rows(shape, tokens=told.vocabulary is not None)
    real = None
    if told.vocabulary is None:
        steps = ops.expand_dims(rows, -1) if len(shape) == 1 else rows
        hidden = maker.dense(steps, seen[-1], told.width, "inputs")
    else:
        real = ops.not_equal(rows, 0)
        hidden = maker.embedding(rows, told)
    hidden = hidden + _positions(hidden, dtype)
    visible = _visible(hidden, real, told.causal)
    for number in range(told.layers):
        name = f"blocks.{number}"
        normed = maker.norm(hidden, f"{name}.attention_norm")
        mixed = maker.attention(normed, visible, told, name)
        hidden = hidden + maker.dropout(maker.dense(mixed, told.width, told.width, f"{name}.joined"), told.dropout)
        normed = maker.norm(hidden, f"{name}.dense_norm")
        wide = maker.activation(maker.dense(normed, told.width, 4 * told.width, f"{name}.wide"), told.activation)
        narrow = maker.dense(wide, 4 * told.width, told.width, f"{name}.narrow")
        hidden = hidden + maker.dropout(narrow, told.dropout)
    hidden = maker.norm(hidden, "norm")
    if real is not None:
        hidden = hidden * ops.expand_dims(ops.cast(real, dtype), -1)
    if not told.each_step:
        if real is None:
            hidden = ops.mean(hidden, axis=1)
        else:
            count = ops.maximum(ops.sum(ops.cast(real, dtype), axis=1, keepdims=True), 1)
            hidden = ops.sum(hidden, axis=1) / count
    return keras.Model(rows, maker.head(hidden, told.width, told), name="transformer")


class Maker:
    """Makes layers that compute in `dtype` and draw their weights as PyTorch does."""

    def __init__(self, dtype: Precision) -> None:
        self._dtype = dtype

    def rows(self, shape: shapes.Shape, *, tokens: bool = False) -> Any:
        """The model's input."""
        return keras.Input(shape, dtype="int32" if tokens else self._dtype, name="rows")

    def drawn(self, inputs: int) -> dict[str, Any]:
        """Initializers for the weights and the biases of units with so many inputs."""
        return {"kernel_initializer": _evenly(inputs), "bias_initializer": _evenly(inputs)}

    def dense(self, values: Any, inputs: int, size: int, path: str) -> Any:
        """A linear layer."""
        return layers.Dense(size, name=layer_name(path), dtype=self._dtype, **self.drawn(inputs))(values)

    def norm(self, values: Any, path: str) -> Any:
        """A norm over the last dimension."""
        return layers.LayerNormalization(epsilon=_EPSILON, name=layer_name(path), dtype=self._dtype)(values)

    def embedding(self, tokens: Any, told: Recurrent | Transformer) -> Any:
        """(rows, steps) → (rows, steps, size)."""
        size = told.embedding if isinstance(told, Recurrent) else told.width
        drawn = keras.initializers.RandomNormal(0.0, 1.0)
        assert told.vocabulary is not None
        table = layers.Embedding(
            told.vocabulary, size, embeddings_initializer=drawn, name=layer_name("embedding"), dtype=self._dtype
        )
        return table(tokens)

    def dropout(self, values: Any, share: float) -> Any:
        """A share of the numbers left out in training."""
        return layers.Dropout(share, dtype=self._dtype)(values) if share else values

    def activation(self, values: Any, name: str) -> Any:
        """TensorFlow's own gelu rounds the square root of 2 to float32 in float64 too."""
        if name == "gelu":
            return values * 0.5 * (1.0 + ops.erf(values * math.sqrt(0.5)))
        return layers.Activation(name, dtype=self._dtype)(values)

    def recurrence(self, steps: Any, told: Recurrent, inputs: int, size: int, path: str) -> Any:
        """(rows, steps, inputs) → (rows, steps, size), in one direction."""
        options = {"reset_after": True} if told.cell == "gru" else {"unit_forget_bias": False}
        kind = layers.GRU if told.cell == "gru" else layers.LSTM
        layer = kind(
            size,
            return_sequences=True,
            recurrent_initializer=_evenly(size),
            name=layer_name(path),
            dtype=self._dtype,
            **self.drawn(size),
            **options,
        )
        return layer(steps)

    def attention(self, steps: Any, visible: Any, told: Transformer, name: str) -> Any:
        """(rows, steps, width) → the same."""
        count, each = told.heads, told.width // told.heads

        def split(part: str) -> Any:
            made = self.dense(steps, told.width, told.width, f"{name}.{part}")
            return ops.transpose(layers.Reshape((-1, count, each), dtype=self._dtype)(made), (0, 2, 1, 3))

        query, key, value = split("query"), split("key"), split("value")
        scores = ops.matmul(query * (1 / math.sqrt(each)), ops.transpose(key, (0, 1, 3, 2)))
        if visible is not None:
            scores = ops.where(visible, scores, _FAR_BELOW)
        mixed = ops.transpose(ops.matmul(ops.softmax(scores, axis=-1), value), (0, 2, 1, 3))
        return layers.Reshape((-1, told.width), dtype=self._dtype)(mixed)

    def head(self, hidden: Any, inputs: int, told: Recurrent | Transformer) -> Any:
        """The outputs: one number a step without a dimension of its own."""
        found = self.dense(hidden, inputs, told.outputs, "head")
        return ops.squeeze(found, -1) if told.each_step and told.outputs == 1 else found


def _evenly(inputs: int) -> Any:
    bound = 1 / math.sqrt(inputs)
    return keras.initializers.RandomUniform(-bound, bound)


def _counted(values: Any) -> Any:
    return ops.cumsum(values, axis=1)


def _turn(steps: Any, turned: Any) -> Any:
    return ops.flip(steps, axis=1) if turned is None else ops.take_along_axis(steps, turned, axis=1)


def _positions(hidden: Any, dtype: Precision) -> Any:
    """(1, steps, width): sines, then cosines, of wavelengths from 2 pi to 20,000 pi steps."""
    width = hidden.shape[-1]
    rates = np.exp(np.arange(width // 2) * (-2 * math.log(10_000) / width)).astype(dtype)
    # Counted from the rows, as numbers for every step would be written into a saved model.
    angles = (_counted(ops.ones_like(hidden[:1, :, :1])) - 1) * rates
    return ops.concatenate([ops.sin(angles), ops.cos(angles)], axis=-1)


def _visible(hidden: Any, real: Any, causal: bool) -> Any:
    """(rows or 1, 1, steps, steps): true where the step of the third sees that of the last dimension."""
    if real is None and not causal:
        return None
    index = _counted(ops.ones_like(hidden[:1, :, 0], dtype="int32"))
    here, there = ops.expand_dims(index, 2), ops.expand_dims(index, 1)
    seen = ops.greater_equal(here, there) if causal else ops.greater_equal(here, 0)
    if real is not None:
        # A step sees itself always, as in PyTorch, where the softmax over nothing would not be a number.
        seen = ops.logical_and(seen, ops.logical_or(ops.expand_dims(real, 1), ops.equal(here, there)))
    return ops.expand_dims(seen, 1)
