"""What a PyTorch rank makes before its first step: the model and the optimizer."""

from __future__ import annotations

import contextlib
from typing import Any

import torch
from torch import nn

from lepton_nb.errors import TrainingError
from lepton_nb.training import models
from lepton_nb.training.spec import TrainingSpec
from lepton_nb.training.torch_group import Group
from lepton_nb.training.torch_parallel import learnt


def dtype_of(precision: str) -> torch.dtype:
    """The type of the weights and of the rows: a mixed precision keeps them in 32 bits."""
    return torch.float64 if precision == "float64" else torch.float32


def build(model: Any, shape: tuple[int, ...], spec: TrainingSpec, group: Group) -> nn.Module:
    """The model with rank 0's weights. Raises TrainingError for layers whose result depends on the number of ranks."""
    built = models.build(model, shape, spec.seed)
    if not isinstance(built, nn.Module):
        raise TrainingError(
            f"the model function returned a {type(built).__name__}, and framework='torch' was asked for or assumed; "
            "return a torch.nn.Module, or say framework='keras'"
        )
    built = built.to(group.device, dtype_of(spec.precision))
    if group.ranks > 1:
        for name, part in built.named_modules():
            if isinstance(part, nn.modules.batchnorm._BatchNorm):
                raise TrainingError(
                    f"the layer {name} ({type(part).__name__}) would see each worker's rows alone, so the result "
                    "would depend on their number; use LayerNorm or GroupNorm instead, or workers=1",
                    layer=name,
                )
    learnt(built)
    group.arrive()
    with torch.no_grad():
        for value in (*built.parameters(), *built.buffers()):
            group.share_(value.detach())
    return built


def make_optimizer(model: nn.Module, spec: TrainingSpec) -> torch.optim.Optimizer:
    """Torch's own, over the weights that are trained."""
    kind = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW, "sgd": torch.optim.SGD}[spec.optimizer]
    momentum = {"momentum": spec.momentum} if spec.optimizer == "sgd" else {}
    optimizer: torch.optim.Optimizer = kind(
        learnt(model), lr=spec.learning_rate, weight_decay=spec.weight_decay, fused=True, **momentum
    )
    return optimizer


def width(model: nn.Module, rows: torch.Tensor) -> int | None:
    """How many features the model takes, where its first layer, which fails over `rows`, tells; None otherwise."""
    entered: list[tuple[nn.Module, Any]] = []
    hooks = [
        part.register_forward_pre_hook(lambda module, given: entered.append((module, given)))
        for part in model.modules()
        if not any(part.children())
    ]
    try:
        with contextlib.suppress(Exception), torch.no_grad():
            model(rows)
    finally:
        for hook in hooks:
            hook.remove()
    if not entered or not entered[-1][1] or not isinstance(entered[-1][1][0], torch.Tensor):
        return None
    layer, (given, *_) = entered[-1]
    takes = getattr(layer, "in_features", None)
    # The rows themselves, flattened at most.
    as_they_are = given.ndim == 2 and len(given) == len(rows) and given.numel() == rows.numel()
    return takes if as_they_are and isinstance(takes, int) and takes != given.shape[1] else None
