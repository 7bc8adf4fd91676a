"""What a PyTorch rank makes before its first step: the model, its task, the optimizer, and memory for gradients."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from lepton_nb.errors import TrainingError
from lepton_nb.training import models
from lepton_nb.training.spec import Task, TrainingSpec
from lepton_nb.training.tasks import check_target, output_width, resolve_task
from lepton_nb.training.torch_group import Group
from lepton_nb.training.torch_rows import Table


def build(model: Any, features: int, spec: TrainingSpec, group: Group) -> nn.Module:
    """The model with rank 0's weights. Raises TrainingError for layers whose result depends on the number of ranks."""
    built = models.build(model, features, spec.seed).to(group.device, getattr(torch, spec.precision))
    if group.ranks > 1:
        for name, part in built.named_modules():
            if isinstance(part, nn.modules.batchnorm._BatchNorm):
                raise TrainingError(
                    f"the layer {name} ({type(part).__name__}) would see each worker's rows alone, so the result "
                    "would depend on their number; use LayerNorm or GroupNorm instead, or workers=1",
                    layer=name,
                )
    with torch.no_grad():
        for value in (*built.parameters(), *built.buffers()):
            group.share_(value.detach())
    return built


def settle_task(model: nn.Module, spec: TrainingSpec, train: Table, validation: Table | None) -> Task:
    """What the model's outputs for these rows mean. Raises TrainingError where the two do not fit."""
    features, _ = train.span(0, min(2, len(train)))
    model.eval()
    try:
        with torch.no_grad():
            output = model(features)
    except Exception as error:
        raise TrainingError(
            f"the model cannot take a batch of the shape {tuple(features.shape)} (rows, features): {error}"
        ) from error
    if not isinstance(output, Tensor):
        raise TrainingError(f"the model returns a {type(output).__name__}; return one tensor (rows, outputs)")
    task = resolve_task(spec.loss, tuple(output.shape), train.target_values)
    if validation is not None:
        check_target(task, validation.target_values, output_width(tuple(output.shape)), "the validation data's target")
    return task


def learnt(model: nn.Module) -> list[nn.Parameter]:
    """The weights that are trained. Raises TrainingError where there are none."""
    found = [value for value in model.parameters() if value.requires_grad]
    if not found:
        raise TrainingError("the model has no weights to train; unfreeze some (requires_grad=True)")
    return found


def shared_gradients(model: nn.Module, more: int) -> Tensor:
    """One tensor that holds every gradient, then `more` numbers: one sum over ranks a step."""
    values = learnt(model)
    size = sum(value.numel() for value in values)
    shared = torch.zeros(size + more, dtype=values[0].dtype, device=values[0].device)
    start = 0
    for value in values:
        value.grad = shared[start : start + value.numel()].view_as(value)
        start += value.numel()
    return shared


def make_optimizer(model: nn.Module, spec: TrainingSpec) -> torch.optim.Optimizer:
    """Torch's own, over the weights that are trained."""
    kind = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW, "sgd": torch.optim.SGD}[spec.optimizer]
    momentum = {"momentum": spec.momentum} if spec.optimizer == "sgd" else {}
    optimizer: torch.optim.Optimizer = kind(
        learnt(model), lr=spec.learning_rate, weight_decay=spec.weight_decay, fused=True, **momentum
    )
    return optimizer
