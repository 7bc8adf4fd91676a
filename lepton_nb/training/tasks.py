"""What is learnt: the task that a loss, a model's output and a target agree on. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from lepton_nb.errors import TrainingError
from lepton_nb.training.batches import TargetFacts
from lepton_nb.training.spec import CLASS_METRICS, LOSS_OF_TASK, NUMBER_METRICS, TASK_OF_LOSS, Loss, Task


def resolve_task(loss: Loss, shape: tuple[int, ...], target: TargetFacts) -> Task:
    """The task of a model whose output for n rows has `shape` (n, ...), for a finite target.

    "auto" takes "multiclass" for an output of two numbers a target value or more, "binary" for one number and a target
    of 0 and 1, "regression" for one number and any other target. Raises TrainingError where the three do not fit.
    """
    width = output_width(shape, target.shape)
    if loss == "auto":
        one: Task = "binary" if target.strange is None else "regression"
        task: Task = "multiclass" if width > 1 else one
    else:
        task = TASK_OF_LOSS[loss]
    name = LOSS_OF_TASK[task]
    what = "a row" if not target.shape else "a step"
    if task == "multiclass" and width < 2:
        raise TrainingError(f"loss {name!r} needs one output for each class; the model gives {width} {what}")
    if task != "multiclass" and width != 1:
        raise TrainingError(
            f"loss {name!r} needs one output {what}; the model gives {width}. "
            "For classes use loss='cross_entropy', else end the model with one output",
            width=width,
        )
    check_target(task, target, width)
    return task


def output_width(shape: tuple[int, ...], target: tuple[int, ...] = ()) -> int:
    """Numbers for each target value in an output of `shape`; `target` is the shape of one row's target.

    (n,) and (n, 1) have one, (n, k) has k; with a target of (steps,), (n, steps) and (n, steps, 1) have one, and
    (n, steps, k) has k.
    """
    rest = shape[1 + len(target) :]
    if shape[1 : 1 + len(target)] != target or len(rest) > 1 or not shape:
        if target:
            steps = ", ".join(map(str, target))
            raise TrainingError(
                f"the model's output has the shape {shape}, and a row of the target ({steps},): the model must give "
                f"(rows, {steps}) or (rows, {steps}, classes), for example lnb.models.rnn(each_step=True)",
                shape=shape,
            )
        raise TrainingError(
            f"the model's output has the shape {shape}; end the model with (rows, outputs), for example nn.Flatten()",
            shape=shape,
        )
    return 1 if not rest else rest[0]


def check_target(task: Task, target: TargetFacts, width: int, what: str = "the target") -> None:
    """Raise TrainingError if `target`, named `what`, holds values that `task` with `width` outputs cannot take."""
    strange: float | None = None
    if task == "binary":
        strange = target.strange
        wanted = (
            "0 and 1; for more classes use task='multiclass' (loss='cross_entropy'), "
            "for numbers task='regression' (loss='mse')"
        )
    elif task == "multiclass":
        strange = target.fraction
        for edge, wrong in ((target.lowest, target.lowest < 0), (target.highest, target.highest >= width)):
            if strange is None and wrong:
                strange = edge
        wanted = f"class numbers from 0 to {width - 1}, as the model has {width} outputs"
    if strange is not None:
        raise TrainingError(f"{what} holds {strange:g}; it must hold {wanted}", value=strange)


def check_metrics(names: Iterable[str], task: Task) -> None:
    """Raise TrainingError if one of the metrics is none of `task`."""
    fitting = NUMBER_METRICS if task == "regression" else CLASS_METRICS
    for name in names:
        if name not in fitting:
            raise TrainingError(
                f"the metric {name!r} is not for task={task!r}; choose among {', '.join(fitting)}", metric=name
            )
