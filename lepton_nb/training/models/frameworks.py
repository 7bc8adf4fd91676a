"""The two frameworks: their names, and Keras on the one backend that our ranks speak."""

from __future__ import annotations

import contextlib
import importlib
import os
import re
import sys
import tempfile
from collections.abc import Iterator
from typing import Any, Literal

from lepton_nb.errors import TrainingError

Framework = Literal["torch", "keras"]
FRAMEWORKS: tuple[Framework, ...] = ("torch", "keras")

_BACKEND = "KERAS_BACKEND"
_LOG_LEVEL = "TF_CPP_MIN_LOG_LEVEL"
# What TensorFlow's libraries tell everybody when they are loaded: that there is no GPU, and what else they could do.
_NEWS = re.compile(
    rb"WARNING: All log messages before absl::InitializeLog|To enable the following instructions:"
    rb"|[IWE]\d{4} [\d:.]+ +\d+ [\w.]+:\d+\] "
)


def load_keras() -> Any:
    """The module `keras`, on TensorFlow; the environment is left as it was.

    What TensorFlow logs while it is loaded is kept off stderr, unless TF_CPP_MIN_LOG_LEVEL is set.
    Raises TrainingError if another backend is chosen, or Keras or TensorFlow is not installed.
    """
    given = os.environ.get(_BACKEND)
    if "keras" not in sys.modules and given is not None:
        _require_tensorflow(given)
    # A file in the user's home may name another backend; the variable goes before it.
    os.environ[_BACKEND] = given or "tensorflow"
    try:
        with _without_news():
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


@contextlib.contextmanager
def _without_news() -> Iterator[None]:
    """Hold back what comes on stderr, and then let it through but for TensorFlow's news; all of it after an error."""
    if "tensorflow" in sys.modules or _LOG_LEVEL in os.environ:
        yield
        return
    with contextlib.ExitStack() as undo:
        held = undo.enter_context(tempfile.TemporaryFile())
        # Its libraries write to the file descriptor; sys.stderr may be something else, as in a notebook.
        stderr = os.dup(2)
        undo.callback(os.close, stderr)
        os.dup2(held.fileno(), 2)
        os.environ[_LOG_LEVEL] = "2"
        news: re.Pattern[bytes] | None = None
        try:
            yield
            # Looking for GPUs, which it would do with the first model, has news too.
            importlib.import_module("tensorflow").config.list_physical_devices()
            news = _NEWS
        finally:
            del os.environ[_LOG_LEVEL]
            os.dup2(stderr, 2)
            held.seek(0)
            for line in held:
                if news is None or not news.match(line):
                    os.write(2, line)


def _require_tensorflow(backend: str) -> None:
    if backend != "tensorflow":
        raise TrainingError(
            f"Keras is set to the backend {backend!r}, and models are trained on TensorFlow; set the environment "
            f"variable {_BACKEND}=tensorflow before Keras is imported, and restart the kernel",
            backend=backend,
        )
