"""From what the user gave to a model of a framework, with weights of a seed; and what a user may give."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from lepton_nb.errors import TrainingError
from lepton_nb.training.models.descriptions import Description
from lepton_nb.training.models.frameworks import FRAMEWORKS, Framework, load_keras
from lepton_nb.training.models.options import require_choices
from lepton_nb.training.models.seeding import seeded
from lepton_nb.training.models.shapes import Shape, dimensions, plain
from lepton_nb.training.spec import Precision

if TYPE_CHECKING:
    import torch


def framework_of(model: Any) -> Framework | None:
    """Of which framework a model, a class of models or a description is; None for a function. Imports neither."""
    family = _family(model if isinstance(model, type) else type(model))
    if family is None and isinstance(model, Description) and model.framework in FRAMEWORKS:
        return model.framework
    return family


def is_module(model: Any) -> bool:
    """True for an instance of torch.nn.Module, without importing torch."""
    return _family(type(model)) == "torch"


def check(model: Any) -> None:
    """Raise TrainingError for what is neither a model, nor a function, nor a description; no framework is loaded."""
    if any(kind.__module__.partition(".")[0] == "tf_keras" for kind in type(model).__mro__):
        raise TrainingError(
            "the model is of Keras 2 (tf_keras); build it with Keras 3: import keras, and layers from there"
        )
    if not (_is_model(model) or isinstance(model, Description) or callable(model)):
        raise TrainingError(
            f"cannot train a {type(model).__name__}; give a torch.nn.Module, a keras.Model, a function that builds "
            "one, or a description such as lnb.models.mlp()"
        )


def build(
    model: Any,
    shape: int | Shape,
    seed: int,
    *,
    dtype: Precision | None = None,
    framework: Framework | None = None,
) -> Any:
    """The torch.nn.Module or keras.Model that `model` stands for, for rows of `shape`, an int n being (n,).

    Weights are drawn from `seed`: the same seed gives the same bits. A model comes as a copy with its weights. A
    function is called, with the shape (an int for one dimension) if it takes an argument. The random generators of
    Python, NumPy and the framework are left as they were.
    dtype: what the model computes in; None for float32, or for what a model or a function gives.
    framework: which one must come out; None for any.
    Raises TrainingError if a function returns something else, or a model cannot be copied.
    """
    size = dimensions(shape)
    if dtype is not None:
        require_choices(dtype=dtype)
    if framework is not None:
        require_choices(framework=framework)
    known = framework_of(model)
    if known is not None and framework not in (None, known):
        raise TrainingError(
            f"the model is one of {known}, and framework={framework!r} is asked for; change one of them"
        )
    wanted = known or framework
    if wanted == "keras":
        load_keras()
    with seeded(seed, wanted):
        if _is_model(model):
            return _copied(model, size, dtype)
        if isinstance(model, Description):
            built = model.build(plain(size), dtype or "float32")
        else:
            built = _called(model, size, dtype, wanted)
        found = _family(type(built))
        if found is None or wanted not in (None, found):
            kinds = {"torch": "a torch.nn.Module", "keras": "a keras.Model"}
            fix = kinds[wanted] if wanted else " or ".join(kinds.values())
            raise TrainingError(f"the model function returned a {type(built).__name__}; return {fix}")
        if found == "torch":
            return _in(built, dtype)
        load_keras()
        from lepton_nb.training.models import keras_models

        return keras_models.with_weights(built, size)


def _family(kind: type) -> Framework | None:
    for base in kind.__mro__:
        root = base.__module__.partition(".")[0]
        if (root, base.__name__) == ("torch", "Module"):
            return "torch"
        if (root, base.__name__) == ("keras", "Model"):
            return "keras"
    return None


def _is_model(model: Any) -> bool:
    return _family(type(model)) is not None


def _copied(model: Any, shape: Shape, dtype: Precision | None) -> Any:
    if is_module(model):
        return _in(copy.deepcopy(model), dtype)
    from lepton_nb.training.models import keras_models

    return keras_models.copied(model, shape, dtype)


def _in(module: torch.nn.Module, dtype: Precision | None) -> torch.nn.Module:
    if dtype is None:
        return module
    import torch

    return module.to(getattr(torch, dtype))


def _called(function: Callable[..., Any], shape: Shape, dtype: Precision | None, framework: Framework | None) -> Any:
    given = (plain(shape),) if _takes_an_argument(function) else ()
    if framework != "keras":
        return function(*given)
    from lepton_nb.training.models import keras_models

    with keras_models.computing_in(dtype):
        return function(*given)


def _takes_an_argument(function: Callable[..., Any]) -> bool:
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return False
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return any(p.kind in positional and p.default is inspect.Parameter.empty for p in parameters)
