"""Background runs: the only owner of threads in lepton_nb."""

from __future__ import annotations

import atexit
import collections
import concurrent.futures.thread  # noqa: F401 - its hook at the exit, see below
import contextlib
import itertools
import sys
import threading
import time
import warnings
import weakref
from collections.abc import Callable
from typing import Any, Generic, Self, TypeVar

from lepton_nb.errors import LeptonError
from lepton_nb.events import Event, Failed, Finished, Progress, Started, Status

T = TypeVar("T")

KEPT_EVENTS = 10_000
EXIT_TIMEOUT_S = 30.0

_numbers = itertools.count(1)
_live: weakref.WeakSet[BackgroundRun[Any]] = weakref.WeakSet()


class Control:
    """What the work inside a run may do: report progress, and learn that it should stop."""

    def __init__(self, name: str, emit: Callable[[Event], None]) -> None:
        self.name = name
        self._emit = emit
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._on_stop: list[Callable[[], None]] = []

    @property
    def stopping(self) -> bool:
        """True once somebody asked the run to stop."""
        return self._stop.is_set()

    def wait_for_stop(self, timeout_s: float) -> bool:
        """Sleep up to `timeout_s`, less if the run is asked to stop; True if it was."""
        return self._stop.wait(timeout_s)

    def progress(self, done: int, total: int | None = None, **values: Any) -> None:
        """Emit a `Progress` event."""
        self._emit(Progress(run=self.name, done=done, total=total, values=values))

    def on_stop(self, callback: Callable[[], None]) -> None:
        """Call `callback` once, in the thread that asks for the stop; at once if that has happened.

        All callbacks are called even if one raises; the first error then comes out of `stop`.
        """
        with self._lock:
            if not self._stop.is_set():
                self._on_stop.append(callback)
                return
        callback()

    def _request_stop(self) -> None:
        with self._lock:
            if self._stop.is_set():
                return
            self._stop.set()
            callbacks, self._on_stop = self._on_stop, []
        errors = []
        for callback in callbacks:
            try:
                callback()
            except Exception as error:
                errors.append(error)
        if errors:
            raise errors[0]


class BackgroundRun(Generic[T]):
    """Work in a thread of its own, with a status, events, a result, and a clean end.

    `work(control)` does the job and returns the result; it looks at `control.stopping`, or registers
    `control.on_stop`, and returns early when asked. An error that it raises is raised again by `wait`.
    The thread is a daemon, and every live run is stopped when the interpreter exits.
    """

    def __init__(self, work: Callable[[Control], T], name: str | None = None) -> None:
        self.name = name or f"run-{next(_numbers)}"
        self._asked_at = _place_outside()
        self._work = work
        self._control = Control(self.name, self._emit)
        self._status = Status.PENDING
        self._result: T | None = None
        self._error: BaseException | None = None
        self._lock = threading.Lock()
        # Held while events are handed out, so that every watcher sees each event once and in order.
        self._delivery = threading.RLock()
        self._events: collections.deque[Event] = collections.deque(maxlen=KEPT_EVENTS)
        self._watchers: list[Callable[[Event], None]] = []
        self._thread: threading.Thread | None = None
        # The thread that hands past events to a new watcher, if one does: the run cannot end before it is done.
        self._replaying: threading.Thread | None = None
        # Waited for instead of joining: a join that Ctrl-C interrupts makes Python 3.11 take the thread for ended.
        self._over = threading.Event()
        # The threads that wait for the end, once for each wait.
        self._awaited_by: list[threading.Thread] = []

    @property
    def status(self) -> Status:
        """Where the run stands."""
        return self._status

    @property
    def error(self) -> BaseException | None:
        """What the run failed with, if it did."""
        return self._error

    @property
    def events(self) -> tuple[Event, ...]:
        """The last 10,000 events, oldest first."""
        with self._lock:
            return tuple(self._events)

    def watch(self, callback: Callable[[Event], None]) -> Callable[[], None]:
        """Call `callback` with each event so far and to come, once and in order; returns what ends that.

        Past events come in this thread, before `watch` returns, later ones in the run's. A callback that
        raises is dropped with a warning: a broken view does not stop the work. It may call `stop`.
        """
        with self._delivery:
            with self._lock:
                past = tuple(self._events)
                self._watchers.append(callback)
            self._replaying = threading.current_thread()
            try:
                for event in past:
                    self._deliver(callback, event)
            finally:
                self._replaying = None

        def unwatch() -> None:
            with self._lock:
                if callback in self._watchers:
                    self._watchers.remove(callback)

        return unwatch

    def start(self) -> Self:
        """Start the thread; a run can be started once."""
        with self._lock:
            if self._thread is not None:
                raise LeptonError(f"{self.name} was already started; make a new run to do it again")
            self._thread = threading.Thread(target=self._main, name=f"lepton-nb-{self.name}", daemon=True)
            self._status = Status.RUNNING
            _live.add(self)
        try:
            self._thread.start()
        except RuntimeError:  # no more threads may be started
            _live.discard(self)
            self._thread, self._status = None, Status.PENDING
            raise
        return self

    def stop(self, timeout_s: float | None = 30.0) -> Self:
        """Ask the work to end and wait for it; raises if it has not ended within `timeout_s`.

        Safe to call twice and from any thread; called by a watcher or in the run's own thread, it asks and does not
        wait. `None` waits for ever.
        """
        if self._thread is None:
            raise LeptonError(f"{self.name} was never started; call start() first")
        self._control._request_stop()
        if threading.current_thread() in (self._thread, self._replaying):
            return self
        if not self._over.wait(timeout_s):
            raise LeptonError(
                f"{self.name} has not stopped after {timeout_s} s; it goes on in the background, call stop() again",
                timeout_s=timeout_s,
            )
        self._thread.join()
        return self

    def wait(self, timeout_s: float | None = None) -> T:
        """Wait for the end and return the result, or raise what the work raised.

        Ctrl-C while waiting stops the run cleanly, then raises KeyboardInterrupt as usual.
        Raises LeptonError if the run has not ended within `timeout_s`.
        """
        if self._thread is None:
            raise LeptonError(f"{self.name} was never started; call start() first")
        if threading.current_thread() is self._thread:
            raise LeptonError(f"{self.name} cannot wait for itself; call wait() outside of its work and its watchers")
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        self._awaited_by.append(threading.current_thread())
        try:
            # A wait without a limit cannot be interrupted on every platform; short ones can.
            while not self._over.is_set():
                left_s = 0.2 if deadline is None else min(0.2, deadline - time.monotonic())
                if left_s <= 0:
                    raise LeptonError(f"{self.name} has not ended after {timeout_s} s; it goes on", timeout_s=timeout_s)
                self._over.wait(left_s)
            self._thread.join()
        except KeyboardInterrupt:
            self.stop()
            raise
        finally:
            self._awaited_by.remove(threading.current_thread())
        if self._error is not None:
            raise self._error
        return self._result  # type: ignore[return-value]

    def _main(self) -> None:
        try:
            self._emit(Started(run=self.name))
            self._result = self._work(self._control)
        except BaseException as error:  # kept whole: wait() raises it in the caller's thread
            self._error = error
            self._status = Status.FAILED
            self._emit(Failed(run=self.name, error=error))
        else:
            stopped = self._control.stopping
            self._status = Status.STOPPED if stopped else Status.FINISHED
            self._emit(Finished(run=self.name, stopped=stopped))
        finally:
            _live.discard(self)
            self._over.set()

    def _emit(self, event: Event) -> None:
        with self._delivery:
            with self._lock:
                self._events.append(event)
                watchers = tuple(self._watchers)
            for callback in watchers:
                self._deliver(callback, event)

    def _deliver(self, callback: Callable[[Event], None], event: Event) -> None:
        with self._lock:
            if callback not in self._watchers:
                return
        try:
            callback(event)
        except Exception as error:
            with self._lock:
                if callback in self._watchers:
                    self._watchers.remove(callback)
            self._warn(f"a watcher of {self.name} raised {error!r} and was dropped", RuntimeWarning)

    def _warn(self, message: str, category: type[Warning]) -> None:
        """Warn as from the line of the user's that made this run: the thread that notices has no such line."""
        warnings.warn_explicit(message, category, *self._asked_at, module="lepton_nb")


def _place_outside() -> tuple[str, int]:
    """File and line of the innermost call that is not this package's."""
    frame = sys._getframe()
    while frame.f_back is not None and str(frame.f_globals.get("__name__")).partition(".")[0] == "lepton_nb":
        frame = frame.f_back
    return frame.f_code.co_filename, frame.f_lineno


def _stop_all(which: Callable[[BackgroundRun[Any]], bool] = lambda run: True) -> None:
    runs = [run for run in _live if which(run)]
    for run in runs:
        with contextlib.suppress(Exception):  # the others must be asked too, and nobody is left to tell
            run._control._request_stop()
    deadline = time.monotonic() + EXIT_TIMEOUT_S
    for run in runs:
        if run._over.wait(max(0.0, deadline - time.monotonic())) and run._thread is not None:
            run._thread.join()


def _stop_unawaited() -> None:
    """Stop the runs that are not awaited by a thread which the interpreter itself waits for."""
    _stop_all(lambda run: all(thread.daemon for thread in run._awaited_by))


atexit.register(_stop_all)
# Before thread pools are closed, for which `atexit` is too late: Dask could not tell a run that its ranks have ended,
# and would say so with a traceback. The last hook is called first, so that of the pools must be there already.
getattr(threading, "_register_atexit", atexit.register)(_stop_unawaited)
