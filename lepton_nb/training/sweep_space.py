"""What a sweep draws from: ranges and choices by name, and how drawn values reach the model. Without Optuna."""

from __future__ import annotations

import dataclasses
import functools
import inspect
import math
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from lepton_nb.errors import TrainingError
from lepton_nb.training import models
from lepton_nb.training.spec import TrainingSpec

# Names that are not drawn: they say where and on what a training runs, or are columns of `SweepRun.trials`.
FIXED_OPTIONS = {
    "target", "workers", "validation", "checkpoint", "checkpoint_every_steps", "keep_checkpoints", "resume",
    "max_restarts", "log_every_steps", "start_timeout_s", "metrics", "stream", "track", "framework",
}  # fmt: skip
COLUMNS = ("number", "state", "value", "epochs_done", "duration_s", "reason")
_FIXED_FIELDS = {"kind", "task", "outputs"}
_FORMS = "give a list of choices, such as [64, 128], or a range as (low, high), (low, high, 'log') or (low, high, step)"


@dataclass(frozen=True, slots=True)
class Range:
    """Numbers from `low` to `high`, both included: whole ones if both are; `log` draws their logarithm evenly."""

    low: int | float
    high: int | float
    log: bool = False
    step: int | float | None = None

    @property
    def whole(self) -> bool:
        """True for a range of whole numbers."""
        return isinstance(self.low, int)

    def told(self) -> dict[str, Any]:
        """The range as plain values."""
        return {"low": self.low, "high": self.high, "log": self.log, "step": self.step}

    def corners(self) -> tuple[Any, ...]:
        """The values that a mistake shows in first."""
        return (self.low, self.high)


@dataclass(frozen=True, slots=True)
class Choices:
    """One of `values`, which have no order."""

    values: tuple[Any, ...]

    @property
    def labels(self) -> tuple[Any, ...]:
        """What stands for each value in files and tables: the value itself where it is plain, else its repr."""
        return tuple(value if _plain(value) else repr(value) for value in self.values)

    def told(self) -> dict[str, Any]:
        """The choices as plain values."""
        return {"choices": list(self.labels)}

    def corners(self) -> tuple[Any, ...]:
        """The values that a mistake shows in first."""
        return self.values


Space: TypeAlias = Mapping[str, Range | Choices]


def read(space: Any) -> dict[str, Range | Choices]:
    """The ranges and choices of `space`. Raises TrainingError for what is neither, by name."""
    if not isinstance(space, Mapping) or not space:
        raise TrainingError(
            f"space is {space!r}; give a dictionary such as "
            "{'learning_rate': (1e-4, 1e-1, 'log'), 'hidden': [(64,), (128, 64)]}"
        )
    return {name: _read_one(name, entry) for name, entry in space.items()}


def _read_one(name: Any, entry: Any) -> Range | Choices:
    if not isinstance(name, str):
        raise TrainingError(f"space names {name!r}; give the name of an option or of a part of the model")
    if name in COLUMNS:
        raise TrainingError(f"{name!r} is a column of sweep.trials; choose another name for it in the space", name=name)
    if isinstance(entry, Range | Choices):
        return entry
    if isinstance(entry, range):
        return _range(name, (entry.start, entry[-1], entry.step) if entry else ())
    if isinstance(entry, list):
        return _choices(name, entry)
    if isinstance(entry, tuple):
        return _range(name, entry)
    raise TrainingError(
        f"{name} is {entry!r} in the space; {_FORMS}, or give it as an option if it is fixed", name=name
    )


def _choices(name: str, entry: list[Any]) -> Choices:
    values = tuple(value.item() if isinstance(value, np.generic) else value for value in entry)
    if not values:
        raise TrainingError(f"{name} has no choices in the space; {_FORMS}", name=name)
    found = Choices(values)
    for position, label in enumerate(found.labels):
        if isinstance(label, float) and not math.isfinite(label):
            raise TrainingError(f"{name} has the choice {label!r} in the space; give finite numbers", name=name)
        if label in found.labels[:position]:
            raise TrainingError(f"{name} has the choice {label!r} twice in the space; leave one out", name=name)
    return found


def _range(name: str, entry: tuple[Any, ...]) -> Range:
    numbers = [value.item() if isinstance(value, np.generic) else value for value in entry]
    last = numbers[2] if len(numbers) == 3 else None
    ends = numbers[:2]
    if len(numbers) not in (2, 3) or not all(_number(value) for value in ends) or not (last == "log" or _step(last)):
        raise TrainingError(f"{name} is {entry!r} in the space; {_FORMS}; a tuple is a range", name=name)
    if not all(isinstance(value, int) for value in ends):
        ends = [float(value) for value in ends]
    low, high = ends
    if low >= high:
        raise TrainingError(f"{name} goes from {low} to {high} in the space; give the lower end first", name=name)
    if last == "log":
        if low <= 0:
            raise TrainingError(f"{name} starts at {low} in the space; a 'log' range starts above 0", name=name)
        return Range(low, high, log=True)
    if last is not None and (last > high - low or (isinstance(low, int) and not isinstance(last, int))):
        raise TrainingError(
            f"{name} has the step {last!r} from {low} to {high} in the space; give a step that fits in, "
            "whole between whole numbers",
            name=name,
        )
    return Range(low, high, step=last)


def _plain(value: Any) -> bool:
    return value is None or isinstance(value, bool | int | float | str)


def _number(value: Any) -> bool:
    return not isinstance(value, bool) and isinstance(value, int | float) and math.isfinite(value)


def _step(value: Any) -> bool:
    return value is None or (_number(value) and value > 0)


@dataclass(frozen=True, slots=True)
class Recipe:
    """Which of the drawn names are options of `lnb.train`, and which go into the model, and how."""

    model: Any
    options: frozenset[str]
    parts: frozenset[str]

    @classmethod
    def of(cls, model: Any, names: Iterator[str] | Any) -> Recipe:
        """Raises TrainingError for a name that neither `lnb.train` nor the model knows, with the closest one."""
        models.check(model)
        drawn = list(names)
        options = {field.name for field in dataclasses.fields(TrainingSpec)} - FIXED_OPTIONS
        parts, takes_any = _parts_of(model)
        for name in drawn:
            if name in FIXED_OPTIONS:
                raise TrainingError(f"{name} cannot be drawn; give it as an option of the sweep: {name}=...", name=name)
            if name not in options and name not in parts and not takes_any:
                raise TrainingError.unknown("name in the space", name, options | parts)
        known = frozenset(name for name in drawn if name in options)
        return cls(model, known, frozenset(name for name in drawn if name in parts or name not in known))

    def options_of(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """The drawn options of `lnb.train`."""
        return {name: value for name, value in values.items() if name in self.options}

    def model_of(self, values: Mapping[str, Any]) -> Any:
        """The model with the drawn values in it. Raises TrainingError for values that the model refuses."""
        given = {name: value for name, value in values.items() if name in self.parts}
        if not given:
            return self.model
        if isinstance(self.model, models.Description):
            told = models.told(self.model)
            return dataclasses.replace(self.model, **given) if told is None else models.described(told | given)  # type: ignore[type-var]
        return _called(self.model, given)

    @property
    def calls_the_users_code(self) -> bool:
        """True where `model_of` runs a function of the user's."""
        return bool(self.parts) and not isinstance(self.model, models.Description)


def _parts_of(model: Any) -> tuple[set[str], bool]:
    """The names of the parts of a model that can be drawn, and whether any name will do."""
    described = isinstance(model, models.Description)
    if not described and not isinstance(model, type) and models.framework_of(model) is not None:
        return set(), False  # a module: it is what it is
    if described:
        told = models.told(model)
        if told is not None:
            return set(told) - _FIXED_FIELDS, False
        fields: dict[str, Any] = getattr(model, "__dataclass_fields__", {})
        return {name for name, field in fields.items() if field.init} - _FIXED_FIELDS, False
    parameters = _parameters(model)
    named = {p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}
    return named, any(p.kind is p.VAR_KEYWORD for p in parameters)


def _parameters(function: Callable[..., Any]) -> list[inspect.Parameter]:
    try:
        return list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):  # a builtin without a signature
        return []


@dataclass(frozen=True)
class _WithFeatures:
    """A function of the number of features, the drawn values being given."""

    function: Callable[..., Any]
    name: str
    values: Mapping[str, Any]

    def __call__(self, features: int) -> Any:
        return self.function(**{self.name: features}, **self.values)


def _called(function: Callable[..., Any], values: Mapping[str, Any]) -> Any:
    """What `lnb.train` gets of a function of drawn values: a description, or a function that builds the module."""
    variadic = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    parameters = [p for p in _parameters(function) if p.kind not in variadic]
    open_ = [p.name for p in parameters if p.default is p.empty and p.name not in values]
    if len(open_) > 1:
        raise TrainingError(
            f"the model function takes {', '.join(open_)} besides what is drawn; it may take one more argument, "
            "the number of features"
        )
    if open_:
        return _WithFeatures(function, open_[0], values)
    built = _at_rest(function, values)
    # A module is built again where it is trained, with weights that the seed fixes.
    return built if isinstance(built, models.Description) else functools.partial(function, **values)


def _at_rest(function: Callable[..., Any], values: Mapping[str, Any]) -> Any:
    """`function(**values)`, with torch's random generator left as it was."""
    torch = sys.modules.get("torch")
    try:
        if torch is None:
            return function(**values)
        with torch.random.fork_rng(devices=[]):
            return function(**values)
    except Exception as error:  # whatever the user's function raises
        raise TrainingError(f"the model function raised {error!r} for {dict(values)}") from error


def corners(space: Space) -> Iterator[dict[str, Any]]:
    """Draws at the ends: each name's values in turn, as often as the longest of them needs, and the same shifted."""
    ends = {name: entry.corners() for name, entry in space.items()}
    longest = max(len(values) for values in ends.values())
    for shift in range(longest):
        for turn in range(longest):
            yield {
                name: values[(turn + shift * position) % len(values)]
                for position, (name, values) in enumerate(ends.items())
            }


def matching(told: Any, given: Any) -> bool:
    """Whether two facts are the same; for dictionaries: in the names that both have."""
    if isinstance(told, dict) and isinstance(given, dict):
        return all(matching(told[name], given[name]) for name in told.keys() & given.keys())
    return bool(told == given)
