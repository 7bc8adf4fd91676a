"""Losses and figures of PyTorch models, as sums over rows, so that ranks can add them up exactly."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lepton_nb.training.spec import Task


def fitting(output: Tensor, target: Tensor, task: Task) -> tuple[Tensor, Tensor]:
    """Output and target in the shapes and dtypes that the loss of `task` takes: (values,) or (values, classes).

    A row with a target of several steps has as many values.
    """
    if task == "multiclass":
        return output.reshape(-1, output.shape[-1]), target.reshape(-1).long()
    return output.reshape(-1), target.reshape(-1)


def loss_sum(output: Tensor, target: Tensor, task: Task, weights: Tensor | None = None) -> Tensor:
    """The loss summed over values: binary cross-entropy of logits, cross-entropy of logits, or squared error.

    weights: what each value counts (values,); one without.
    """
    reduction = "sum" if weights is None else "none"
    if task == "binary":
        losses = nn.functional.binary_cross_entropy_with_logits(output, target, reduction=reduction)
    elif task == "multiclass":
        losses = nn.functional.cross_entropy(output, target, reduction=reduction)
    else:
        losses = nn.functional.mse_loss(output, target, reduction=reduction)
    return losses if weights is None else (losses * weights).sum()


def figure_sum(output: Tensor, target: Tensor, task: Task) -> Tensor:
    """Values predicted right (classes), or the sum of absolute errors (regression)."""
    if task == "binary":
        return ((output > 0) == (target > 0.5)).sum()
    if task == "multiclass":
        return (output.argmax(dim=1) == target).sum()
    return torch.abs(output - target).sum()
