"""A trained Keras model, as `Trained` needs it: read from its weights, and asked for outputs."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from lepton_nb.errors import TrainingError
from lepton_nb.training import arrays, models
from lepton_nb.training.batches import Array


def read(described: Any, shape: tuple[int, ...], seed: int, dtype: str, weights: bytes) -> Any:
    """The keras.Model, ready to predict. Raises TrainingError if the weights are of another one."""
    built = models.build(
        described, shape, seed, dtype="float64" if dtype == "float64" else "float32", framework="keras"
    )
    found = arrays.unpacked(weights)["weights"]
    if [list(value.shape) for value in built.weights] != [list(value.shape) for value in found]:
        raise TrainingError("the weights do not fit the model: it has others, or in another order")
    built.set_weights(found)
    return built


def outputs(model: Any, features: Array) -> npt.NDArray[np.float64]:
    """Raw outputs for `features` (rows, ...)."""
    found: npt.NDArray[np.float64] = np.asarray(model(features, training=False), dtype=np.float64)
    return found
