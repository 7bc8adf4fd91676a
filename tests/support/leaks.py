"""A pytest plugin: a test that leaves anything behind fails, by name.

Measured from before a test's set-up to after its tear-down: threads, descendant processes (also those whose
parent is gone), listening ports, environment variables, and folders named lepton-nb-* in the temporary folder.
What a fixture of a wider scope starts is that fixture's own, and is not counted against the test that came first.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

GRACE_S = 5.0
MARK_VARIABLE = "LEPTON_NB_TEST_RUN"
TEMP_PREFIX = "lepton-nb-"
IGNORED_VARIABLES = {
    "PYTEST_CURRENT_TEST",
    # What libraries set when they are imported, which happens in whichever test comes first.
    "_RJEM_MALLOC_CONF",  # polars
    "TORCHINDUCTOR_CACHE_DIR",  # torch
    "__DASK_PARENT_PID",  # distributed
    "KMP_DUPLICATE_LIB_OK", "KMP_INIT_AT_FORK",  # scikit-learn
    "ENABLE_RUNTIME_UPTIME_TELEMETRY", "HDF5_PLUGIN_PATH", "TF2_BEHAVIOR", "TPU_ML_PLATFORM", "TPU_ML_PLATFORM_VERSION",
}  # fmt: skip
# Threads that a library keeps for the life of the process, by the module and name of their class.
KEPT_THREAD_CLASSES = {"tqdm._monitor.TMonitor", "zmq.utils.garbage.GarbageCollectorThread", "threading._DummyThread"}
# Threads of pools that a library keeps for the life of the process, by the start of their name.
KEPT_THREAD_NAMES = ("Dask-Offload", "Dask-Callback", "TCP-Executor")


@dataclass(frozen=True)
class Snapshot:
    """What is alive at one moment; each mapping goes from an identity to a description for people."""

    threads: dict[threading.Thread, str]
    processes: dict[tuple[int, float], str]
    sockets: dict[int, str]
    environment: dict[str, str]
    folders: dict[str, str]


def take() -> Snapshot:
    """Look around now."""
    alive = {(process.pid, process.create_time()): process for process in _descendants()}
    return Snapshot(
        threads={thread: f"thread {thread.name!r}" for thread in threading.enumerate() if not _kept(thread)},
        processes={key: f"process {key[0]} ({_command(process)})" for key, process in alive.items()},
        sockets=dict(_sockets([os.getpid(), *(pid for pid, _ in alive)])),
        environment={name: value for name, value in os.environ.items() if name not in IGNORED_VARIABLES},
        folders={path.name: f"folder {path}" for path in Path(tempfile.gettempdir()).glob(f"{TEMP_PREFIX}*")},
    )


def started(before: Snapshot, after: Snapshot) -> list[str]:
    """Descriptions of all that is in `after` and was not in `before`, the environment aside."""
    found: list[str] = []
    for kind in ("threads", "processes", "folders"):
        old, new = getattr(before, kind), getattr(after, kind)
        found += [new[key] for key in new if key not in old]
    # The kernel's table of sockets is slow to read: it is asked only when there are new ones.
    if unknown := after.sockets.keys() - before.sockets.keys():
        ports = _listening()
        found += [f"listening port {ports[key]} of {after.sockets[key]}" for key in sorted(unknown) if key in ports]
    return found


def changed(before: dict[str, str], after: dict[str, str]) -> dict[str, tuple[str | None, str | None]]:
    """Environment variables that differ: name to (before, after), None where it is not set."""
    names = sorted(before.keys() | after.keys())
    return {name: (before.get(name), after.get(name)) for name in names if before.get(name) != after.get(name)}


# Processes that were seen and are not ours.
_strangers: set[tuple[int, float]] = set()


def _descendants() -> list[psutil.Process]:
    """Children of children too, and processes that carry our mark though their parent is gone; no zombies."""
    own = psutil.Process()
    found = {process.pid: process for process in own.children(recursive=True)}
    mark = os.environ.get(MARK_VARIABLE)
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            key = (process.pid, process.create_time())
            if process.pid in found or key in _strangers or process == own:
                continue
            if process.create_time() >= own.create_time() and process.environ().get(MARK_VARIABLE) == mark:
                found[process.pid] = process
            else:
                _strangers.add(key)
    return [process for process in found.values() if _running(process)]


def _running(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE and not _kept_process(process)
    except psutil.Error:
        return False


def _kept_process(process: psutil.Process) -> bool:
    """multiprocessing's resource tracker, until the interpreter exits; what a worker forks ranks from, if it lives."""
    if process.name() == "lnb-fork-server":
        return process.parent() is not None and process.ppid() != 1
    return "resource_tracker" in " ".join(process.cmdline())


def _command(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())[:120] or process.name()
    except psutil.Error:
        return "gone"


def _sockets(pids: list[int]) -> Iterator[tuple[int, str]]:
    """The open sockets of processes: the kernel's number of each, and whose it is."""
    for pid in pids:
        with contextlib.suppress(OSError):
            for entry in os.scandir(f"/proc/{pid}/fd"):
                with contextlib.suppress(OSError):
                    kind, _, number = os.readlink(entry.path).partition(":")
                    if kind == "socket":
                        yield int(number.strip("[]")), f"process {pid}"


def _listening() -> dict[int, int]:
    """Ports that anything listens on with TCP, by the kernel's number of the socket."""
    found = {}
    for name in ("tcp", "tcp6"):
        path = Path("/proc/net") / name
        for line in path.read_text().splitlines()[1:] if path.exists() else []:
            _, address, _, state, *_, number = line.split()[:10]
            if state == "0A":
                found[int(number)] = int(address.rpartition(":")[2], 16)
    return found


def _kept(thread: threading.Thread) -> bool:
    kind = type(thread)
    return (
        f"{kind.__module__}.{kind.__qualname__}" in KEPT_THREAD_CLASSES
        or thread.name.startswith(KEPT_THREAD_NAMES)
        or thread in _pool_threads()
    )


def _pool_threads() -> set[threading.Thread]:
    """The threads of Dask's own threaded scheduler, which it keeps once it has been used."""
    dask_threaded = sys.modules.get("dask.threaded")
    pool = getattr(dask_threaded, "default_pool", None)
    return set(getattr(pool, "_threads", ()))


@dataclass
class _Watch:
    """What the running test may leave: what was there before it, and what fixtures of wider scope started."""

    before: Snapshot
    # Shared by all tests: a variable that a fixture sets for one test goes back to its old value after another.
    variables: dict[str, set[str | None]]

    def adopt(self, before: Snapshot, after: Snapshot) -> None:
        for kind in ("threads", "processes", "sockets", "folders"):
            old, new = getattr(before, kind), getattr(after, kind)
            getattr(self.before, kind).update({key: new[key] for key in new if key not in old})
        for name, (old_value, new_value) in changed(before.environment, after.environment).items():
            self.variables.setdefault(name, set()).update((old_value, new_value))

    def leaks(self, after: Snapshot) -> list[str]:
        found = started(self.before, after)
        for name, (old, new) in changed(self.before.environment, after.environment).items():
            if new not in self.variables.get(name, ()):
                found.append(f"environment variable {name}: {old!r} became {new!r}")
        return found


_watch = pytest.StashKey[_Watch]()
_saved = pytest.StashKey[dict[str, str | None]]()
_current: list[pytest.Item] = []
_fixture_variables: dict[str, set[str | None]] = {}


def pytest_configure(config: pytest.Config) -> None:
    """Mark all processes of this run, and give it a temporary folder that no other program writes into."""
    config.stash[_saved] = {name: os.environ.get(name) for name in (MARK_VARIABLE, "TMPDIR", "PYTEST_DEBUG_TEMPROOT")}
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", tempfile.gettempdir())
    os.environ[MARK_VARIABLE] = uuid.uuid4().hex
    os.environ["TMPDIR"] = tempfile.mkdtemp(prefix="tests-of-lepton-nb-")
    tempfile.tempdir = None


def pytest_unconfigure(config: pytest.Config) -> None:
    """Give the environment back, and remove the temporary folder."""
    shutil.rmtree(os.environ["TMPDIR"], ignore_errors=True)
    for name, value in config.stash.get(_saved, {}).items():
        os.environ.pop(name, None)
        if value is not None:
            os.environ[name] = value
    tempfile.tempdir = None


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> Generator[None, Any, Any]:
    """Look before anything of the test has run."""
    item.stash[_watch] = _Watch(before=take(), variables=_fixture_variables)
    _current[:] = [item]
    return (yield)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_fixture_setup(
    fixturedef: pytest.FixtureDef[Any], request: pytest.FixtureRequest
) -> Generator[None, Any, Any]:
    """What a fixture of a wider scope starts lives longer than this test, and is its to close."""
    if fixturedef.scope == "function" or not _current:
        return (yield)
    before = take()
    try:
        return (yield)
    finally:
        _current[0].stash[_watch].adopt(before, take())


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None, Any, Any]:
    """Look after everything of the test was taken down; what is still ending gets a short grace."""
    result = yield
    deadline = time.monotonic() + GRACE_S
    while found := item.stash[_watch].leaks(take()):
        if time.monotonic() > deadline:
            pytest.fail("the test left behind: " + "; ".join(found), pytrace=False)
        time.sleep(0.05)
    return result
