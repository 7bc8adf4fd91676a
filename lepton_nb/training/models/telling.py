"""Descriptions as plain values, as they are saved beside the weights."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

from lepton_nb.errors import TrainingError
from lepton_nb.training.models.descriptions import (
    Convolutional,
    Description,
    MultilayerPerceptron,
    Recurrent,
    Transformer,
)
from lepton_nb.training.models.factories import cnn, mlp, rnn, transformer

_KIND_OF: dict[type, str] = {
    MultilayerPerceptron: "mlp",
    Convolutional: "cnn",
    Recurrent: "rnn",
    Transformer: "transformer",
}
_MADE_BY: dict[str, Callable[..., Description]] = {"mlp": mlp, "cnn": cnn, "rnn": rnn, "transformer": transformer}


def told(model: Any) -> dict[str, Any] | None:
    """A description as plain values, from which `described` makes it again; None for a model or a function."""
    kind = _KIND_OF.get(type(model))
    return None if kind is None else {"kind": kind, **dataclasses.asdict(model)}


def described(values: dict[str, Any] | None) -> Description:
    """The description that `told` gave. Raises TrainingError where there is none, or of an unknown kind."""
    if values is None:
        raise TrainingError(
            "what was trained is a module or a function, and code is not saved; give it: lnb.load(path, model=...)"
        )
    given = dict(values)
    kind = given.pop("kind", None)
    if kind not in _MADE_BY:
        raise TrainingError(f"models of the kind {kind!r} are not known to this version of lepton_nb")
    outputs = given.pop("outputs", None)
    return _MADE_BY[kind](**given, classes=outputs if given.get("task") == "multiclass" else None)
