"""Metrics of torchmetrics over the validation rows of all ranks."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from lepton_nb.errors import TrainingError
from lepton_nb.training.spec import Task
from lepton_nb.training.torch_group import Group


class Metrics:
    """The metrics `names` of `task`: every rank takes its rows, and all of them count together.

    Outputs are gathered and measured at once: a metric's own exchange of its state (torchmetrics 1.9) ends the process
    where a rank has no rows.
    """

    def __init__(self, names: Sequence[str], task: Task, device: torch.device) -> None:
        self._names = tuple(names)
        self._task = task
        self._device = device
        self._outputs: list[Tensor] = []
        self._targets: list[Tensor] = []

    def take(self, output: Tensor, target: Tensor) -> None:
        """Note outputs and target values as `fitting` gives them."""
        if self._names:
            self._outputs.append(output)
            self._targets.append(target)

    def together(self, group: Group) -> dict[str, float]:
        """Each metric over the rows of all ranks, on rank 0; nothing on the others."""
        if not self._names:
            return {}
        output, target = group.gather(self._outputs), group.gather(self._targets)
        if group.rank != 0:
            return {}
        if self._task == "binary":
            output, target = output.sigmoid(), target.int()
        elif self._task == "multiclass":
            output = output.softmax(dim=1)
        found = {}
        for name in self._names:
            metric = _made(name, self._task, output).to(self._device)
            with warnings.catch_warnings():
                # That a class is absent is told by the value.
                warnings.simplefilter("ignore", UserWarning)
                metric.update(output, target)
                found[name] = float(metric.compute())
        return found


def _made(name: str, task: Task, output: Tensor) -> Any:
    try:
        import torchmetrics
    except ImportError as error:
        raise TrainingError(
            f"metrics={name!r} needs torchmetrics, which is not installed; pip install 'lepton-nb[torch]'"
        ) from error
    # Rank 0 has the rows of all ranks, and waits for nobody.
    alone = {"sync_on_compute": False}
    if task == "regression":
        kinds = {
            "mae": torchmetrics.MeanAbsoluteError,
            "r2": torchmetrics.R2Score,
            "explained_variance": torchmetrics.ExplainedVariance,
        }
        if name == "rmse":
            return torchmetrics.MeanSquaredError(squared=False, **alone)
        return kinds[name](**alone)
    kinds = {
        "auc": torchmetrics.AUROC,
        "average_precision": torchmetrics.AveragePrecision,
        "f1": torchmetrics.F1Score,
        "precision": torchmetrics.Precision,
        "recall": torchmetrics.Recall,
    }
    if task == "binary":
        return kinds[name](task="binary", **alone)
    return kinds[name](task="multiclass", num_classes=output.shape[1], average="macro", **alone)
