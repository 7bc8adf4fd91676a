"""The sets of parameters of a sweep, from lists of values and from a file, all checked before anything starts."""

from __future__ import annotations

import csv
import hashlib
import importlib.metadata
import itertools
import json
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from lepton_nb.errors import ReportError
from lepton_nb.reports.parameters import Parameter, check
from lepton_nb.reports.values import jsonable

# More than anybody means: a grid of ten parameters with ten values each would never end.
MOST_SETS = 10_000
NAME_LENGTH = 60

Set = Mapping[str, Any]


def alternatives(text: str) -> list[Any]:
    """The values that a command line gives for one parameter: V1,V2,... or a JSON list, for values with commas."""
    if text.lstrip().startswith("["):
        try:
            found = json.loads(text)
        except ValueError as error:
            raise ReportError(f"{text!r} is no JSON list: {error}; write V1,V2 or a list such as [1, 2]") from None
        return list(found)
    return [Text(part.strip()) for part in text.split(",")]


class Text(str):
    """A value as somebody wrote it, to be read as its parameter's type says."""

    __slots__ = ()


def read_file(path: Path) -> list[Set]:
    """The sets of a CSV file (a row each; an empty field is the default), or of a JSON or YAML file.

    These hold a list of sets, or one table of lists: a grid. Raises ReportError for what is none of this.
    """
    try:
        content = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise ReportError(f"cannot read {path}: {reason}", path=str(path)) from None
    kind = path.suffix.lower()
    if kind == ".csv":
        return _rows(content, path)
    found: Any
    if kind == ".json":
        try:
            found = json.loads(content)
        except ValueError as error:
            raise ReportError(f"{path} is not JSON: {error}", path=str(path)) from None
    elif kind in (".yaml", ".yml"):
        import yaml

        try:
            found = yaml.safe_load(content)
        except yaml.YAMLError as error:
            raise ReportError(f"{path} is not YAML: {error}", path=str(path)) from None
    else:
        raise ReportError(f"{path} must end in .csv, .json or .yaml, to tell how to read it", path=str(path))
    if isinstance(found, dict) and found and all(isinstance(values, list) for values in found.values()):
        return grid(found)
    if isinstance(found, list) and found and all(isinstance(one, dict) for one in found):
        return [{str(name): value for name, value in one.items()} for one in found]
    raise ReportError(
        f"{path} must hold a list of sets of parameters, or a table of lists such as {{epochs: [1, 2]}}", path=str(path)
    )


def grid(lists: Mapping[str, Sequence[Any]]) -> list[Set]:
    """Every combination of the values; the last name changes fastest."""
    for name, values in lists.items():
        if isinstance(values, str) or not isinstance(values, Iterable) or not list(values):
            raise ReportError(f"parameter {name!r} needs a list of values to try, not {values!r}", name=name)
    count = 1
    for values in lists.values():
        count *= len(list(values))
    _check_count(count)
    return [dict(zip(lists, values, strict=True)) for values in itertools.product(*lists.values())]


def combine(one: Sequence[Set], other: Sequence[Set]) -> list[Set]:
    """Each set of `one` with each of `other`. Raises ReportError for a parameter that both have."""
    twice = {name for found in one for name in found} & {name for found in other for name in found}
    if twice:
        raise ReportError(f"{', '.join(sorted(twice))} is both in the file and given by -p; leave one out")
    _check_count(len(one) * len(other))
    return [{**first, **second} for first in one for second in other]


def checked(declared: tuple[Parameter, ...] | None, sets: Sequence[Set]) -> list[dict[str, Any]]:
    """The sets with values of the notebook's types, each once. Raises ReportError for all that is wrong in them."""
    _check_count(len(sets))
    if not sets:
        raise ReportError("a sweep needs parameters: -p NAME V1,V2 or --file")
    known = {parameter.name: parameter for parameter in declared or ()}
    problems: dict[str, None] = {}
    found: dict[str, dict[str, Any]] = {}
    for one in sets:
        typed = {}
        for name, value in one.items():
            form = known[name].form if name in known else None
            if isinstance(value, Text) and form is not None:
                try:
                    value = form.parse(str(value))
                except ValueError as error:
                    problems[f"parameter {name!r} {error}"] = None
                    continue
            typed[name] = value
        try:
            values = check(declared, typed)
        except ReportError as error:
            problems |= dict.fromkeys(error.problems)
        else:
            found.setdefault(json.dumps(jsonable(values), sort_keys=True), values)
    if problems:
        raise ReportError(
            f"{'; '.join(problems)}; known parameters: {', '.join(sorted(known)) or 'none'}", problems=tuple(problems)
        )
    return list(found.values())


def identity(notebook_sha256: str, values: Set, packages_sha256: str) -> str:
    """What a run is known by: the same notebook with the same parameters and packages need not run again."""
    facts = [notebook_sha256, jsonable(dict(values)), packages_sha256]
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def packages_sha256() -> str:
    """A hash of the names and versions of all installed packages."""
    names = {f"{one.name}=={one.version}".lower() for one in importlib.metadata.distributions()}
    return hashlib.sha256("\n".join(sorted(names)).encode()).hexdigest()


def folder_name(values: Set, identity_: str) -> str:
    """A name for a run's folder: its parameters in few letters, and the beginning of its identity."""
    words = ",".join(f"{name}={jsonable(value)}" for name, value in values.items())
    safe = re.sub(r"[^A-Za-z0-9=,._+-]+", "_", words)[:NAME_LENGTH].strip("._- ,")
    return f"{safe}-{identity_[:12]}" if safe else f"run-{identity_[:12]}"


def _rows(content: str, path: Path) -> list[Set]:
    reader = csv.DictReader(content.splitlines(keepends=True), strict=True)
    try:
        rows = list(reader)
    except csv.Error as error:
        raise ReportError(f"{path}, line {reader.line_num}: {error}", path=str(path)) from None
    if not rows or len(set(reader.fieldnames or ())) < len(reader.fieldnames or ()):
        raise ReportError(f"{path} needs a first line with a name for each column, and a row for each run")
    for number, row in enumerate(rows, start=2):
        if None in row or None in row.values():
            raise ReportError(f"{path}, row {number} has not as many fields as the first line", path=str(path))
    return [{name.strip(): Text(value.strip()) for name, value in row.items() if value.strip()} for row in rows]


def _check_count(count: int) -> None:
    if count > MOST_SETS:
        raise ReportError(f"a sweep of {count:,} runs is more than {MOST_SETS:,}; give fewer values", runs=count)


def folder_of(output: str | os.PathLike[str] | None, source: Path, default: Path) -> Path:
    """The folder of a sweep: `output`, or one named after the notebook in `default`."""
    return Path(output).expanduser().absolute() if output is not None else (default / f"{source.stem}-sweep").absolute()
