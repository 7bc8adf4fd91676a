"""`lepton-nb report run` and `lepton-nb report params`."""

from __future__ import annotations

import contextlib
import json
import signal
from collections.abc import Iterator, Sequence
from types import FrameType
from typing import Any

from lepton_nb.cli.output import say, tell
from lepton_nb.errors import ReportError
from lepton_nb.reports.formats import DEFAULT
from lepton_nb.reports.parameters import HOW_TO_TAG, Parameter, read
from lepton_nb.reports.place import HTML_NAME
from lepton_nb.reports.run import load, plan, show
from lepton_nb.reports.secrets import secretive
from lepton_nb.reports.storage import fetch, local, remote
from lepton_nb.reports.values import jsonable


class Signalled(KeyboardInterrupt):
    """A signal asked the command to end. A KeyboardInterrupt, so that a run that is waited for stops cleanly."""

    def __init__(self, number: int) -> None:
        super().__init__(f"signal {number}")
        self.number = number


def run(
    notebook: str,
    parameters: Sequence[tuple[str, str]],
    *,
    output: str | None,
    show_code: bool,
    timeout_s: float | None,
    cell_timeout_s: float | None = None,
    resume: str | None = None,
    formats: str = "",
    sign: str | None = None,
    sign_passphrase: str | None = None,
    ledger: str | None = None,
) -> int:
    """Make a report; SIGINT, SIGTERM and SIGHUP keep the partial report and give the status 128 + signal."""
    given = dict(parameters)
    if len(given) < len(parameters):
        names = [name for name, _ in parameters]
        raise ReportError(f"parameter {next(n for n in names if names.count(n) > 1)!r} is given twice; give it once")
    planned = plan(
        notebook,
        given,
        text=True,
        output=output,
        show_code=show_code,
        timeout_s=timeout_s,
        cell_timeout_s=cell_timeout_s,
        resume=resume,
        formats=formats or DEFAULT,
        ledger=ledger,
        sign=sign,
        sign_passphrase=sign_passphrase,
    )
    with signals_raise():
        try:
            report = show(planned)
        except Signalled as signalled:
            html = planned.output / HTML_NAME
            kept = f"; what ran until then: {html}" if html.exists() else ""
            tell(f"lepton-nb: cancelled by {signal.Signals(signalled.number).name}{kept}")
            return 128 + signalled.number
    for name, value in report.metrics.items():
        say(f"{name}: {value}")
    for note in report.notes:
        tell(f"lepton-nb: {note}")
    say(f"report: {report.html}")
    if report.url:
        say(f"copied to: {report.url}")
    return 0


def params(notebook: str, *, as_json: bool = False) -> int:
    """Print each parameter of a notebook: its type and limits, its default, and what it means; or the same as JSON."""
    fetched = fetch(notebook) if remote(notebook) else None
    source = fetched.path if fetched else local(notebook)
    declared = read(load(source))
    if declared is None:
        raise ReportError(f"{source.name} has no parameters cell; {HOW_TO_TAG}", path=str(source))
    if as_json:
        say(json.dumps([_facts(one) for one in declared], indent=2, ensure_ascii=False))
        return 0
    for one in declared:
        default = "must be given" if one.required else f"default {_default(one)}"
        say(f"{one.name}: {one.type_text}; {default}")
        for words in (one.help, one.fault, one.default_fault):
            if words:
                say(f"    {words}")
    return 0


def _facts(one: Parameter) -> dict[str, Any]:
    return {
        "name": one.name,
        "type": one.annotation,
        "wanted": one.type_text,
        "required": one.required,
        "default": jsonable(one.default) if _default(one) == one.default_text else None,
        "default_source": _default(one),
        "help": one.help,
        "fault": one.fault or one.default_fault,
        "secret": secretive(one.form),
    }


def _default(one: Parameter) -> str:
    # Of a secret, a default that is no reference may be the secret itself.
    return "(not shown)" if secretive(one.form) and one.default_fault else one.default_text


@contextlib.contextmanager
def signals_raise() -> Iterator[None]:
    """Raise Signalled at the first signal that asks to end; a second Ctrl-C does so again, in a hurry."""
    raised = False

    def handle(number: int, frame: FrameType | None) -> None:
        nonlocal raised
        if not raised or number == signal.SIGINT:
            raised = True
            raise Signalled(number)

    previous = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
