"""Descriptions of models: frozen values that become a module where they run, once the data is known."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias, get_args, runtime_checkable

from lepton_nb.errors import TrainingError
from lepton_nb.training.spec import Task

if TYPE_CHECKING:
    import torch

Activation = Literal["relu", "gelu", "silu", "tanh"]
FRAMEWORKS = ("torch",)


@runtime_checkable
class Description(Protocol):
    """A model that is built when the number of input features is known."""

    @property
    def task(self) -> Task:
        """What the model predicts."""
        ...

    def build(self, features: int) -> torch.nn.Module:
        """The module, with freshly drawn weights, for rows of `features` numbers."""
        ...


Model: TypeAlias = "torch.nn.Module | Callable[..., torch.nn.Module] | Description"


@dataclass(frozen=True, slots=True)
class MultilayerPerceptron:
    """Dense layers of the sizes `hidden`, an activation after each, and a linear output of `outputs` numbers."""

    hidden: tuple[int, ...]
    task: Task
    activation: Activation
    outputs: int
    dropout: float = 0.0

    def build(self, features: int) -> torch.nn.Module:
        """A torch.nn.Sequential: (rows, features) → (rows, outputs); logits for classes, no sigmoid or softmax."""
        from torch import nn

        kinds = {"relu": nn.ReLU, "gelu": nn.GELU, "silu": nn.SiLU, "tanh": nn.Tanh}
        layers: list[nn.Module] = []
        width = features
        for size in self.hidden:
            layers += [nn.Linear(width, size), kinds[self.activation]()]
            if self.dropout:
                layers.append(nn.Dropout(self.dropout))
            width = size
        return nn.Sequential(*layers, nn.Linear(width, self.outputs))


def mlp(
    hidden: Sequence[int] = (128, 64),
    task: Task = "binary",
    activation: Activation = "relu",
    classes: int | None = None,
    framework: str = "torch",
    dropout: float = 0.0,
) -> MultilayerPerceptron:
    """A multilayer perceptron, `hidden=()` being a linear model.

    `task` "binary" gives one logit, "multiclass" one logit for each of `classes` classes, "regression" one number.
    `dropout` is the share of each hidden layer's units that is left out at random in a training step, 0 <= p < 1.
    Raises TrainingError for sizes below 1, an unknown name, or `classes` missing where the task needs it.
    """
    for what, name, choices in (
        ("framework", framework, FRAMEWORKS),
        ("task", task, get_args(Task)),
        ("activation", activation, get_args(Activation)),
    ):
        if name not in choices:
            raise TrainingError.unknown(what, str(name), choices)
    if isinstance(dropout, bool) or not isinstance(dropout, int | float) or not 0 <= dropout < 1:
        raise TrainingError(f"dropout is {dropout!r}; give a share of 0 or more and less than 1, such as 0.5")
    if not isinstance(hidden, Sequence):
        raise TrainingError(f"hidden is {hidden!r}; give the sizes of the layers, such as (128, 64)")
    sizes = tuple(hidden)
    for size in sizes:
        if isinstance(size, bool) or not isinstance(size, int) or size < 1:
            raise TrainingError(f"hidden holds {size!r}; give layer sizes of 1 or more, such as (128, 64)", size=size)
    if task != "multiclass":
        if classes is not None:
            raise TrainingError(f"classes={classes!r} goes with task='multiclass', not with {task!r}; leave it out")
        outputs = 1
    elif isinstance(classes, bool) or not isinstance(classes, int) or classes < 2:
        raise TrainingError(f"classes is {classes!r}; task='multiclass' needs the number of classes, 2 or more")
    else:
        outputs = classes
    return MultilayerPerceptron(sizes, task, activation, outputs, float(dropout))


def told(model: Any) -> dict[str, Any] | None:
    """A description as plain values, from which `described` makes it again; None for a module or a function."""
    if not isinstance(model, MultilayerPerceptron):
        return None
    return {"kind": "mlp", **dataclasses.asdict(model)}


def described(values: dict[str, Any] | None) -> Description:
    """The description that `told` gave. Raises TrainingError where there is none, or of an unknown kind."""
    if values is None:
        raise TrainingError(
            "what was trained is a module or a function, and code is not saved; give it: lnb.load(path, model=...)"
        )
    given = dict(values)
    kind = given.pop("kind", None)
    if kind != "mlp":
        raise TrainingError(f"models of the kind {kind!r} are not known to this version of lepton_nb")
    outputs = given.pop("outputs")
    return mlp(**given, classes=outputs if given["task"] == "multiclass" else None)


def check(model: Any) -> None:
    """Raise TrainingError for what is neither a module, nor a function, nor a description (torch is not loaded)."""
    if not (is_module(model) or isinstance(model, Description) or callable(model)):
        raise TrainingError(
            f"cannot train a {type(model).__name__}; give a torch.nn.Module, a function that builds one, "
            "or a description such as lnb.models.mlp()"
        )


def is_module(model: Any) -> bool:
    """True for an instance of torch.nn.Module, without importing torch."""
    return any(c.__name__ == "Module" and c.__module__.startswith("torch.") for c in type(model).__mro__)


def build(model: Any, features: int, seed: int) -> torch.nn.Module:
    """The module that `model` stands for; weights are drawn from `seed`, a module comes as a copy.

    A function is called with the number of features if it takes an argument. The state of torch's own random
    generator is left as it was. Raises TrainingError if a function returns something else.
    """
    import copy

    import torch

    if isinstance(model, torch.nn.Module):
        return copy.deepcopy(model)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if isinstance(model, Description):
            built: Any = model.build(features)
        else:
            built = model(features) if _takes_an_argument(model) else model()
    if not isinstance(built, torch.nn.Module):
        raise TrainingError(f"the model function returned a {type(built).__name__}; return a torch.nn.Module")
    return built


def _takes_an_argument(function: Callable[..., Any]) -> bool:
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return False
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return any(p.kind in positional and p.default is inspect.Parameter.empty for p in parameters)
