"""The process that ranks are forked from: `python -m lepton_nb.training.fork_server FD`, FD being a socket.

It loads a framework once, for the first rank, which takes seconds; each further rank then starts within hundredths of
a second. Each is a copy of a process in which nothing has happened yet: what one rank does, no other one sees.

On the socket, a stream, a request is a length (4 bytes) with four open files, and as many bytes of JSON; the answer
is one byte. The files are the rank's stdin, stdout and stderr, and the socket by which it is held. On that one this
process says {"pid": ...} and at the end {"exit": ...}, as Popen has it; its end means that the rank is to end, with
all that it has started. The end of the first socket means that for all ranks, and for this process.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import gc
import importlib
import json
import os
import select
import selectors
import signal
import socket
import struct
import sys
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

LENGTH = struct.Struct("!I")
FILES = 4
TAKEN = b"."
# Without ranks for so long it ends, and gives its memory back.
IDLE_S = 300.0
_SET_NAME = 15  # PR_SET_NAME


@dataclass(slots=True)
class _Rank:
    pid: int
    hold: socket.socket
    unwanted: bool = False


class Server:
    """Forks ranks and watches them, in one thread: a fork copies no other."""

    def __init__(self, requests: socket.socket) -> None:
        self._requests = requests
        self._ranks: dict[int, _Rank] = {}
        self._loaded: set[str] = set()
        self._stderr = os.dup(2)
        self._selector = selectors.DefaultSelector()
        self._selector.register(requests, selectors.EVENT_READ)
        self._woken, self._waker = socket.socketpair()
        self._woken.setblocking(False)
        self._waker.setblocking(False)
        self._selector.register(self._woken, selectors.EVENT_READ)
        signal.set_wakeup_fd(self._waker.fileno(), warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        # A framework is loaded for seconds, in which nobody listens: a worker that is gone is noticed all the same.
        signal.signal(signal.SIGIO, self._look_at_worker)
        fcntl.fcntl(requests, fcntl.F_SETOWN, os.getpid())
        fcntl.fcntl(requests, fcntl.F_SETFL, fcntl.fcntl(requests, fcntl.F_GETFL) | os.O_ASYNC)

    def serve(self) -> NoReturn:
        """Until the worker is gone, or has wanted no rank for IDLE_S."""
        while True:
            found = self._selector.select(None if self._ranks else IDLE_S)
            if not found:
                self._end()
            for key, _ in found:
                if key.fileobj is self._requests:
                    self._take_request()
                elif key.fileobj is self._woken:
                    with contextlib.suppress(BlockingIOError):
                        while self._woken.recv(1 << 10):
                            pass
                elif key.data in self._ranks and not self._ranks[key.data].hold.recv(1):
                    self._give_up(self._ranks[key.data])
            for rank in list(self._ranks.values()):
                self._look_at(rank)

    def _take_request(self) -> None:
        length, files, _, _ = socket.recv_fds(self._requests, LENGTH.size, FILES)
        if len(length) < LENGTH.size:
            self._end()
        wanted, body = LENGTH.unpack(length)[0], b""
        while len(body) < wanted:
            part = self._requests.recv(wanted - len(body))
            if not part:
                self._end()
            body += part
        self._requests.sendall(TAKEN)
        request = json.loads(body)
        hold = socket.socket(fileno=files[3])
        pid = 0
        os.dup2(files[2], 2)  # what is said while the framework is loaded, and why a rank could not be forked
        if request["warm"] and request["module"] not in self._loaded:
            # A rank that misses something says so by itself, in its own words.
            with contextlib.suppress(Exception):
                importlib.import_module(request["module"]).load()
                self._loaded.add(request["module"])
        gc.collect()
        gc.freeze()  # what is not looked at stays one copy in memory
        try:
            pid = os.fork()
        except OSError:
            traceback.print_exc()
        else:
            if pid == 0:
                self._become(request, files)
        os.dup2(self._stderr, 2)
        for file in files[:3]:
            os.close(file)
        if not pid:
            _say(hold, exit=1)
            hold.close()
            return
        _lead(pid)
        self._ranks[pid] = _Rank(pid, hold)
        self._selector.register(hold, selectors.EVENT_READ, pid)
        _say(hold, pid=pid)

    def _give_up(self, rank: _Rank) -> None:
        rank.unwanted = True
        self._selector.unregister(rank.hold)
        _kill(rank.pid)

    def _look_at(self, rank: _Rank) -> None:
        # Looked at without taking notice: until `waitpid` does, the number of the rank, and of its group, is nobody
        # else's.
        ended = os.waitid(os.P_PID, rank.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        if ended is None:
            return
        code = ended.si_status if ended.si_code == os.CLD_EXITED else -ended.si_status
        if not rank.unwanted:
            self._give_up(rank)  # what it has started ends with it
        _say(rank.hold, exit=code)
        os.waitpid(rank.pid, 0)
        rank.hold.close()
        del self._ranks[rank.pid]

    def _look_at_worker(self, *_: object) -> None:
        poll = select.poll()
        poll.register(self._requests, 0)
        if any(event & select.POLLHUP for _, event in poll.poll(0)):
            self._end()

    def _end(self) -> NoReturn:
        for pid in self._ranks:
            _kill(pid)
        os._exit(0)

    def _become(self, request: dict[str, Any], files: list[int]) -> NoReturn:
        status = 1
        try:
            _lead(0)
            signal.set_wakeup_fd(-1)
            for number in (signal.SIGCHLD, signal.SIGIO):
                signal.signal(number, signal.SIG_DFL)
            self._selector.close()
            for each in (self._requests, self._woken, self._waker, *(rank.hold for rank in self._ranks.values())):
                each.close()
            for target, file in enumerate(files[:3]):
                os.dup2(file, target)
            for file in (*files, self._stderr):
                os.close(file)
            _name(request["name"])
            os.environ.clear()
            os.environ.update(request["environment"])
            importlib.invalidate_caches()  # for modules that were written since
            status = importlib.import_module(request["module"]).main(Path(request["folder"]))
        except BaseException:  # as an interpreter would
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            # Threads of a communication library may still wait for a peer that is gone; nothing is left to clean up.
            os._exit(status)


def _lead(pid: int) -> None:
    """Let `pid` (0 is this process) lead a group of its own. Both sides say so, whoever comes first."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.setpgid(pid, 0)


def _kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)


def _name(name: str) -> None:
    """What `ps` and `top` call this process; of some 15 letters."""
    with contextlib.suppress(AttributeError, OSError):
        ctypes.CDLL(None).prctl(_SET_NAME, name.encode(), 0, 0, 0)


def _say(hold: socket.socket, **facts: int) -> None:
    with contextlib.suppress(OSError):  # nobody listens any more
        hold.sendall(json.dumps(facts).encode() + b"\n")


if __name__ == "__main__":
    _name("lnb-fork-server")
    Server(socket.socket(fileno=int(sys.argv[1]))).serve()
