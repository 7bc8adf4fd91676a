"""A guard over a report in the making: what belongs to it goes with it, also when this process is killed."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import psutil

from lepton_nb.cluster import janitor

MARK_PREFIX = "LEPTON_NB_REPORT_"
# A cluster whose kernel was killed is cleaned up by its own janitor within a few seconds.
STRAGGLERS_S = 8.0


class Mark(NamedTuple):
    """An environment variable by which a report's processes are known, whoever their parent is by now.

    Each report has a variable of its own: a report that is made inside of another carries both.
    """

    variable: str
    folder: str

    def processes(self) -> list[psutil.Process]:
        """The living processes that carry the mark (Linux; none elsewhere)."""
        return _living(janitor.members(self.folder, self.variable))


@contextlib.contextmanager
def guarded(work: Path) -> Iterator[Mark]:
    """Remove the folder `work`, if it is still there, at the end of the context or of this process.

    When this process is killed, the processes that carry the mark are ended first.
    """
    mark = Mark(MARK_PREFIX + uuid.uuid4().hex, str(work))
    # Of a report around this one it does not carry the mark: it has to outlive that report's processes.
    environment = {name: value for name, value in os.environ.items() if not name.startswith(MARK_PREFIX)}
    try:
        with subprocess.Popen(
            [sys.executable, "-I", "-S", janitor.__file__, mark.folder, mark.variable],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            cwd="/",
            env=environment,
        ):
            try:
                yield mark
            finally:
                # Before its standard input ends, which is when the context of Popen is left: nothing is left to do.
                shutil.rmtree(work, ignore_errors=True)
    except OSError:
        shutil.rmtree(work, ignore_errors=True)
        raise


def clear(work: Path) -> None:
    """End what was started for a report in the folder `work`, whose own process was killed, and remove the folder.

    The guard would do so too; but where the folder is gone before, it takes its report for ended.
    """
    deadline = time.monotonic() + STRAGGLERS_S
    # A process that is being ended may just have started another.
    while (members := _carrying(work)) and time.monotonic() < deadline:
        _signal(members, psutil.Process.kill)
        psutil.wait_procs(members, timeout=1.0)
    shutil.rmtree(work, ignore_errors=True)


def _carrying(work: Path) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if any(
                name.startswith(MARK_PREFIX) and os.path.realpath(value) == os.path.realpath(work)
                for name, value in process.environ().items()
            ):
                found.append(process)
    return found


def end(family: Iterable[psutil.Process], mark: Mark) -> None:
    """End `family` and all that carries `mark`, first politely, and wait until they are gone."""
    members = {*family, *mark.processes()}
    _signal(members, psutil.Process.terminate)
    _, alive = psutil.wait_procs(members, timeout=STRAGGLERS_S)
    # Some may have been started meanwhile.
    members = {*alive, *mark.processes()}
    _signal(members, psutil.Process.kill)
    psutil.wait_procs(members, timeout=STRAGGLERS_S)


def _living(pids: Iterable[int]) -> list[psutil.Process]:
    found = []
    for pid in pids:
        with contextlib.suppress(psutil.Error):
            found.append(psutil.Process(pid))
    return found


def _signal(processes: Iterable[psutil.Process], send: Callable[[psutil.Process], None]) -> None:
    for process in processes:
        with contextlib.suppress(psutil.Error):
            send(process)
