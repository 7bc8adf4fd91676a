"""Parameters of a notebook: its cell tagged `parameters`, read without running it."""

from __future__ import annotations

import ast
import contextlib
import io
import re
import tokenize
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from lepton_nb.errors import ReportError, hint
from lepton_nb.reports.annotations import of_annotation
from lepton_nb.reports.forms import Form, of_value
from lepton_nb.reports.limits import Limited
from lepton_nb.reports.moments import constant
from lepton_nb.reports.secrets import secretive
from lepton_nb.reports.values import plain, writable

TAG = "parameters"
HOW_TO_TAG = (
    "tag one cell `parameters`: in JupyterLab select the cell, open the property inspector (the gear at the right), "
    'and add "parameters" under Cell Tags; then assign the defaults in it, such as `epochs: int = 3`'
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """A parameter as its cell declares it.

    `default` is the value when it is a literal or such as `date(2013, 6, 24)`, else None, and `default_text` its source
    either way; a parameter with an empty `default_text` has no default and must be given. `fault` says what is wrong
    with the annotation.
    """

    name: str
    annotation: str
    default: Any
    default_text: str
    help: str
    form: Form | None
    fault: str = ""

    @property
    def default_shown(self) -> str:
        """The default as one types it in an address or on a command line; of what is no date, its source."""
        return self.default.isoformat() if isinstance(self.default, date) else self.default_text

    @property
    def required(self) -> bool:
        """True when there is no default."""
        return not self.default_text

    @property
    def type_text(self) -> str:
        """The type and its limits, for people."""
        return str(self.form) if self.form is not None else self.annotation

    @property
    def default_fault(self) -> str:
        """What is wrong with a default that is outside of the limits beside it, or no reference to a secret, or ""."""
        if self.form is not None and secretive(self.form):
            if self.default_text and self.default is None and self.default_text != "None":
                return "default must be written out, such as 'env:NAME'; correct it in the parameters cell"
            if self.default_text:
                try:
                    self.form.check(self.default)
                except ValueError as error:
                    return f"default {error}; correct it in the parameters cell"
        if self.default is not None and isinstance(self.form, Limited):
            try:
                self.form.check(self.default)
            except ValueError as error:
                return f"default {error}; correct it in the parameters cell"
        return ""


def read(notebook: Any) -> tuple[Parameter, ...] | None:
    """The parameters of a notebook (nbformat 4), or None when no cell is tagged `parameters`.

    Raises ReportError when the cell is not valid Python.
    """
    for index, cell in enumerate(notebook.cells):
        if cell.cell_type == "code" and TAG in cell.metadata.get("tags", []):
            return read_source(cell.source, index)
    return None


def read_source(source: str, index: int = 0) -> tuple[Parameter, ...]:
    """The parameters that `source` assigns at its top level; `index` is its cell's, for the error."""
    # Lines of IPython's own (%matplotlib, !ls) are not Python; the line count must stay.
    source = re.sub(r"(?m)^[ \t]*[%!?].*$", "", source)
    try:
        statements = ast.parse(source).body
    except SyntaxError as error:
        raise ReportError(
            f"the parameters cell (cell {index + 1}) is not valid Python: {error.msg}, line {error.lineno}; correct it",
            cell=index,
        ) from None
    comments = _comments(source)
    found: dict[str, Parameter] = {}
    declared: tuple[ast.expr | None, ast.expr | None]
    for statement in statements:
        match statement:
            case ast.AnnAssign(target=ast.Name(id=name), annotation=annotation, value=value):
                declared = (annotation, value)
            case ast.Assign(targets=[ast.Name(id=name)], value=value):
                declared = (None, value)
            case _:
                continue
        comment = _help(statement, comments, source.splitlines())
        found[name] = _parameter(name, declared[0], declared[1], comment)
    return tuple(found.values())


def check(declared: tuple[Parameter, ...] | None, given: Mapping[str, Any], *, text: bool = False) -> dict[str, Any]:
    """The values to inject, for parameters `given` in Python, or as text on a command line.

    Raises one ReportError that names every problem (also as `problems`): unknown names with the closest known
    one, values of the wrong type or outside of their limits, and parameters that have no default and were not given.
    """
    if declared is None:
        if given:
            raise ReportError(
                f"parameters were given ({', '.join(given)}), but the notebook has no parameters cell; {HOW_TO_TAG}",
                problems=tuple(given),
            )
        return {}
    known = {parameter.name: parameter for parameter in declared}
    values: dict[str, Any] = {}
    problems = []
    for name, value in given.items():
        if name not in known:
            problems.append(f"unknown parameter {name!r}{hint(name, known)}")
            continue
        parameter = known[name]
        if parameter.form is None:
            problems.append(f"parameter {name!r}: {parameter.fault}; change the annotation in the parameters cell")
            continue
        try:
            values[name] = writable(parameter.form.parse(value) if text else parameter.form.check(plain(value)))
        except ValueError as error:
            problems.append(f"parameter {name!r} {error}")
    problems += [
        f"parameter {parameter.name!r} has no default; give it a value"
        for parameter in declared
        if parameter.required and parameter.name not in given
    ]
    problems += [
        f"parameter {parameter.name!r} {parameter.default_fault}"
        for parameter in declared
        if parameter.default_fault and (parameter.name not in given or secretive(parameter.form))
    ]
    if problems:
        raise ReportError(
            f"{'; '.join(problems)}; known parameters: {', '.join(sorted(known)) or 'none'}",
            problems=tuple(problems),
            known=tuple(sorted(known)),
        )
    return values


def _parameter(name: str, annotation: ast.expr | None, value: ast.expr | None, comment: str) -> Parameter:
    default, literal = None, False
    if value is not None:
        with contextlib.suppress(ValueError, TypeError):
            default, literal = plain(constant(value)), True
    form: Form | None = of_value(default if literal else None)
    fault = ""
    if annotation is not None:
        try:
            form = of_annotation(annotation)
        except (ValueError, SyntaxError) as error:
            form, fault = None, str(error)
    return Parameter(
        name=name,
        annotation=ast.unparse(annotation) if annotation is not None else "",
        default=default,
        default_text=ast.unparse(value) if value is not None else "",
        help=comment,
        form=form,
        fault=fault,
    )


def _help(statement: ast.stmt, comments: Mapping[int, str], lines: Sequence[str]) -> str:
    """The comment at the end of a statement, at its first line, or alone on the line above."""
    above = statement.lineno - 1
    alone = above and lines[above - 1].lstrip().startswith("#")
    found = (comments.get(statement.end_lineno or 0), comments.get(statement.lineno), alone and comments.get(above))
    return next((words for words in found if words), "")


def _comments(source: str) -> dict[int, str]:
    """Line number (from 1) to the comment on that line, without its hash."""
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    return {token.start[0]: token.string.lstrip("# ").rstrip() for token in tokens if token.type == tokenize.COMMENT}
