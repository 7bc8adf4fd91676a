"""Forms: the types that a notebook's parameter may have."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from lepton_nb.reports.values import plain

_WORDS = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}


class Form:
    """A type of parameter. Both methods return the value to use, or raise ValueError with what is wanted."""

    @property
    def bare(self) -> Form:
        """The form without its limits."""
        return self

    @property
    def name(self) -> str:
        """Its name without an example, to go before its limits."""
        return str(self)

    @property
    def silent(self) -> bool:
        """Whether a wrong value must not be repeated: it may be a secret."""
        return False

    @property
    def ordered(self) -> bool:
        """Whether its values can be between others."""
        return False

    def order(self, value: Any) -> Any:
        """By what a value that fits, of an ordered form, is compared; raises ValueError for one that has no place."""
        return value

    def check(self, value: Any) -> Any:
        """Take a Python value; an int is welcome as a float, and nothing else is converted."""
        raise NotImplementedError

    def parse(self, text: str) -> Any:
        """Take the text of a command line."""
        raise NotImplementedError


@dataclass(frozen=True, slots=True)
class Plain(Form):
    """One of int, float, bool, str and None."""

    kind: type

    def __str__(self) -> str:
        return "None" if self.kind is type(None) else self.kind.__name__

    def check(self, value: Any) -> Any:
        if self.kind is float and isinstance(value, (int, float)) and not isinstance(value, bool):
            return float(value)
        if type(value) is not self.kind:
            raise ValueError(f"must be {self}, not {describe(value)}")
        return value

    def parse(self, text: str) -> Any:
        if self.kind is str:
            return text
        word = text.strip().lower()
        if self.kind is type(None):
            if word in ("null", "none"):
                return None
        elif self.kind is bool:
            if word in _WORDS:
                return _WORDS[word]
            raise ValueError(f"must be true or false, not {text!r}")
        else:
            try:
                return self.kind(word)
            except ValueError:
                pass
        raise ValueError(f"must be {self}, not {text!r}")

    @property
    def ordered(self) -> bool:
        return self.kind in (int, float)


@dataclass(frozen=True, slots=True)
class Choice(Form):
    """One of given values: `Literal["adam", "sgd"]`."""

    values: tuple[Any, ...]

    def __str__(self) -> str:
        return f"one of {', '.join(map(repr, self.values))}"

    def check(self, value: Any) -> Any:
        for choice in self.values:
            if type(choice) is type(value) and choice == value:
                return choice
        raise ValueError(f"must be {self}, not {describe(value)}")

    def parse(self, text: str) -> Any:
        for choice in self.values:
            if str(choice) == text or str(choice).lower() == text.lower() == "none":
                return choice
            if isinstance(choice, bool) and str(choice).lower() == text.lower():
                return choice
        raise ValueError(f"must be {self}, not {text!r}")


@dataclass(frozen=True, slots=True)
class Sequence(Form):
    """`list[item]`; JSON on the command line."""

    item: Form

    def __str__(self) -> str:
        return f"list[{self.item}]"

    def check(self, value: Any) -> Any:
        if not isinstance(value, list):
            raise ValueError(f"must be {self}, not {describe(value)}")
        return [_inside(f"item {index}", self.item, item) for index, item in enumerate(value)]

    def parse(self, text: str) -> Any:
        return self.check(_json(self, text, '["a", "b"]'))


@dataclass(frozen=True, slots=True)
class Table(Form):
    """`dict[str, item]`; JSON on the command line."""

    item: Form

    def __str__(self) -> str:
        return f"dict[str, {self.item}]"

    def check(self, value: Any) -> Any:
        if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
            raise ValueError(f"must be {self}, not {describe(value)}")
        return {key: _inside(f"value of {key!r}", self.item, item) for key, item in value.items()}

    def parse(self, text: str) -> Any:
        return self.check(_json(self, text, '{"a": 1}'))


@dataclass(frozen=True, slots=True)
class Either(Form):
    """`X | Y`; the first that fits, and text is a str only when it is nothing else."""

    forms: tuple[Form, ...]

    def __str__(self) -> str:
        return " or ".join(map(str, self.forms))

    def check(self, value: Any) -> Any:
        # An int is kept as it is by `float | int`: forms of its very type come first.
        exact = [form for form in self.forms if isinstance(form.bare, Plain) and type(value) is form.bare.kind]
        return self._first([*exact, *self.forms], "check", value)

    def parse(self, text: str) -> Any:
        return self._first(sorted(self.forms, key=lambda form: form.bare == Plain(str)), "parse", text)

    def _first(self, forms: Iterable[Form], method: str, value: Any) -> Any:
        for form in forms:
            try:
                return getattr(form, method)(value)
            except ValueError:
                continue
        raise ValueError(f"must be {self}" if self.silent else f"must be {self}, not {describe(value)}")

    @property
    def silent(self) -> bool:
        return any(form.silent for form in self.forms)


@dataclass(frozen=True, slots=True)
class Anything(Form):
    """No type is known: any plain value; JSON on the command line, or else the text itself."""

    def __str__(self) -> str:
        return "any value"

    def check(self, value: Any) -> Any:
        if value is None or isinstance(value, (bool, int, float, str)):
            return value
        if isinstance(value, list):
            return [_inside(f"item {index}", self, item) for index, item in enumerate(value)]
        if isinstance(value, dict) and all(isinstance(key, str) for key in value):
            return {key: _inside(f"value of {key!r}", self, item) for key, item in value.items()}
        raise ValueError(f"must be made of bool, int, float, str, None, list and dict, not {describe(value)}")

    def parse(self, text: str) -> Any:
        try:
            return json.loads(text)
        except ValueError:
            return text


def of_value(value: Any) -> Form:
    """The form that a default value suggests: `epochs = 3` is an int, `names = []` a list of anything."""
    if isinstance(value, (bool, int, float, str)):
        return Plain(type(value))
    if isinstance(value, list):
        return Sequence(Anything())
    if isinstance(value, dict):
        return Table(Anything())
    return Anything()


def _inside(where: str, form: Form, value: Any) -> Any:
    try:
        return form.check(value)
    except ValueError as error:
        raise ValueError(f"{where} {error}") from None


def _json(form: Form, text: str, example: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        raise ValueError(f"must be {form}, written as JSON such as '{example}', not {text!r}") from None


def describe(value: Any) -> str:
    """The value and its type, as an error message says it."""
    try:
        text = repr(value)
    except ValueError:  # an int of more digits than Python writes
        text = "a huge number"
    return f"{text if len(text) <= 60 else text[:57] + '...'} ({type(plain(value)).__name__})"
