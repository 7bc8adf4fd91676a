"""Keras models as SavedModel folders and ONNX files, with a free number of rows."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from lepton_nb.errors import TrainingError
from lepton_nb.training import onnx_run
from lepton_nb.training.export import INPUT, Wanted
from lepton_nb.training.quiet import quiet
from lepton_nb.training.spec import Task

Numbers = npt.NDArray[Any]


def outputs(model: Any, rows: Numbers) -> Numbers:
    """What the model itself gives for rows, raw."""
    return np.asarray(keras.ops.convert_to_numpy(model(rows, training=False)))


def size_bytes(model: Any) -> int:
    """Bytes of the weights."""
    return sum(int(np.prod(value.shape)) * np.dtype(value.dtype).itemsize for value in model.weights)


def write(model: Any, wanted: Wanted, path: Path) -> None:
    """Write `model`. Raises TrainingError where it cannot be brought into the format."""
    writers = {"saved_model": write_saved_model, "onnx": write_onnx}
    writers[wanted.format](model, wanted.row_shape, wanted.dtype, path, wanted.task, wanted.last_is_one)


def load(wanted: Wanted, path: Path) -> Callable[[Numbers], Numbers]:
    """What `write` just wrote, as a function of rows. Raises TrainingError where its runtime cannot run it."""
    if wanted.format == "onnx":
        return onnx_run.load(path, "saved_model", wanted.dtype)
    import tensorflow as tf

    with quiet("tensorflow"):
        loaded = tf.saved_model.load(str(path))
    return lambda rows: np.asarray(loaded.serve(tf.constant(rows)))


def write_saved_model(
    model: Any, row_shape: tuple[int, ...], dtype: str, path: Path, task: Task | None = None, last_is_one: bool = False
) -> None:
    """A SavedModel with the signature "serve": (rows, *row_shape) → logits, or predictions where `task` is given."""
    _export(predicting(model, row_shape, dtype, task, last_is_one), path, "tf_saved_model")


def write_onnx(
    model: Any, row_shape: tuple[int, ...], dtype: str, path: Path, task: Task | None = None, last_is_one: bool = False
) -> None:
    """An ONNX file; Keras needs the package tf2onnx for it. Raises TrainingError where it is missing."""
    if importlib.util.find_spec("tf2onnx") is None:
        raise TrainingError(
            "Keras writes ONNX by the package tf2onnx, which is not here; use format='saved_model', or install it: "
            "pip install tf2onnx",
            missing=("tf2onnx",),
        )
    _export(predicting(model, row_shape, dtype, task, last_is_one), path, "onnx")


def _export(model: Any, path: Path, form: str) -> None:
    try:
        with quiet("tensorflow"):
            model.export(str(path), format=form, verbose=False)
    except OSError:
        raise
    except Exception as error:  # whatever the layers of the model raise
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise TrainingError(f"the model cannot be written as {form!r}: {lines[0]}", format=form) from error


def predicting(model: Any, row_shape: tuple[int, ...], dtype: str, task: Task | None, last_is_one: bool) -> Any:
    """A functional model around `model`, in its evaluation form, with our name for the input."""
    rows = keras.Input(row_shape, dtype=dtype, name=INPUT)
    found = model(rows, training=False)
    if task == "multiclass":
        found = keras.ops.softmax(found, axis=-1)
    elif task is not None:
        found = keras.ops.squeeze(found, axis=-1) if last_is_one else found
        found = keras.ops.sigmoid(found) if task == "binary" else found
    return keras.Model(rows, found)
