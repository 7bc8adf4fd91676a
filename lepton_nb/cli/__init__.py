"""The command `lepton-nb`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from lepton_nb._version import __version__
from lepton_nb.cli import report_history, report_schedule, report_sweep, report_verify
from lepton_nb.cli.output import tell
from lepton_nb.errors import LeptonError

# Stands before a parameter's value, so that argparse does not take "-x" for an option. Never seen by anybody.
_SHIELD = "\0"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit status: 0, 1 for an error of ours, 2 for wrong usage, 128 + signal."""
    arguments = parser().parse_args(_shielded(sys.argv[1:] if argv is None else argv))
    run: Callable[[argparse.Namespace], int] = arguments.run
    try:
        return run(arguments)
    except LeptonError as error:
        if arguments.debug:
            raise
        tell(f"lepton-nb: {error}")
        return 1
    except KeyboardInterrupt:
        return 130


def parser() -> argparse.ArgumentParser:
    """The parser of the whole command line."""
    top = argparse.ArgumentParser(prog="lepton-nb", description="Clusters, windows, training and reports in notebooks.")
    top.add_argument("--version", action="version", version=f"lepton-nb {__version__}")
    top.add_argument("--debug", action="store_true", help="show the traceback of an error")
    commands = top.add_subparsers(title="commands", metavar="COMMAND", required=True)

    doctor = commands.add_parser("doctor", help="say what this machine has, and what would be used")
    doctor.add_argument("--json", action="store_true", help="print JSON")
    doctor.set_defaults(run=_doctor)

    lab = commands.add_parser("lab", help="open JupyterLab on a folder of notebooks")
    lab.add_argument("folder", nargs="?", metavar="NOTEBOOK_DIR", help="default: notebooks, or the current folder")
    _serving(lab)
    lab.set_defaults(run=_lab)

    app = commands.add_parser("app", help="show a notebook as a web app")
    app.add_argument("notebook", metavar="NOTEBOOK")
    _serving(app)
    app.add_argument(
        "--ip", type=_ip, default="127.0.0.1", metavar="ADDRESS",
        help="listen there instead of on this machine alone; visitors then need the token in the printed address",
    )  # fmt: skip
    app.add_argument(
        "--preheat", type=_preheat, default=0, metavar="N",
        help="keep N copies of the notebook running, ready for visitors without parameters; default: 0",
    )  # fmt: skip
    app.add_argument(
        "--keep-s", type=_seconds, default=60.0, metavar="S",
        help="how long a page that lost its connection finds its program again; default: 60",
    )  # fmt: skip
    app.set_defaults(run=_app)

    report = commands.add_parser("report", help="make reports of notebooks")
    reports = report.add_subparsers(title="commands", metavar="COMMAND", required=True)
    run = reports.add_parser("run", help="run a notebook and write its report")
    run.add_argument("notebook", metavar="NOTEBOOK")
    run.add_argument(
        "-p", "--parameter", nargs=2, action="append", default=[], metavar=("NAME", "VALUE"),
        help="a parameter of the notebook; lists and dicts as JSON, None as null; may be given many times",
    )  # fmt: skip
    run.add_argument("-o", "--output", metavar="DIR", help="folder of the report; default: reports/out/NAME-TIME")
    run.add_argument("--show-code", action="store_true", help="show the code of the cells too")
    run.add_argument("--timeout-s", type=float, metavar="S", help="stop the run after this many seconds")
    run.add_argument("--cell-timeout-s", type=float, metavar="S", help="stop the run when a cell takes longer")
    run.add_argument(
        "--resume", metavar="FOLDER",
        help="take parameters, and outputs of cells tagged once, from the failed report in this folder",
    )  # fmt: skip
    run.add_argument(
        "--format", dest="formats", default="", metavar="FORMAT,...",
        help="some of html, notebook (both are always written), markdown, pdf",
    )  # fmt: skip
    run.add_argument("--sign", metavar="KEY", help="sign the report with this private key: OpenSSH's form, or PEM")
    run.add_argument(
        "--sign-passphrase", metavar="REFERENCE", help="of an encrypted key: env:NAME or file:PATH, where it is"
    )
    run.add_argument("--ledger", metavar="FILE", help="enter the run there; default: reports/out/ledger.sqlite")
    run.set_defaults(run=_report_run)
    params = reports.add_parser("params", help="say which parameters a notebook takes, with their types and limits")
    params.add_argument("notebook", metavar="NOTEBOOK")
    params.add_argument("--json", action="store_true", help="print JSON")
    params.set_defaults(run=_report_params)
    report_verify.add(reports)
    report_history.add(reports)
    report_sweep.add(reports, _SHIELD)
    report_schedule.add(reports)
    return top


def _serving(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--port", type=_port, default=0, metavar="N", help="default, or 0: the first free one from Jupyter's usual on"
    )
    command.add_argument("--no-browser", action="store_true", help="do not open a browser")


def _port(text: str) -> int:
    number = int(text)
    if not 0 <= number <= 65535:
        raise argparse.ArgumentTypeError("a port is a number from 0 to 65535")
    return number


def _ip(text: str) -> str:
    from ipaddress import ip_address

    try:
        return str(ip_address("127.0.0.1" if text == "localhost" else text))
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no address; give a number such as 127.0.0.1, or 0.0.0.0 for all networks of this machine"
        ) from None


def _preheat(text: str) -> int:
    number = int(text)
    if not 0 <= number <= 64:
        raise argparse.ArgumentTypeError("give a number of copies from 0 to 64")
    return number


def _seconds(text: str) -> float:
    number = float(text)
    if not 1 <= number <= 86_400:
        raise argparse.ArgumentTypeError("give seconds from 1 to 86400, a day")
    return number


def _shielded(argv: Sequence[str]) -> list[str]:
    shielded = list(argv)
    for index, word in enumerate(argv):
        if word in ("-p", "--parameter") and index + 2 < len(argv):
            shielded[index + 2] = _SHIELD + argv[index + 2]
    return shielded


def _doctor(arguments: argparse.Namespace) -> int:
    from lepton_nb.cli.doctor import doctor

    return doctor(as_json=arguments.json)


def _lab(arguments: argparse.Namespace) -> int:
    from lepton_nb.cli.serve import lab

    folder = Path(arguments.folder) if arguments.folder else None
    return lab(folder, port=arguments.port, browser=not arguments.no_browser)


def _app(arguments: argparse.Namespace) -> int:
    from lepton_nb.cli.app import app

    return app(
        Path(arguments.notebook),
        ip=arguments.ip,
        port=arguments.port,
        browser=not arguments.no_browser,
        preheat=arguments.preheat,
        keep_s=arguments.keep_s,
    )


def _report_run(arguments: argparse.Namespace) -> int:
    from lepton_nb.cli.report import run

    return run(
        arguments.notebook,
        [(name, value.removeprefix(_SHIELD)) for name, value in arguments.parameter],
        output=arguments.output,
        show_code=arguments.show_code,
        timeout_s=arguments.timeout_s,
        cell_timeout_s=arguments.cell_timeout_s,
        resume=arguments.resume,
        formats=arguments.formats,
        sign=arguments.sign,
        sign_passphrase=arguments.sign_passphrase,
        ledger=arguments.ledger,
    )


def _report_params(arguments: argparse.Namespace) -> int:
    from lepton_nb.cli.report import params

    return params(arguments.notebook, as_json=arguments.json)
