"""The processes of ranks as a worker sees them: forked from one that has loaded the framework (see `fork_server`)."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import IO

from lepton_nb.training.fork_server import LENGTH, TAKEN

RANK_MODULES = {"torch": "lepton_nb.training.torch_rank", "keras": "lepton_nb.training.keras_rank"}

_servers: dict[str, _Server] = {}
_lock = threading.Lock()


class RankProcess:
    """A rank that was asked for: its pipes, and its end. `end` it whatever happens."""

    def __init__(self, stdin: IO[bytes], stdout: IO[bytes], stderr: IO[bytes], hold: socket.socket) -> None:
        self.stdin, self.stdout, self.stderr = stdin, stdout, stderr
        self._hold = hold
        self._pid: int | None = None
        self._heard = b""
        self._exit_code: int | None = None

    def exit_code(self, *, wait: bool = False) -> int | None:
        """As Popen has it; None while the rank runs, which can be waited for."""
        while self._exit_code is None:
            try:
                heard = self._hold.recv(1 << 10, 0 if wait else socket.MSG_DONTWAIT)
            except BlockingIOError:
                break
            except ConnectionResetError:
                heard = b""
            if not heard:
                # Whoever could tell is gone, and has left the rank behind.
                self._exit_code = -signal.SIGKILL
                self._kill_orphan()
            *lines, self._heard = (self._heard + heard).split(b"\n")
            for facts in map(json.loads, lines):
                self._pid = facts.get("pid", self._pid)
                self._exit_code = facts.get("exit", self._exit_code)
        return self._exit_code

    def kill(self) -> None:
        """Kill the rank and all that it has started, unless that has left its group; does not wait."""
        with contextlib.suppress(OSError):
            self._hold.shutdown(socket.SHUT_WR)

    def end(self) -> None:
        """Kill the rank, wait until it is gone, and close all."""
        self.kill()
        self.exit_code(wait=True)
        for each in (self.stdin, self.stdout, self.stderr, self._hold):
            with contextlib.suppress(BrokenPipeError):
                each.close()

    def _kill_orphan(self) -> None:
        if self._pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._pid, signal.SIGKILL)


def launch(framework: str, folder: Path, name: str, environment: Mapping[str, str], *, warm: bool) -> RankProcess:
    """A new rank of `framework` whose files lie in `folder`.

    name: as the system shows it, of at most 15 letters. environment: the rank's, all of it. warm: whether the
    framework is loaded before the rank is forked, and for all that come later, or by the rank itself.
    Raises OSError where no process can be started.
    """
    request = {
        "module": RANK_MODULES[framework],
        "folder": str(folder),
        "name": name,
        "environment": dict(environment),
        "warm": warm,
    }
    body = json.dumps(request).encode()
    with contextlib.ExitStack() as theirs, contextlib.ExitStack() as ours:
        pipes = [os.pipe() for _ in range(3)]
        stdin, stdout, stderr = os.fdopen(pipes[0][1], "wb"), os.fdopen(pipes[1][0], "rb"), os.fdopen(pipes[2][0], "rb")
        hold, held = socket.socketpair()
        for file in (pipes[0][0], pipes[1][1], pipes[2][1]):
            theirs.callback(os.close, file)
        theirs.callback(held.close)
        for each in (stdin, stdout, stderr, hold):
            ours.callback(each.close)
        with _lock:
            _ask(framework, environment, body, [pipes[0][0], pipes[1][1], pipes[2][1], held.fileno()])
        ours.pop_all()
        return RankProcess(stdin, stdout, stderr, hold)


class _Server:
    def __init__(self, environment: Mapping[str, str]) -> None:
        self._requests, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "lepton_nb.training.fork_server", str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                env=dict(environment),
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )

    def ask(self, body: bytes, files: list[int]) -> bool:
        """Whether it has taken the request."""
        try:
            socket.send_fds(self._requests, [LENGTH.pack(len(body))], files)
            self._requests.sendall(body)
            return self._requests.recv(1) == TAKEN
        except OSError:
            return False

    def end(self) -> int:
        self._requests.close()
        return self._process.wait()


def _ask(framework: str, environment: Mapping[str, str], body: bytes, files: list[int]) -> None:
    # The one that is there may have ended since, for want of work.
    for _ in range(2):
        server = _servers.get(framework)
        if server is None:
            server = _servers[framework] = _Server(environment)
        if server.ask(body, files):
            return
        del _servers[framework]
        status = server.end()
    raise OSError(f"no process for a rank: the one that ranks are forked from ended with status {status}")
