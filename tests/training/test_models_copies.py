"""Keras models that a user brings: built from a seed, in the precision asked for, and copied."""

import random

import numpy as np
import pytest
import torch

import lepton_nb as lnb
from lepton_nb.training.models import build, check, framework_of, load_keras


@pytest.fixture(scope="module")
def keras():
    return load_keras()


@pytest.fixture(scope="module")
def tensorflow(keras):
    import tensorflow

    return tensorflow


def test_the_same_seed_gives_the_same_bits_and_leaves_the_generators_alone(keras, tensorflow):
    def drawn():
        return random.random(), np.random.random(), float(tensorflow.random.uniform(())), float(keras.random.normal(()))

    def make(shape):
        model = keras.Sequential([keras.Input((shape,)), keras.layers.Dense(3), keras.layers.Dropout(0.5)])
        model.layers[0].bias.assign(tensorflow.random.normal((3,)) + keras.random.normal((3,)))
        return model

    states = random.getstate(), np.random.get_state()
    try:
        keras.utils.set_random_seed(5)
        drawn()
        expected = drawn()
        keras.utils.set_random_seed(5)
        drawn()
        for model in (lnb.models.mlp((4,), framework="keras", dropout=0.5), make):
            one, two, other = (build(model, 3, seed, framework="keras") for seed in (1, 1, 2))
            assert all(np.array_equal(*pair) for pair in zip(one.get_weights(), two.get_weights(), strict=True))
            assert not np.array_equal(one.get_weights()[0], other.get_weights()[0])
            rows = np.ones((4, 3), "float32")
            assert np.array_equal(one(rows, training=True), two(rows, training=True))
        assert drawn() == expected
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])


def test_a_function_gets_the_shape_and_computes_in_the_precision_asked_for(keras):
    shapes = []

    def make(shape):
        shapes.append(shape)
        return keras.Sequential([keras.layers.Flatten(), keras.layers.Dense(2)])

    policy = keras.config.dtype_policy().name
    model = build(make, (4, 3), 0, dtype="float64", framework="keras")
    assert model.count_params() == 4 * 3 * 2 + 2
    assert model(np.ones((1, 4, 3))).dtype == "float64"
    assert build(make, 5, 0, framework="keras").layers[1].kernel.shape == (5, 2)
    assert framework_of(build(make, (6,), 0)) == "keras"
    assert shapes == [(4, 3), 5, 6]
    assert (keras.config.dtype_policy().name, keras.config.floatx()) == (policy, "float32")
    with pytest.raises(lnb.TrainingError, match="returned a Dense; return a keras.Model"):
        build(lambda: keras.layers.Dense(1), 3, 0, framework="keras")
    with pytest.raises(lnb.TrainingError, match="returned a Linear; return a keras.Model"):
        build(lambda: torch.nn.Linear(1, 1), 3, 0, framework="keras")
    with pytest.raises(lnb.TrainingError, match="the model cannot take rows of the shape"):
        build(lambda: keras.Sequential([keras.layers.Conv2D(1, 3)]), 3, 0, framework="keras")


def functional(keras):
    rows = keras.Input((3,))
    hidden = keras.layers.Dense(4, activation="relu")(rows)
    inner = keras.Sequential([keras.Input((4,)), keras.layers.Dense(4), keras.layers.LayerNormalization()])
    outputs = keras.layers.Dense(1)(keras.layers.Add()([hidden, inner(hidden)]) * 2.0)
    model = keras.Model(rows, outputs)
    model.layers[1].trainable = False
    return model


def sequential(keras):
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(4), keras.layers.Dropout(0.5)])
    model.compile("adam", "mse")
    return model


def called_sequential(keras):
    model = keras.Sequential([keras.layers.Dense(4)])
    model(np.ones((1, 3), "float32"))
    return model


def with_own_layer(keras):
    class Twice(keras.layers.Layer):
        def call(self, values):
            return values * 2

    return keras.Sequential([keras.Input((3,)), keras.layers.Dense(4), Twice()])


def subclassed(keras):
    class Mine(keras.Model):
        def __init__(self):
            super().__init__()
            self.frozen = keras.layers.Dense(3)
            self.dense = keras.layers.Dense(4)

        def call(self, rows):
            return self.dense(self.frozen(rows))

    model = Mine()
    model(np.ones((1, 3), "float32"))
    model.frozen.trainable = False
    return model


def with_configuration(keras):
    class Mine(keras.Model):
        def __init__(self, size, **options):
            super().__init__(**options)
            self.dense = keras.layers.Dense(size)

        def call(self, rows):
            return self.dense(rows)

        def get_config(self):
            return {**super().get_config(), "size": self.dense.units}

    model = Mine(5)
    model(np.ones((1, 3), "float32"))
    return model


@pytest.mark.parametrize(
    "make", [functional, sequential, called_sequential, with_own_layer, subclassed, with_configuration]
)
@pytest.mark.parametrize("dtype", [None, "float64"])
def test_a_keras_model_is_copied(keras, make, dtype):
    model = make(keras)
    check(model)
    copied = build(model, 3, 0, dtype=dtype)
    assert copied is not model
    assert type(copied) is type(model)
    rows = np.random.default_rng(0).normal(size=(5, 3)).astype(dtype or "float32")
    before = model(rows).numpy()
    np.testing.assert_allclose(copied(rows).numpy(), before, rtol=0, atol=0 if dtype is None else 1e-5)
    assert copied(rows).dtype == (dtype or "float32")
    assert {weight.dtype for weight in copied.trainable_weights} == {dtype or "float32"}
    assert len(copied.trainable_weights) == len(model.trainable_weights)
    for weight in copied.weights:
        weight.assign(weight + 1)
    assert np.array_equal(model(rows).numpy(), before)


def test_a_keras_model_without_weights_gets_those_of_the_seed(keras):
    model = keras.Sequential([keras.layers.Dense(4)])
    one, two, other = (build(model, 3, seed) for seed in (1, 1, 2))
    assert np.array_equal(one.get_weights()[0], two.get_weights()[0])
    assert not np.array_equal(one.get_weights()[0], other.get_weights()[0])
    assert not model.built


def test_a_keras_model_that_cannot_be_copied_is_refused(keras):
    class Sized(keras.Model):
        def __init__(self, size=4):
            super().__init__()
            self.dense = keras.layers.Dense(size)

        def call(self, rows):
            return self.dense(rows)

    class Wrong(Sized):
        def get_config(self):
            return {"size": 3}

    with pytest.raises(lnb.TrainingError, match="Sized cannot be copied: Keras does not keep .* got for size"):
        build(Sized(5), 3, 0)
    model = Wrong(5)
    model(np.ones((1, 3)))
    with pytest.raises(lnb.TrainingError, match="it has other weights. Give a function that builds it instead"):
        build(model, 3, 0)
    with pytest.raises(lnb.TrainingError, match="Legacy cannot be copied: not today. Give a function"):
        build(type("Legacy", (Sized,), {"get_config": _refuse})(), 3, 0)


def _refuse(model):
    raise ValueError("not today\n\nbecause")
