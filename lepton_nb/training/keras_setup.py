"""What a Keras rank makes before its first step: the model and the optimizer."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from lepton_nb.errors import TrainingError
from lepton_nb.training import models
from lepton_nb.training.settle import check_compiled
from lepton_nb.training.spec import TrainingSpec

# PyTorch's, so that one vocabulary means one thing; Keras has 1e-7.
EPSILON = 1e-8


def build(model: Any, shape: tuple[int, ...], spec: TrainingSpec, rank: int, ranks: int) -> Any:
    """The model, within the strategy's scope. Raises TrainingError for layers whose result depends on the ranks."""
    built = models.build(model, shape, spec.seed, dtype=spec.row_dtype, framework="keras")
    # A function's model is seen here first, where it is no longer known which options were given.
    check_compiled(built, () if spec.loss == "auto" else ("loss", "optimizer"))
    if spec.precision == "mixed_bfloat16":
        for layer in built._flatten_layers():
            layer.dtype_policy = keras.DTypePolicy("mixed_bfloat16")
    if ranks > 1:
        for layer in built._flatten_layers():
            if isinstance(layer, keras.layers.BatchNormalization):
                raise TrainingError(
                    f"the layer {layer.name} (BatchNormalization) would see each worker's rows alone, so the result "
                    "would depend on their number; use LayerNormalization or GroupNormalization instead, or workers=1",
                    layer=layer.name,
                )
    if not built.trainable_variables:
        raise TrainingError("the model has no weights to train; unfreeze some (trainable=True)")
    for state in noise(built):
        # Each rank draws its own noise (dropout), the same in every run.
        state.assign(np.array([spec.seed % 2**32, rank], dtype=state.dtype))
    return built


def noise(model: Any) -> list[Any]:
    """The states of the model's random numbers."""
    weights = {id(value) for value in model.weights}
    return [value for value in model.variables if id(value) not in weights and "seed" in value.path]


def make_optimizer(spec: TrainingSpec) -> Any:
    """Keras's own. Adam and SGD take weight decay as part of the gradient, which the engine adds, as PyTorch does."""
    # Plain Python numbers would become float32 on their way, also for float64 weights; NumPy's float32 is no float.
    real = np.float64 if spec.row_dtype == "float64" else float
    if spec.optimizer == "sgd":
        return _taking_sums(keras.optimizers.SGD)(spec.learning_rate, momentum=real(spec.momentum))
    betas = {"beta_1": real(0.9), "beta_2": real(0.999), "epsilon": real(EPSILON)}
    if spec.optimizer == "adamw":
        return _taking_sums(keras.optimizers.AdamW)(spec.learning_rate, weight_decay=real(spec.weight_decay), **betas)
    return _taking_sums(keras.optimizers.Adam)(spec.learning_rate, **betas)


def _taking_sums(kind: Any) -> Any:
    """The optimizer for gradients that have been added up already; Keras 3.15 would add them up once more."""

    def as_they_are(self: Any, pairs: Any) -> Any:
        return pairs

    return type(kind.__name__, (kind,), {"_all_reduce_sum_gradients": as_they_are})


def row_shape(model: Any) -> tuple[int, ...] | None:
    """The shape of a row as the model was built for it; None where it does not tell."""
    try:
        shape = model.input_shape[1:]
        return tuple(int(size) for size in shape)
    except (AttributeError, TypeError, ValueError):  # of a class of its own; with several inputs; of any size
        return None
