"""The two frameworks: their names, and Keras on the one backend that our ranks speak."""

from __future__ import annotations

import importlib
import os
import sys
from typing import Any, Literal

from lepton_nb.errors import TrainingError

Framework = Literal["torch", "keras"]
FRAMEWORKS: tuple[Framework, ...] = ("torch", "keras")

_BACKEND = "KERAS_BACKEND"


def load_keras() -> Any:
    """The module `keras`, on TensorFlow; the environment is left as it was.

    Raises TrainingError if another backend is chosen, or Keras or TensorFlow is not installed.
    """
    given = os.environ.get(_BACKEND)
    if "keras" not in sys.modules and given is not None:
        _require_tensorflow(given)
    # A file in the user's home may name another backend; the variable goes before it.
    os.environ[_BACKEND] = given or "tensorflow"
    try:
        keras = importlib.import_module("keras")
        importlib.import_module("tensorflow")
    except ImportError as error:
        raise TrainingError(
            f"models with framework='keras' need Keras on TensorFlow: {error}; pip install 'lepton-nb[tensorflow]'"
        ) from error
    finally:
        if given is None:
            del os.environ[_BACKEND]
    _require_tensorflow(keras.config.backend())
    return keras


def _require_tensorflow(backend: str) -> None:
    if backend != "tensorflow":
        raise TrainingError(
            f"Keras is set to the backend {backend!r}, and models are trained on TensorFlow; set the environment "
            f"variable {_BACKEND}=tensorflow before Keras is imported, and restart the kernel",
            backend=backend,
        )
