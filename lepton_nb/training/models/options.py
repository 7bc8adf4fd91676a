"""What the options of descriptions may be; each check names the fix."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from typing import Any, Literal, ParamSpec, TypeVar, get_args

from lepton_nb.errors import TrainingError
from lepton_nb.training.models.frameworks import Framework
from lepton_nb.training.spec import Precision, Task

Activation = Literal["relu", "gelu", "silu", "tanh"]
Cell = Literal["gru", "lstm"]

P = ParamSpec("P")
R = TypeVar("R")

_CHOICES: dict[str, tuple[str, ...]] = {
    "framework": get_args(Framework),
    "task": get_args(Task),
    "activation": get_args(Activation),
    "cell": get_args(Cell),
    "dtype": get_args(Precision),
}


def hinted(function: Callable[P, R]) -> Callable[P, R]:
    """`function`, with a TrainingError that names the closest option for one that it does not have."""
    known = tuple(inspect.signature(function).parameters)

    @functools.wraps(function)
    def call(*given: P.args, **options: P.kwargs) -> R:
        for name in options:
            if name not in known:
                raise TrainingError.unknown(f"option of {function.__name__}", name, known)
        return function(*given, **options)

    return call


def require_choices(**given: Any) -> None:
    """Raise TrainingError, with the closest name, for an option that is none of its choices."""
    for what, name in given.items():
        if not isinstance(name, str) or name not in _CHOICES[what]:
            raise TrainingError.unknown(what, str(name), _CHOICES[what])


def require_count(what: str, value: Any, example: str) -> int:
    """`value`, if it is a whole number of 1 or more."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise TrainingError(f"{what} is {value!r}; give {example}", name=what, value=value)
    return value


def require_flags(**given: Any) -> None:
    """Raise TrainingError for what is neither True nor False."""
    for what, value in given.items():
        if not isinstance(value, bool):
            raise TrainingError(f"{what} is {value!r}; give True or False", name=what, value=value)


def sizes(what: str, given: Any, example: str, *, least: int = 1) -> tuple[int, ...]:
    """The sizes of at least `least` layers."""
    if not isinstance(given, Sequence) or isinstance(given, str | bytes) or len(given) < least:
        raise TrainingError(f"{what} is {given!r}; give the sizes of the layers, such as {example}")
    for size in given:
        if isinstance(size, bool) or not isinstance(size, int) or size < 1:
            raise TrainingError(f"{what} holds {size!r}; give layer sizes of 1 or more, such as {example}", size=size)
    return tuple(given)


def share(what: str, given: Any) -> float:
    """`given` as a share, 0 <= p < 1."""
    if isinstance(given, bool) or not isinstance(given, int | float) or not 0 <= given < 1:
        raise TrainingError(f"{what} is {given!r}; give a share of 0 or more and less than 1, such as 0.5")
    return float(given)


def outputs_of(task: str, classes: Any) -> int:
    """Numbers that a model gives for a row, or a step."""
    if task != "multiclass":
        if classes is not None:
            raise TrainingError(f"classes={classes!r} goes with task='multiclass', not with {task!r}; leave it out")
        return 1
    if isinstance(classes, bool) or not isinstance(classes, int) or classes < 2:
        raise TrainingError(f"classes is {classes!r}; task='multiclass' needs the number of classes, 2 or more")
    return classes


def require_vocabulary(vocabulary: Any) -> None:
    """Raise TrainingError for a number of tokens that leaves none beside the padding."""
    if vocabulary is None:
        return
    if isinstance(vocabulary, bool) or not isinstance(vocabulary, int) or vocabulary < 2:
        raise TrainingError(
            f"vocabulary is {vocabulary!r}; give the number of tokens, 2 or more, as 0 stands for padding",
            value=vocabulary,
        )
