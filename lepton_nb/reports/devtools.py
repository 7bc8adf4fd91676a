"""A headless Chromium that is told over a pipe what to do: nothing listens, and it ends when we do."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import select
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, cast

import psutil

from lepton_nb.errors import ReportError

# No name is found but this machine's: a page of ours asks nobody, and one of a user's notebook shall not either.
FLAGS = (
    "--headless=new", "--remote-debugging-pipe", "--disable-gpu", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-quic", "--disable-dev-shm-usage",
    "--host-resolver-rules=MAP * ~NOTFOUND", "about:blank",
)  # fmt: skip
# Below these a program's own files would be in the way.
_FREE_FROM = 10
_LOADED = """new Promise((done) => document.readyState === "complete" ? done() : addEventListener("load", done))
  .then(() => window.lepton && window.lepton.ready).then(() => true)"""
ENDS_S = 5


class Tab:
    """A page in the browser. Each call raises ReportError when there is no answer in the time that is left."""

    def __init__(self, orders: int, answers: int, deadline: float) -> None:
        self._orders, self._answers, self._deadline = orders, answers, deadline
        self._number = 0
        self._read = bytearray()
        self._session = ""

    def open(self, address: str) -> None:
        """Load a page, and wait until its figures are drawn."""
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        self.call("Page.enable")
        failed = self.call("Page.navigate", url=address).get("errorText")
        if failed:
            raise ReportError(f"Chromium cannot open {address}: {failed}; is it confined to other folders?")
        self.evaluate(_LOADED)

    def evaluate(self, expression: str) -> Any:
        """The value of a script's expression, waited for if it is a promise."""
        found = self.call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in found:
            raise ReportError(f"a script failed in Chromium: {found['exceptionDetails'].get('text')}")
        return found["result"].get("value")

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """The answer to one order."""
        self._number += 1
        order: dict[str, Any] = {"id": self._number, "method": method, "params": parameters}
        if self._session and not method.startswith(("Browser.", "Target.")):
            order["sessionId"] = self._session
        try:
            os.write(self._orders, json.dumps(order).encode() + b"\0")
        except BrokenPipeError:
            raise ReportError("Chromium ended; try again, or name another in LEPTON_NB_CHROMIUM") from None
        while True:
            message = json.loads(self._next(method))
            if message.get("id") == self._number:
                break
        if "error" in message:
            raise ReportError(f"Chromium refused {method}: {message['error'].get('message')}")
        result: dict[str, Any] = message["result"]
        return result

    def _next(self, method: str) -> bytes:
        while b"\0" not in self._read:
            left = self._deadline - time.monotonic()
            if left <= 0 or not select.select([self._answers], [], [], left)[0]:
                raise ReportError(f"Chromium did not answer {method} in time; try again when the machine is less busy")
            piece = os.read(self._answers, 1 << 20)
            if not piece:
                raise ReportError("Chromium ended; try again, or name another in LEPTON_NB_CHROMIUM")
            self._read += piece
        message, _, rest = self._read.partition(b"\0")
        self._read = rest
        return bytes(message)


@contextlib.contextmanager
def browsing(program: Path, timeout_s: float) -> Iterator[Tab]:
    """A fresh browser, gone with all of its processes at the end; `timeout_s` is for all that it is asked for."""
    with (
        tempfile.TemporaryDirectory(prefix="lepton-nb-chromium-", ignore_cleanup_errors=True) as profile,
        contextlib.ExitStack() as files,
    ):
        taken, orders = _pipe(files)
        answers, given = _pipe(files)
        flags = [*FLAGS[:-1], f"--user-data-dir={profile}", *(["--no-sandbox"] if os.geteuid() == 0 else []), FLAGS[-1]]
        actions: list[tuple[Any, ...]] = [
            (os.POSIX_SPAWN_OPEN, number, os.devnull, os.O_RDWR, 0) for number in (0, 1, 2)
        ]
        actions += [(os.POSIX_SPAWN_DUP2, end.fileno(), number) for end, number in ((taken, 3), (given, 4))]
        try:
            pid = os.posix_spawn(program, [str(program), *flags], os.environ, file_actions=actions, setpgroup=0)
        except OSError as error:
            raise ReportError(f"cannot start {program}: {error.strerror}; name another in LEPTON_NB_CHROMIUM") from None
        process = psutil.Process(pid)
        # Only the browser holds these now: when it ends, so does what is read.
        taken.close()
        given.close()
        tab = Tab(orders.fileno(), answers.fileno(), time.monotonic() + timeout_s)
        try:
            yield tab
        finally:
            _end(process, tab)


def _pipe(files: contextlib.ExitStack) -> tuple[BinaryIO, BinaryIO]:
    """The end to read from and the end to write to."""
    reading, writing = os.pipe()
    return _moved(files, reading, "rb"), _moved(files, writing, "wb")


def _moved(files: contextlib.ExitStack, number: int, mode: str) -> BinaryIO:
    moved = fcntl.fcntl(number, fcntl.F_DUPFD_CLOEXEC, _FREE_FROM)
    os.close(number)
    return cast(BinaryIO, files.enter_context(os.fdopen(moved, mode, buffering=0)))


def _end(process: psutil.Process, tab: Tab) -> None:
    family = [process]
    with contextlib.suppress(psutil.Error):
        family += process.children(recursive=True)
    with contextlib.suppress(ReportError):
        tab.call("Browser.close")
    _, alive = psutil.wait_procs(family, timeout=ENDS_S)
    for one in alive:
        with contextlib.suppress(psutil.Error):
            one.kill()
    psutil.wait_procs(alive, timeout=ENDS_S)
