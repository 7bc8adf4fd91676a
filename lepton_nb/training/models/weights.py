"""The same weights in both frameworks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from lepton_nb.errors import TrainingError

if TYPE_CHECKING:
    import torch

Array = npt.NDArray[Any]


def layer_name(path: str) -> str:
    """The name in Keras of the layer that is at `path` in the PyTorch module."""
    name = path.replace(".", "_")
    return f"layer_{name}" if name[0].isdigit() else name


def copy_weights(module: torch.nn.Module, model: Any) -> None:
    """Put the weights of `module` into `model`, a keras.Model that was built from the same description.

    Both then are the same function. Raises TrainingError if the two are not of one description.
    """
    parts = {layer_name(path): part for path, part in module.named_modules() if path}
    for layer in model.layers:
        if not layer.weights:
            continue
        part = parts.get(layer.name)
        values = None if part is None else _in_keras(layer, part)
        if values is None or [value.shape for value in values] != [tuple(weight.shape) for weight in layer.weights]:
            raise TrainingError(
                f"the layer {layer.name!r} has no counterpart in the PyTorch module; build both from one description, "
                "which differs in framework alone",
                layer=layer.name,
            )
        layer.set_weights(values)


def _in_keras(layer: Any, part: torch.nn.Module) -> list[Array] | None:
    kind = type(part).__name__
    found = {name: value.detach().cpu().numpy() for name, value in part.named_parameters(recurse=False)}
    if kind == "Embedding":
        return [found["weight"]]
    if kind == "GRU":
        biases = np.stack([_update_first(found["bias_ih_l0"]), _update_first(found["bias_hh_l0"])])
        return [_update_first(found["weight_ih_l0"]).T, _update_first(found["weight_hh_l0"]).T, biases]
    if kind == "LSTM":
        return [found["weight_ih_l0"].T, found["weight_hh_l0"].T, found["bias_ih_l0"] + found["bias_hh_l0"]]
    if kind in ("LayerNorm", "GroupNorm"):
        return [found["weight"], found["bias"]]
    if kind in ("Linear", "Conv1d", "Conv2d"):
        # (outputs, inputs, ...) → (..., inputs, outputs)
        weight = found["weight"]
        return [weight.transpose(*range(2, weight.ndim), 1, 0), found["bias"]]
    return None


def _update_first(gates: Array) -> Array:
    """PyTorch's gates reset, update, new in the order of Keras: update, reset, new."""
    reset, update, new = np.split(gates, 3)
    return np.concatenate([update, reset, new])
