"""What is learnt: the task that a loss, a model's output and a target agree on. Pure."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from lepton_nb.errors import TrainingError
from lepton_nb.training.spec import LOSS_OF_TASK, TASK_OF_LOSS, Loss, Task


def resolve_task(loss: Loss, shape: tuple[int, ...], target: npt.NDArray[Any]) -> Task:
    """The task of a model whose output for n rows has `shape` (n, ...), with finite `target` values (rows,).

    "auto" takes "multiclass" for an output of two numbers a row or more, "binary" for one number and a target of
    0 and 1, "regression" for one number and any other target. Raises TrainingError where the three do not fit.
    """
    width = output_width(shape)
    if loss == "auto":
        one: Task = "binary" if np.isin(target, (0, 1)).all() else "regression"
        task: Task = "multiclass" if width > 1 else one
    else:
        task = TASK_OF_LOSS[loss]
    name = LOSS_OF_TASK[task]
    if task == "multiclass" and width < 2:
        raise TrainingError(f"loss {name!r} needs one output for each class; the model gives {width} a row")
    if task != "multiclass" and width != 1:
        raise TrainingError(
            f"loss {name!r} needs one output a row; the model gives {width}. "
            "For classes use loss='cross_entropy', else end the model with one output",
            width=width,
        )
    check_target(task, target, width)
    return task


def output_width(shape: tuple[int, ...]) -> int:
    """Numbers a row in an output of `shape`: (n,) and (n, 1) have one, (n, k) has k."""
    if len(shape) not in (1, 2):
        raise TrainingError(
            f"the model's output has the shape {shape}; end the model with (rows, outputs), for example nn.Flatten()",
            shape=shape,
        )
    return 1 if len(shape) == 1 else shape[1]


def check_target(task: Task, target: npt.NDArray[Any], width: int, what: str = "the target") -> None:
    """Raise TrainingError if `target`, named `what`, holds values that `task` with `width` outputs cannot take."""
    if task == "binary":
        strange = target[~np.isin(target, (0, 1))]
        wanted = (
            "0 and 1; for more classes use task='multiclass' (loss='cross_entropy'), "
            "for numbers task='regression' (loss='mse')"
        )
    elif task == "multiclass":
        strange = target[(target != np.floor(target)) | (target < 0) | (target >= width)]
        wanted = f"class numbers from 0 to {width - 1}, as the model has {width} outputs"
    else:
        return
    if strange.size:
        raise TrainingError(f"{what} holds {strange[0]:g}; it must hold {wanted}", value=float(strange[0]))
