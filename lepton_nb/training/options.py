"""What can be chosen for a training, read off the spec and the models: names, types, defaults and what they mean."""

from __future__ import annotations

import dataclasses
import inspect
import os
import re
import types
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from lepton_nb.errors import TrainingError
from lepton_nb.training import models
from lepton_nb.training.spec import TrainingSpec

Kind = Literal["whole", "number", "text", "flag", "choice", "choices", "sizes", "span"]

MODELS: Mapping[str, Callable[..., models.Description]] = {
    "mlp": models.mlp,
    "cnn": models.cnn,
    "rnn": models.rnn,
    "transformer": models.transformer,
}
_NOT_IN_LABELS = {"s": "(s)"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """One option of a training or of a model.

    kind: a whole number, a number, text, a flag, one of `choices`, any of `choices`, sizes (whole numbers), or a span
    (a whole number, the least and the most, or one of `choices`). optional: None may be chosen. help: what it means.
    """

    name: str
    kind: Kind
    default: Any
    optional: bool = False
    choices: tuple[Any, ...] = ()
    help: str = ""

    @property
    def label(self) -> str:
        """The name for people, with its unit."""
        words = [_NOT_IN_LABELS.get(word, word) for word in self.name.split("_")]
        return " ".join(words).capitalize()

    def written(self, value: Any) -> Any:
        """A value as it is typed: text for sizes and spans, and itself for all other kinds."""
        if self.kind == "sizes":
            return ", ".join(map(str, value))
        if self.kind == "span":
            return f"{value[0]} to {value[1]}" if isinstance(value, tuple) else str(value)
        return value

    def read(self, written: Any) -> Any:
        """The value of what was typed. Raises TrainingError where it is no such value."""
        if self.kind not in ("sizes", "span"):
            return written
        words = str(written).strip()
        numbers = [int(number) for number in re.findall(r"\d+", words)]
        if self.kind == "sizes" and re.fullmatch(r"[\s\d,()]*", words):
            return tuple(numbers)
        if self.kind == "span":
            if words in self.choices:
                return words
            if re.fullmatch(r"\d+", words):
                return numbers[0]
            if re.fullmatch(r"\(?\s*\d+\s*(to|-|,)\s*\d+\s*\)?", words):
                return tuple(numbers)
        examples = "sizes such as 128, 64" if self.kind == "sizes" else "a number, two such as 1 to 4"
        others = "".join(f", or {choice}" for choice in self.choices)
        raise TrainingError(f"{self.name} is {words!r}; give {examples}{others}", name=self.name, value=words)


def of_training() -> tuple[Option, ...]:
    """The options of `TrainingSpec` that can be typed or chosen, in its order; rows are none of them."""
    hints = get_type_hints(TrainingSpec)
    defaults = {field.name: field.default for field in dataclasses.fields(TrainingSpec)}
    return _options(hints, defaults, (TrainingSpec.__doc__ or "",))


def of_model(kind: str) -> tuple[Option, ...]:
    """The options of `lnb.models.<kind>`, in its order. Raises TrainingError for an unknown kind."""
    if kind not in MODELS:
        raise TrainingError.unknown("kind of model", kind, MODELS)
    factory = MODELS[kind]
    hints = get_type_hints(factory)
    defaults = {name: parameter.default for name, parameter in inspect.signature(factory).parameters.items()}
    # What all have is told once, with the first.
    return _options(hints, defaults, (factory.__doc__ or "", models.mlp.__doc__ or ""))


def _options(hints: Mapping[str, Any], defaults: Mapping[str, Any], docs: Iterable[str]) -> tuple[Option, ...]:
    found = []
    for name, default in defaults.items():
        members = _members(hints[name])
        optional = type(None) in members
        kind, choices = _kind([member for member in members if member is not type(None)], optional)
        if kind is not None:
            told = (meaning(doc, name) for doc in docs)
            found.append(
                Option(
                    name=name,
                    kind=kind,
                    default=default,
                    optional=optional,
                    choices=choices,
                    help=next((text.replace("`", "") for text in told if text), ""),
                )
            )
    return tuple(found)


def _members(hint: Any) -> tuple[Any, ...]:
    return get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)


def _kind(members: list[Any], optional: bool) -> tuple[Kind | None, tuple[Any, ...]]:
    """The kind of a type, and its choices; None for one that cannot be typed."""
    literals = tuple(value for member in members if get_origin(member) is Literal for value in get_args(member))
    others = [member for member in members if get_origin(member) is not Literal]
    origins = [get_origin(member) or member for member in others]
    nothing = (None,) if optional else ()
    if origins == [bool] and not literals and not optional:
        return "flag", ()
    if not others or origins == [bool]:
        return "choice", (*nothing, *literals, *((True, False) if others else ()))
    # A mapping is given in code; what has a name beside it can be chosen.
    if Mapping in origins:
        return ("choice", (*nothing, *literals)) if literals else (None, ())
    if tuple in origins and int in origins:
        return "span", literals
    if origins == [tuple]:
        parts = _members(get_args(others[0])[0])
        values = tuple(value for part in parts if get_origin(part) is Literal for value in get_args(part))
        return ("choices", values) if values else (None, ())
    if origins == [Sequence]:
        return "sizes", ()
    plain: dict[Any, Kind] = {int: "whole", float: "number", str: "text"}
    if origins[0] in plain and all(origin in (origins[0], os.PathLike) for origin in origins):
        return plain[origins[0]], ()
    return None, ()


def meaning(doc: str, name: str) -> str:
    """What a docstring says of `name`: its entry ("name: ..."), else the sentences that have it in backticks."""
    lines = inspect.cleandoc(doc).splitlines()
    for number, line in enumerate(lines):
        entry = re.match(r"([a-z_]+(?:, [a-z_]+)*): (.+)", line)
        if entry and name in entry[1].split(", "):
            rest = [entry[2]]
            for more in lines[number + 1 :]:
                if not more.startswith(" "):
                    break
                rest.append(more.strip())
            return " ".join(rest)
    prose = [line for line in lines if not re.match(r"[a-z_]+(?:, [a-z_]+)*: |\s", line)]
    # Of entries that tell of others, too, where nothing else does.
    return _sentences(prose, name) or _sentences(lines, name)


def _sentences(lines: Iterable[str], name: str) -> str:
    found = re.split(r"(?<=\.)\s+(?=[A-Z`])", " ".join(line.strip() for line in lines))
    return " ".join(one.strip() for one in found if f"`{name}`" in one and not one.startswith("Raises"))
