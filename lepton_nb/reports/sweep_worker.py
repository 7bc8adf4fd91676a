"""One run of a sweep in a worker of the cluster: its kernel starts while others still run their cells."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from lepton_nb.errors import LeptonError
from lepton_nb.events import Event, Failed, Finished
from lepton_nb.reports.gate import Gate

if TYPE_CHECKING:
    from lepton_nb.background import BackgroundRun
    from lepton_nb.reports.run import Plan

_lock = threading.Lock()
_gates: dict[str, Gate] = {}
_running: dict[str, set[BackgroundRun[Any]]] = {}
_stopped: set[str] = set()


def make(planned: Plan, sweep: str, lanes: int) -> dict[str, Any]:
    """Make the report in this process, where `lanes` of one sweep run their cells at a time; tells how it ended."""
    from distributed import secede

    # The driver says how many there are; a thread of the worker for each would say so a second time.
    secede()
    over = threading.Event()
    with _lock:
        if sweep in _stopped:
            return {"status": "cancelled", "reason": ""}
        run = planned.run(_gates.setdefault(sweep, Gate(lanes)))
        _running.setdefault(sweep, set()).add(run)

    def watch(event: Event) -> None:
        if isinstance(event, Finished | Failed):
            over.set()

    try:
        run.watch(watch)
        run.start()
        with _lock:
            late = sweep in _stopped
        if late:
            run.stop(None)
        over.wait()
        return {"status": run.wait().status, "reason": ""}
    except LeptonError as error:
        return {"status": "failed", "reason": error.message}
    except Exception as error:
        return {"status": "failed", "reason": f"{type(error).__name__}: {error}"}
    finally:
        with _lock:
            _running[sweep].discard(run)


def stop(sweep: str) -> None:
    """Ask all runs of the sweep in this process to end; none of it begins any more."""
    with _lock:
        _stopped.add(sweep)
        runs = [run for run in _running.get(sweep, ()) if not run.status.over]
    for run in runs:
        # Asks only: the task itself waits for the end.
        run._control._request_stop()


def forget(sweep: str) -> None:
    """The sweep is over: keep nothing of it."""
    with _lock:
        _gates.pop(sweep, None)
        _running.pop(sweep, None)
        _stopped.discard(sweep)
