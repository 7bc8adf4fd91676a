"""An ONNX file that was just written, run by onnxruntime."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from lepton_nb.errors import TrainingError

Numbers = npt.NDArray[Any]


def load(path: Path, instead: str, dtype: str) -> Callable[[Numbers], Numbers]:
    """The file's first output as a function of rows, the only input.

    instead: the format that an error recommends. Raises TrainingError where onnxruntime cannot run it.
    """
    import onnxruntime

    def refused(error: Exception) -> TrainingError:
        advice = ", or train with precision='float32'" if dtype == "float64" else ""
        reason = str(error).splitlines()[0]
        return TrainingError(f"onnxruntime cannot run the model: {reason}; use format={instead!r}{advice}")

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime has a class of its own for each
        raise refused(error) from error
    name = session.get_inputs()[0].name

    def run(rows: Numbers) -> Numbers:
        try:
            return np.asarray(session.run(None, {name: rows})[0])
        except Exception as error:
            raise refused(error) from error

    return run
