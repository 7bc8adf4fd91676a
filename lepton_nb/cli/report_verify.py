"""`lepton-nb report verify` and `lepton-nb report diff`."""

from __future__ import annotations

import argparse
import signal
from typing import Any

from lepton_nb.cli.output import say, tell


def add(reports: Any) -> None:
    """Add both commands to the parser of `report` (what its add_subparsers returned)."""
    verify = reports.add_parser("verify", help="run a report again and say whether its result is reproduced")
    verify.add_argument("folder", metavar="DIR", help="folder of the report")
    verify.add_argument("--no-run", action="store_true", help="check files, inputs and environment alone")
    verify.add_argument("--notebook", metavar="NOTEBOOK", help="where it is now, if not where the manifest says")
    verify.add_argument(
        "--signature", metavar="KEY", help="a public key, or a file of allowed signers: one must have signed the report"
    )
    _tolerance(verify)
    verify.add_argument(
        "--strict", action="store_true", help="hold other packages, machines and printed texts against it too"
    )
    verify.add_argument("--timeout-s", type=float, metavar="S", help="stop the run after this many seconds")
    verify.add_argument("--keep", metavar="DIR", help="keep the report of the second run there")
    verify.add_argument("--json", action="store_true", help="print JSON")
    verify.set_defaults(run=_verify)

    diff = reports.add_parser("diff", help="say what is different in two reports")
    diff.add_argument("first", metavar="DIR")
    diff.add_argument("second", metavar="DIR")
    _tolerance(diff)
    diff.add_argument("--json", action="store_true", help="print JSON")
    diff.set_defaults(run=_diff)


def _tolerance(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--tolerance", action="append", default=[], metavar="NAME=ABSOLUTE,rel:RELATIVE",
        help="how far a metric may be off, such as auc=0.01 or auc=0.01,rel:0.05; * for all, also for figures",
    )  # fmt: skip


def _verify(arguments: argparse.Namespace) -> int:
    from lepton_nb.cli.report import Signalled, signals_raise
    from lepton_nb.reports.tolerance import parse
    from lepton_nb.reports.verify import report_verify

    with signals_raise():
        try:
            verdict = report_verify(
                arguments.folder,
                run=not arguments.no_run,
                notebook=arguments.notebook,
                signature=arguments.signature,
                tolerance=dict(map(parse, arguments.tolerance)),
                strict=arguments.strict,
                timeout_s=arguments.timeout_s,
                keep=arguments.keep,
            )
        except Signalled as signalled:
            tell(f"lepton-nb: cancelled by {signal.Signals(signalled.number).name}")
            return 128 + signalled.number
    say(verdict.json() if arguments.json else str(verdict))
    return 0 if verdict else 1


def _diff(arguments: argparse.Namespace) -> int:
    from lepton_nb.reports.diff import report_diff
    from lepton_nb.reports.tolerance import parse

    found = report_diff(arguments.first, arguments.second, tolerance=dict(map(parse, arguments.tolerance)))
    say(found.json() if arguments.json else str(found))
    return 0
