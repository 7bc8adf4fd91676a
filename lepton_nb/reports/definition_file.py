"""A YAML file read with the line of each key, by the rules of YAML 1.2: `on` is a word, 1e-3 a number, 12:30 a text."""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from lepton_nb.errors import ReportError, hint

Place = tuple[Hashable, ...]


class _Loader(yaml.SafeLoader):
    """Safe: plain values only, whatever tags a file has."""


_Loader.yaml_implicit_resolvers = {}
for _tag, _pattern, _first in (
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("int", r"[-+]?(?:0|[1-9][0-9]*)|0x[0-9a-fA-F]+", "-+0123456789"),
    ("float", r"[-+]?(?:\.\d+|\d+(?:\.\d*)?)(?:[eE][-+]?\d+)?|[-+]?\.(?:inf|Inf)|\.(?:nan|NaN)", "-+.0123456789"),
    ("timestamp", r"\d{4}-\d\d-\d\d(?:[Tt ]\d\d:\d\d:\d\d(?:\.\d*)?(?:Z|[-+]\d\d:\d\d)?)?", "0123456789"),
):  # fmt: skip
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(f"(?:{_pattern})$"), list(_first))


@dataclass
class Document:
    """What a file says, and where. Problems are collected: `fail_if_any` raises all of them at once."""

    path: Path
    value: Any
    lines: Mapping[Place, int]
    problems: list[str] = field(default_factory=list)

    def problem(self, place: Place, text: str) -> None:
        """Note a problem with what is at `place`, a path of keys and indexes."""
        line = next((self.lines[place[:end]] for end in range(len(place), -1, -1) if place[:end] in self.lines), 1)
        named = "".join(f"[{part + 1}]" if isinstance(part, int) else f".{part}" for part in place).lstrip(".")
        self.problems.append(f"{self.path}:{line}: {named}{': ' if named else ''}{text}")

    def table(self, value: Any, place: Place, known: Iterable[str], needed: Iterable[str] = ()) -> dict[str, Any]:
        """`value` as a mapping whose keys are all known; an empty one where it is none."""
        names = tuple(known)
        if value is None and not tuple(needed):
            return {}
        if not isinstance(value, dict):
            self.problem(place, f"give keys and values ({', '.join(names)})")
            return {}
        for key in value:
            if key not in names:
                self.problem((*place, key), f"unknown key{hint(str(key), names)}; known: {', '.join(names)}")
        for key in needed:
            if value.get(key) is None:
                self.problem(place, f"the key {key!r} is missing; add it")
        return {key: one for key, one in value.items() if key in names}

    def text(self, value: Any, place: Place, default: str = "") -> str:
        """`value` as text that is not empty."""
        if value is None:
            return default
        if not isinstance(value, str) or not value:
            self.problem(place, f"give a text, not {value!r}")
            return default
        return value

    def number(self, value: Any, place: Place, default: float, least: float, most: float) -> float:
        """`value` as a number within limits."""
        if value is None:
            return default
        if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
            self.problem(place, f"give a number from {least:g} to {most:g}, not {value!r}")
            return default
        return value

    def count(self, value: Any, place: Place, default: int, most: int) -> int:
        """`value` as a whole number from 0."""
        if value is None:
            return default
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= most:
            self.problem(place, f"give a whole number from 0 to {most}, not {value!r}")
            return default
        return value

    def choice(self, value: Any, place: Place, default: str, known: Iterable[str]) -> str:
        """`value` as one of the texts `known`."""
        names = tuple(known)
        if value is None:
            return default
        if value not in names:
            self.problem(place, f"unknown value {value!r}{hint(str(value), names)}; known: {', '.join(names)}")
            return default
        return str(value)

    def texts(self, value: Any, place: Place) -> tuple[str, ...]:
        """`value` as a list of texts, or one text."""
        if value is None:
            return ()
        listed = value if isinstance(value, list) else [value]
        for index, one in enumerate(listed):
            if not isinstance(one, str) or not one:
                self.problem((*place, index), f"give a text, not {one!r}; put it in quotes")
        return tuple(one for one in listed if isinstance(one, str))

    def flag(self, value: Any, place: Place, default: bool) -> bool:
        """`value` as true or false."""
        if value is None or isinstance(value, bool):
            return default if value is None else value
        self.problem(place, f"give true or false, not {value!r}")
        return default

    def fail_if_any(self) -> None:
        """Raise ReportError with every problem, also as `problems`."""
        if self.problems:
            raise ReportError("\n".join(self.problems), problems=tuple(self.problems), path=str(self.path))


def read(path: Path) -> Document:
    """The one document of a YAML file. Raises ReportError, with the line, where it is no such file."""
    try:
        text = path.read_text(encoding="utf-8")
        loader = _Loader(text)
        try:
            node = loader.get_single_node()
            lines: dict[Place, int] = {}
            document = Document(path, None, lines)
            _walk(document, node, (), lines, set())
            document.fail_if_any()
            document.value = loader.construct_document(node) if node is not None else None
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise ReportError(f"{path}:{line}: not valid YAML: {error.problem}; correct it", path=str(path)) from None
    except (yaml.YAMLError, UnicodeDecodeError, ValueError, TypeError, RecursionError) as error:
        raise ReportError(f"{path}: not valid YAML: {error}; correct it", path=str(path)) from None
    except OSError as error:
        raise ReportError(f"cannot read {path}: {error.strerror}; check the path", path=str(path)) from None
    return document


def _walk(document: Document, node: Any, place: Place, lines: dict[Place, int], above: set[int]) -> None:
    if node is None:
        return
    if id(node) in above:
        document.problem(place, "refers to itself; write it out")
        return
    lines.setdefault(place, node.start_mark.line + 1)
    inside = above | {id(node)}
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            there = (*place, key.value if isinstance(key, yaml.ScalarNode) else "?")
            if there in lines:
                document.problem(there, f"given twice, again in line {key.start_mark.line + 1}; give it once")
            lines[there] = key.start_mark.line + 1
            _walk(document, value, there, lines, inside)
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            _walk(document, value, (*place, index), lines, inside)
