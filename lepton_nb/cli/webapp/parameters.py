"""Parameters of an app: from the address of its page into its notebook, as a report's are."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

from lepton_nb.cli.webapp.kernels import TOKEN
from lepton_nb.errors import LeptonError, ReportError
from lepton_nb.reports.parameters import Parameter, check, read
from lepton_nb.reports.secrets import secretive
from lepton_nb.reports.source import read_notebook


def declared(path: Path) -> tuple[Parameter, ...] | None:
    """The parameters of the notebook at `path`; raises ReportError where it or they cannot be read."""
    return read(read_notebook(path))


def values(known: tuple[Parameter, ...] | None, query: str) -> dict[str, Any]:
    """The checked values that `query`, the part of an address after "?", gives; raises ReportError for all faults."""
    try:
        pairs = parse_qsl(query, keep_blank_values=True, errors="strict")
    except ValueError:  # a wrong UTF-8 sequence among them
        raise ReportError("the address is not valid: write parameters as name=value, joined by &, in UTF-8") from None
    pairs = [(name, value) for name, value in pairs if name != TOKEN]
    given = dict(pairs)
    if len(given) < len(pairs):
        names = [name for name, _ in pairs]
        twice = tuple(
            f"parameter {name!r} is given more than once; give it once" for name in given if names.count(name) > 1
        )
        raise ReportError("; ".join(twice), problems=twice)
    secret = tuple(
        f"parameter {one.name!r} is a secret, and cannot be given in an address; leave it to the notebook"
        for one in known or ()
        if one.name in given and secretive(one.form)
    )
    if secret:
        # A visitor would choose which file or variable of this machine is read.
        raise ReportError("; ".join(secret), problems=secret)
    return check(known, given, text=True)


def entitle(notebook: Any, folder: Path) -> None:
    """Give the page the notebook's first heading as its title, unless its metadata hold one."""
    from lepton_nb.reports.markdown import Markdown

    for cell in notebook.cells:
        if cell.cell_type != "markdown" or notebook.metadata.get("title"):
            continue
        markdown = Markdown(folder)
        markdown.render(cell.source, cell.get("attachments"))
        if title := markdown.title or next((heading.text for heading in markdown.headings), ""):
            notebook.metadata["title"] = title


def check_preheat(known: tuple[Parameter, ...] | None) -> None:
    """Raise LeptonError when the notebook cannot run before its visitor is there."""
    required = [parameter.name for parameter in known or () if parameter.required]
    if required:
        raise LeptonError(
            f"--preheat needs a default for every parameter; {', '.join(required)} has none: give it one, "
            "or leave --preheat out",
            parameters=tuple(required),
        )


def check_names(known: tuple[Parameter, ...] | None) -> None:
    """Raise LeptonError when a parameter has the name that the address needs for its token."""
    if TOKEN in {parameter.name for parameter in known or ()}:
        raise LeptonError(f"parameter {TOKEN!r} of the notebook has a name that an app's address needs; rename it")
