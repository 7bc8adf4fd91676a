"""`lepton-nb report schedule`: run the definitions in a folder by the clock, and see how it goes."""

from __future__ import annotations

import argparse
import contextlib
import signal
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import Any

from lepton_nb.cli.output import say, tell
from lepton_nb.errors import ReportError

DEFAULT_DIR = "reports"
POLL_S = 0.2
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def add(reports: Any) -> None:
    """Add the command and its own commands to those of `lepton-nb report`."""
    schedule = reports.add_parser("schedule", help="run the definitions of reports in a folder by the clock")
    commands = schedule.add_subparsers(title="commands", metavar="COMMAND", required=True)

    start = commands.add_parser("start", help="run what is due, until asked to stop")
    _places(start)
    start.add_argument("--at-once", type=_count, default=1, metavar="N", help="so many reports at a time; default: 1")
    start.add_argument("--once", action="store_true", help="do what is due now, and end; for cron and systemd timers")
    start.add_argument(
        "--on-stop", choices=("wait", "cancel"), default="wait",
        help="at SIGTERM or Ctrl-C wait for what runs (until a second one), or cancel it; default: wait",
    )  # fmt: skip
    start.set_defaults(run=_start)

    listed = commands.add_parser("list", help="say what is defined, when it runs next, and how it went last")
    _places(listed)
    listed.set_defaults(run=_list)

    following = commands.add_parser("next", help="say when what runs next")
    _places(following)
    following.add_argument("-n", type=_count, default=5, metavar="N", help="so many times of each; default: 5")
    following.set_defaults(run=_next)

    now = commands.add_parser("run-now", help="run one definition at once, whatever its schedule says")
    now.add_argument("name", metavar="NAME", help="the definition: its file's name without .yaml")
    _places(now)
    now.set_defaults(run=_run_now)

    status = commands.add_parser("status", help="say how the latest slots went")
    _places(status)
    status.add_argument("-n", type=_count, default=20, metavar="N", help="so many slots; default: 20")
    status.set_defaults(run=_status)

    install = commands.add_parser("install", help="have the system run the schedule: systemd units, a line for cron")
    _places(install)
    install.add_argument("--print", dest="show", action="store_true", help="show the files, and write nothing")
    install.add_argument("--timer", action="store_true", help="start it every minute instead of keeping it running")
    install.add_argument("-o", "--output", metavar="FOLDER", help="for the units; default: ~/.config/systemd/user")
    install.set_defaults(run=_install)


def _places(command: argparse.ArgumentParser) -> None:
    command.add_argument("folder", nargs="?", default=DEFAULT_DIR, metavar="DIR", help="definitions; default: reports")
    command.add_argument("--ledger", metavar="FILE", help="where slots are kept; default: DIR/out/ledger.sqlite")


def _count(text: str) -> int:
    number = int(text)
    if not 1 <= number <= 1000:
        raise argparse.ArgumentTypeError("give a number from 1 to 1000")
    return number


def _ledger(arguments: argparse.Namespace) -> Path:
    if arguments.ledger:
        return Path(arguments.ledger).expanduser()
    folder = Path(arguments.folder).expanduser()
    return (folder.parent if folder.is_file() else folder) / "out" / "ledger.sqlite"


def _open(arguments: argparse.Namespace) -> tuple[list[Any], Any]:
    from lepton_nb.reports.definition import load_all
    from lepton_nb.reports.slots import Slots

    return load_all(Path(arguments.folder).expanduser()), Slots(_ledger(arguments))


def _start(arguments: argparse.Namespace) -> int:
    from lepton_nb.reports.schedule import Scheduler, serve

    definitions, slots = _open(arguments)
    scheduler = Scheduler(definitions, slots, at_once=arguments.at_once, tell=_stamped)
    with _stoppable() as asked:
        _stamped(f"scheduler of {len(definitions)} definitions in {arguments.folder} started")
        serve(scheduler, stopping=lambda: len(asked), pause=_pause(scheduler, asked), on_stop=arguments.on_stop,
              once=arguments.once)  # fmt: skip
        _stamped("scheduler ended")
    return 128 + asked[0] if asked else 0


def _run_now(arguments: argparse.Namespace) -> int:
    from lepton_nb.reports.schedule import Scheduler, serve

    definitions, slots = _open(arguments)
    chosen = [one for one in definitions if one.name == arguments.name]
    if not chosen:
        raise ReportError.unknown("definition", arguments.name, [one.name for one in definitions])
    now = datetime.now(UTC)
    slots.enter(arguments.name, [now], [], now, manual=True)
    scheduler = Scheduler(chosen, slots, at_once=1000, tell=_stamped)
    with _stoppable() as asked:
        while True:
            serve(scheduler, stopping=lambda: len(asked), pause=_pause(scheduler, asked), on_stop="cancel",
                  once=True, enter=False)  # fmt: skip
            slot = next(one for one in slots.list(arguments.name) if one.slot == now)
            if asked or slot.state not in ("waiting", "running"):
                break
            _pause(scheduler, asked)()
    if asked:
        return 128 + asked[0]
    say(f"{slot.state}: {slot.folder or ''}")
    return 0 if slot.state == "finished" else 1


def _list(arguments: argparse.Namespace) -> int:
    definitions, slots = _open(arguments)
    for one in definitions:
        last = next(iter(slots.list(one.name, 1)), None)
        went = f"last {_local(last.slot)} {last.state}" if last else "never run"
        when = "only by run-now"
        if one.schedule is not None:
            cron = one.schedule.cron
            moments = cron.following(datetime.now(UTC))
            following = f"next {_local(moments[0], cron.zone)}" if moments else "never again"
            when = f"{cron.expression} ({cron.time_zone}), {following}"
        say(f"{one.name}: {when}; {went}")
    return 0


def _next(arguments: argparse.Namespace) -> int:
    from lepton_nb.reports.definition import load_all

    now, found = datetime.now(UTC), []
    for one in load_all(Path(arguments.folder).expanduser()):
        if one.schedule is not None:
            cron = one.schedule.cron
            found += [(moment, one.name, cron.zone) for moment in cron.following(now, arguments.n)]
    for moment, name, zone in sorted(found, key=lambda each: each[:2]):
        say(f"{_local(moment, zone)}  {name}")
    return 0


def _status(arguments: argparse.Namespace) -> int:
    from lepton_nb.reports.slots import Slots

    for slot in Slots(_ledger(arguments)).list(limit=arguments.n):
        what = slot.error.splitlines()[0] if slot.error else str(slot.folder or "")
        say(f"{_local(slot.slot)}  {slot.definition}: {slot.state}, attempt {slot.attempt}{what and '; ' + what}")
    return 0


def _install(arguments: argparse.Namespace) -> int:
    from lepton_nb.reports.definition import load_all
    from lepton_nb.reports.install import crontab, units, write

    folder = Path(arguments.folder).expanduser().absolute()
    load_all(folder)
    ledger = _ledger(arguments).absolute()
    found = units(folder, ledger, timer=arguments.timer)
    if arguments.show:
        for name, text in found.items():
            say(f"# {name}\n{text}")
        say(f"# a line for crontab -e, where there is no systemd\n{crontab(folder, ledger)}")
        return 0
    target = Path(arguments.output).expanduser() if arguments.output else Path("~/.config/systemd/user").expanduser()
    for path in write(found, target):
        say(f"written: {path}")
    started = next(name for name in reversed(found))
    tell(f"to start it: systemctl --user daemon-reload && systemctl --user enable --now {started}")
    return 0


def _pause(scheduler: Any, asked: list[int]) -> Any:
    event = threading.Event()

    def pause() -> None:
        for _ in range(5):
            if asked or scheduler.ended:
                event.wait(0.05)
                return
            event.wait(POLL_S)

    return pause


@contextlib.contextmanager
def _stoppable() -> Iterator[list[int]]:
    """The signals that asked to end so far, in a list that grows."""
    asked: list[int] = []

    def handle(number: int, frame: FrameType | None) -> None:
        asked.append(number)

    previous = {number: signal.signal(number, handle) for number in SIGNALS}
    try:
        yield asked
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def _stamped(line: str) -> None:
    tell(f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ} {line}")


def _local(moment: datetime, zone: Any = None) -> str:
    return moment.astimezone(zone).isoformat(sep=" ", timespec="seconds")
