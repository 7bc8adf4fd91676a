"""What a user's own Keras model needs: a copy of it, the precision that it computes in, and a seed."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from lepton_nb.errors import TrainingError
from lepton_nb.training.models.frameworks import load_keras
from lepton_nb.training.models.shapes import Shape
from lepton_nb.training.spec import Precision

keras = load_keras()

_FUNCTIONAL: Any = importlib.import_module("keras.src.models.functional").Functional
_FLOATS = ("float32", "float64")
_NO_CONFIGS = (keras.Model.get_config, keras.Layer.get_config)
# Names in Keras' own table of what is global.
_KERAS_GENERATORS = ("global_random_seed", "global_seed_generator")


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """TensorFlow's and Keras' own generators seeded, and put back; Keras also draws from Python's and NumPy's."""
    global_state: Any = importlib.import_module("keras.src.backend.common.global_state")
    tensorflow: Any = importlib.import_module("tensorflow.python.eager.context").context()
    # Setting a seed makes a new generator, and the first one at all: the old one waits as it is.
    old = tensorflow._seed, getattr(tensorflow, "_rng", None)
    names = {name: global_state.get_global_attribute(name) for name in _KERAS_GENERATORS}
    try:
        keras.utils.set_random_seed(seed)
        yield
    finally:
        tensorflow._seed, tensorflow._rng = old
        for name, value in names.items():
            global_state.set_global_attribute(name, value)


@contextmanager
def computing_in(dtype: Precision | None) -> Iterator[None]:
    """Layers that are made in here and say nothing else compute in `dtype`; with None, in what they would."""
    if dtype is None:
        yield
        return
    policy, floats = keras.config.dtype_policy(), keras.config.floatx()
    try:
        keras.config.set_floatx(dtype)
        keras.config.set_dtype_policy(dtype)
        yield
    finally:
        keras.config.set_floatx(floats)
        keras.config.set_dtype_policy(policy)


def with_weights(model: Any, shape: Shape) -> Any:
    """`model`, which has its weights once it has seen a row."""
    if not model.built or not model.weights:
        try:
            model(keras.ops.zeros((1, *shape), dtype=model.compute_dtype))
        except Exception as error:  # whatever the layers raise
            raise TrainingError(f"the model cannot take rows of the shape {shape}: {error}", shape=shape) from error
    return model


def copied(model: Any, shape: Shape, dtype: Precision | None) -> Any:
    """A new model with the weights of `model`, or with fresh ones where it has none yet; it computes in `dtype`.

    Raises TrainingError for a model that cannot be made again from its configuration.
    """
    try:
        with computing_in(dtype or _own_precision(model)):
            made = _made_again(model, dtype)
    except TrainingError:
        raise
    except Exception as error:  # whatever the user's layers raise
        first, _, _ = str(error).strip().partition("\n\n")
        raise _not_copied(model, " ".join(first.split())) from error
    made = with_weights(made, shape)
    if not model.built:
        return made
    values = model.get_weights()
    if [value.shape for value in values] != [tuple(weight.shape) for weight in made.weights]:
        raise _not_copied(model, "made again from its configuration, it has other weights")
    made.set_weights(values)
    layers, made_layers = model._flatten_layers(), made._flatten_layers()
    if len(layers) != len(made_layers):
        raise _not_copied(model, "made again from its configuration, it has other layers")
    # Freezing a layer freezes those within, so outer ones come first; a configuration does not tell of all of them.
    for old, new in zip(layers, made_layers, strict=True):
        if old.trainable != new.trainable:
            new.trainable = old.trainable
    return made


def _own_precision(model: Any) -> Precision | None:
    name = model.dtype_policy.name
    return name if name in _FLOATS else None


def _made_again(model: Any, dtype: Precision | None) -> Any:
    def again(layer: Any) -> Any:
        return type(layer).from_config(_retyped(layer.get_config(), dtype))

    if not isinstance(model, keras.Sequential | _FUNCTIONAL):
        return _own_class_again(model) if type(model).get_config in _NO_CONFIGS else again(model)

    def as_before(seen: Any) -> Any:
        kind = dtype if dtype is not None and seen.dtype in _FLOATS else seen.dtype
        return keras.Input(batch_shape=seen.shape, dtype=kind, name=seen.name)

    inputs = None
    if model.built:
        seen = model.inputs[0] if isinstance(model, keras.Sequential) else model.input
        inputs = keras.tree.map_structure(as_before, seen)
    return keras.models.clone_model(model, input_tensors=inputs, clone_function=again)


def _own_class_again(model: Any) -> Any:
    """Of a class without a get_config of its own, for which Keras would put defaults in place of what was given."""
    parameters = inspect.signature(type(model)).parameters.values()
    free = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    own = [p.name for p in parameters if p.kind not in free and p.name not in ("name", "trainable", "dtype")]
    if own:
        raise _not_copied(model, f"Keras does not keep what its __init__ got for {', '.join(own)}")
    return type(model)()


def _retyped(config: Any, dtype: Precision | None) -> Any:
    """The configuration of a layer, and of those within, with `dtype` for every other precision."""
    if dtype is None:
        return config
    if isinstance(config, dict):
        found = {key: _retyped(value, dtype) for key, value in config.items()}
        if found.get("class_name") == "DTypePolicy" and found["config"].get("name") in _FLOATS:
            found["config"] = {**found["config"], "name": dtype}
        if found.get("dtype") in _FLOATS:
            found["dtype"] = dtype
        return found
    if isinstance(config, list | tuple):
        return type(config)(_retyped(value, dtype) for value in config)
    return config


def _not_copied(model: Any, why: str) -> TrainingError:
    return TrainingError(
        f"the model {type(model).__name__} cannot be copied: {why}. Give a function that builds it instead, or let "
        "its get_config() return what its __init__ takes"
    )
