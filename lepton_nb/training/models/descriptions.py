"""The kinds of models as frozen values, each of which builds the same model in either framework."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, runtime_checkable

from lepton_nb.training.models.frameworks import Framework, load_keras
from lepton_nb.training.models.options import Activation, Cell, require_choices
from lepton_nb.training.models.shapes import Shape, dimensions
from lepton_nb.training.spec import Precision, Task

if TYPE_CHECKING:
    import torch


@runtime_checkable
class Description(Protocol):
    """A model that is built when the shape of one row's features is known."""

    @property
    def task(self) -> Task:
        """What the model predicts."""
        ...

    @property
    def framework(self) -> Framework:
        """What `build` gives a model of."""
        ...

    def build(self, shape: int | Shape, dtype: Precision = "float32") -> Any:
        """The torch.nn.Module or keras.Model, with freshly drawn weights of `dtype`, for rows of `shape`.

        An int n stands for (n,). PyTorch draws from its own random generator, Keras from seeds that it takes from
        Python's; `models.build` does both from a seed.
        """
        ...


def vocabulary_of(model: Any) -> int | None:
    """How many token numbers a described model knows; None for one that takes other numbers, and for modules."""
    return getattr(model, "vocabulary", None) if isinstance(model, Description) else None


# A keras.Model too, which has no types to name here.
Model: TypeAlias = "torch.nn.Module | Callable[..., Any] | Description"


@dataclass(frozen=True, slots=True)
class MultilayerPerceptron:
    """Dense layers of the sizes `hidden`, an activation after each, and a linear output of `outputs` numbers."""

    hidden: tuple[int, ...]
    task: Task
    activation: Activation
    outputs: int
    dropout: float = 0.0
    framework: Framework = "torch"

    def build(self, shape: int | Shape, dtype: Precision = "float32") -> Any:
        """Rows of any shape, flattened → (rows, outputs); logits for classes, no sigmoid or softmax."""
        return _parts(self.framework, dtype).multilayer_perceptron(self, dimensions(shape), dtype)


@dataclass(frozen=True, slots=True)
class Convolutional:
    """Blocks of convolution, norm over the row, activation and pooling, then the mean of what is left and a head."""

    channels: tuple[int, ...]
    kernel: int
    task: Task
    activation: Activation
    outputs: int
    dropout: float = 0.0
    framework: Framework = "torch"

    def build(self, shape: int | Shape, dtype: Precision = "float32") -> Any:
        """(rows, height, width, channels), (rows, steps, channels) or (rows, steps) → (rows, outputs)."""
        return _parts(self.framework, dtype).convolutional(self, dimensions(shape), dtype)


@dataclass(frozen=True, slots=True)
class Recurrent:
    """Recurrent layers of the sizes `hidden`, and a linear head on the last state, or on that of each step."""

    cell: Cell
    hidden: tuple[int, ...]
    task: Task
    outputs: int
    bidirectional: bool = False
    each_step: bool = False
    vocabulary: int | None = None
    embedding: int = 32
    dropout: float = 0.0
    framework: Framework = "torch"

    def build(self, shape: int | Shape, dtype: Precision = "float32") -> Any:
        """(rows, steps, features), or (rows, steps) → (rows, outputs), or with `each_step` as `models.rnn` tells."""
        return _parts(self.framework, dtype).recurrent(self, dimensions(shape), dtype)


@dataclass(frozen=True, slots=True)
class Transformer:
    """Blocks of attention and of two dense layers, each with its norm before it, and a linear head."""

    layers: int
    width: int
    heads: int
    task: Task
    activation: Activation
    outputs: int
    each_step: bool = False
    vocabulary: int | None = None
    dropout: float = 0.0
    causal: bool = False
    framework: Framework = "torch"

    def build(self, shape: int | Shape, dtype: Precision = "float32") -> Any:
        """(rows, steps, features), or (rows, steps) → (rows, outputs), or with `each_step` as `models.rnn` tells."""
        return _parts(self.framework, dtype).transformer(self, dimensions(shape), dtype)


def _parts(framework: Framework, dtype: Precision) -> ModuleType:
    """Where the models of `framework` are made: two modules with one contract."""
    require_choices(framework=framework, dtype=dtype)
    if framework == "torch":
        from lepton_nb.training.models import torch_parts

        return torch_parts
    load_keras()
    from lepton_nb.training.models import keras_parts

    return keras_parts
