"""A trained PyTorch model, as `Trained` needs it: read from its weights, and asked for outputs."""

from __future__ import annotations

import io
import pickle
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from lepton_nb.errors import TrainingError
from lepton_nb.training import models
from lepton_nb.training.batches import Array


def read(described: Any, shape: tuple[int, ...], seed: int, dtype: str, weights: bytes) -> nn.Module:
    """The module, on the CPU, ready to predict. Raises TrainingError if the weights are of another one."""
    built: nn.Module = models.build(described, shape, seed, framework="torch").to("cpu", getattr(torch, dtype))
    try:
        found = torch.load(io.BytesIO(weights), weights_only=True)
    except (RuntimeError, pickle.UnpicklingError, EOFError) as error:
        raise TrainingError(f"the file of the weights is damaged: {error}") from error
    try:
        built.load_state_dict(found)
    except RuntimeError as error:
        raise TrainingError(f"the weights do not fit the model: {error}") from error
    return built.eval()


def outputs(model: nn.Module, features: Array) -> npt.NDArray[np.float64]:
    """Raw outputs for `features` (rows, ...)."""
    with torch.inference_mode():
        found: npt.NDArray[np.float64] = model(torch.tensor(features)).double().numpy()
    return found
