"""A schedule as the system's own business: systemd units of the user's, and a line for cron. No secrets are in them."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping
from pathlib import Path

from lepton_nb.errors import ReportError
from lepton_nb.files import write_whole

UNIT = "lepton-nb-schedule"
# A scheduler that is asked to stop waits for the reports in the making, so long.
STOP_S = 3600


def command(folder: Path, ledger: Path, *options: str) -> list[str]:
    """What starts the scheduler, wherever it is started from."""
    _plain(folder, ledger, Path(sys.executable))
    start = [sys.executable, "-m", "lepton_nb.cli", "report", "schedule", "start"]
    return [*start, *options, "--ledger", str(ledger), "--", str(folder)]


def units(folder: Path, ledger: Path, *, timer: bool = False) -> dict[str, str]:
    """The units by file name, the one to enable last: a service that keeps running, or one that a timer starts."""
    line = " ".join(map(_quoted, command(folder, ledger, *(["--once"] if timer else []))))
    # systemd reads no quotes here.
    where = str(folder).replace("%", "%%")
    service = (
        f"[Unit]\nDescription=Scheduled reports of lepton_nb\n\n"
        f"[Service]\nType={'oneshot' if timer else 'exec'}\nWorkingDirectory={where}\nExecStart={line}\n"
        f"KillMode=mixed\nTimeoutStopSec={STOP_S}\n"
    )
    if timer:
        clock = (
            f"[Unit]\nDescription=Looks every minute for scheduled reports of lepton_nb\n\n"
            f"[Timer]\nOnCalendar=*:0/1\nAccuracySec=1s\nUnit={UNIT}.service\n\n[Install]\nWantedBy=timers.target\n"
        )
        return {f"{UNIT}.service": service, f"{UNIT}.timer": clock}
    kept = "Restart=on-failure\nRestartSec=5\nSuccessExitStatus=143\n\n[Install]\nWantedBy=default.target\n"
    return {f"{UNIT}.service": service + kept}


def crontab(folder: Path, ledger: Path) -> str:
    """A line for `crontab -e` that looks every minute; two that overlap do not disturb each other."""
    # cron takes a "%" for the end of a line, also within quotes.
    return f"* * * * * {shlex.join(command(folder, ledger, '--once'))}".replace("%", r"\%")


def write(files: Mapping[str, str], target: Path) -> list[Path]:
    """Write units into the folder `target`, each whole or not at all. Raises ReportError."""
    try:
        target.mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            write_whole(target / name, [text.encode()])
    except OSError as error:
        raise ReportError(
            f"cannot write units to {target}: {error.strerror}; choose another folder with -o", path=str(target)
        ) from None
    return [target / name for name in files]


def _quoted(word: str) -> str:
    """A word of a command as systemd reads it: its quotes, its specifiers, its variables."""
    escaped = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    return f'"{escaped}"'


def _plain(*paths: Path) -> None:
    for path in paths:
        if any(ord(letter) < 32 for letter in str(path)):
            raise ReportError(f"{str(path)!r} has a line break or another control character; rename the folder")
