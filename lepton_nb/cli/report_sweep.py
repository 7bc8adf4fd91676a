"""`lepton-nb report sweep`."""

from __future__ import annotations

import argparse
import signal
import sys
from pathlib import Path
from typing import Any

from lepton_nb.cli.output import say, tell
from lepton_nb.errors import ReportError
from lepton_nb.events import Event, Progress


def add(reports: Any, shield: str) -> None:
    """Add the command to those of `lepton-nb report`; `shield` stands before values that may begin with a dash."""
    command = reports.add_parser("sweep", help="make a report for each of many sets of parameters, and compare them")
    command.add_argument("notebook", metavar="NOTEBOOK")
    command.add_argument(
        "-p", "--parameter", nargs=2, action="append", default=[], metavar=("NAME", "V1,V2,..."),
        help="values to try, all combinations of them; a JSON list for values with commas; may be given many times",
    )  # fmt: skip
    command.add_argument("--file", metavar="FILE", help="sets of parameters, as CSV, JSON or YAML")
    command.add_argument("--parallel", type=int, default=2, metavar="N", help="how many run at once; default: 2")
    command.add_argument("-o", "--output", metavar="DIR", help="folder; default: reports/out/NAME-sweep")
    command.add_argument("--show-code", action="store_true", help="show the code of the cells too")
    command.add_argument("--timeout-s", type=float, metavar="S", help="stop a run after this many seconds")
    command.add_argument("--ledger", metavar="FILE", help="enter the runs there; default: reports/out/ledger.sqlite")
    command.set_defaults(run=lambda arguments: _sweep(arguments, shield))


def _sweep(arguments: argparse.Namespace, shield: str) -> int:
    from lepton_nb.cli.report import Signalled, signals_raise
    from lepton_nb.progress import draws
    from lepton_nb.reports import sweep_sets
    from lepton_nb.reports.sweep import SweepPlan

    given = [(name, value.removeprefix(shield)) for name, value in arguments.parameter]
    names = [name for name, _ in given]
    if twice := [name for name in names if names.count(name) > 1]:
        raise ReportError(f"parameter {twice[0]!r} is given twice; give all its values at once: V1,V2")
    sets = sweep_sets.grid({name: sweep_sets.alternatives(value) for name, value in given}) if given else []
    if arguments.file:
        rows = sweep_sets.read_file(Path(arguments.file).expanduser())
        sets = sweep_sets.combine(rows, sets) if sets else rows
    planned = SweepPlan.of(
        arguments.notebook,
        sets,
        parallel=arguments.parallel,
        output=arguments.output,
        timeout_s=arguments.timeout_s,
        show_code=arguments.show_code,
        ledger=arguments.ledger,
    )
    with signals_raise():
        run = planned.run()
        if not draws():
            run.watch(_lines)
        try:
            done = run.start().wait()
        except Signalled as signalled:
            name = signal.Signals(signalled.number).name
            tell(f"lepton-nb: cancelled by {name}; the same command goes on with what is missing: {planned.folder}")
            return 128 + signalled.number
    for one in done.failed:
        tell(f"failed: {one.folder.name}: {one.reason}")
    finished = sum(one.status == "finished" for one in done.runs)
    say(f"{finished} of {len(done.runs)} finished, {done.made} of them made now")
    say(f"sweep: {done.page}")
    return 1 if finished < len(done.runs) else 0


def _lines(event: Event) -> None:
    if isinstance(event, Progress):
        sys.stderr.write(f"[{event.done}/{event.total}] {event.values['run']}: {event.values['status']}\n")
        sys.stderr.flush()
