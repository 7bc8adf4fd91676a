"""How a rank talks with its supervisor: JSON lines, commands on stdin, messages on the first stdout.

The end of stdin means that the supervisor is gone: the rank ends at once, whatever it is doing. So a killed
worker, a killed kernel or a closed cluster leaves no rank behind, nor what it has started.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import sys
import threading
from collections.abc import Iterator
from typing import Any, NoReturn, TextIO

ORPHANED = 3


class Interrupted(BaseException):
    """The supervisor wants the rank to stop or to pause, and what it does may take long."""


class Channel:
    """The rank's end. Make one before any heavy import.

    It owns one daemon thread, for as long as the process; opened without, `receive` reads by itself until `listen`.
    """

    def __init__(self, commands: TextIO, messages: TextIO) -> None:
        self._commands = commands
        self._messages = messages
        self._waiting: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        self._early: dict[str, dict[str, Any]] = {}
        self._stop = threading.Event()
        self._changed = threading.Condition()
        self._pauses = self._resumes = 0
        self._listening = False
        self._interruptible = False

    @classmethod
    def open(cls, *, listen: bool = True) -> Channel:
        """The channel of this process; what the model prints goes to stderr from now on."""
        # Ctrl-C in a terminal reaches every process of it; the notebook decides what becomes of a rank.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        messages = os.fdopen(os.dup(1), "w", encoding="utf-8")
        os.dup2(2, 1)
        channel = cls(sys.stdin, messages)
        if listen:
            channel.listen()
        return channel

    @property
    def stopping(self) -> bool:
        """True once the supervisor said "stop"."""
        return self._stop.is_set()

    @property
    def pauses(self) -> int:
        """How often the supervisor has said "pause" so far."""
        return self._pauses

    @contextlib.contextmanager
    def interruptible(self) -> Iterator[None]:
        """Within, a "stop" or "pause" raises Interrupted at once in the main thread, which this is called from."""

        def interrupt(*_: object) -> None:
            if self._interruptible:
                self._interruptible = False
                raise Interrupted

        signal.signal(signal.SIGUSR1, interrupt)
        with self._changed:
            wanted = self._stop.is_set() or self._pauses > self._resumes
            self._interruptible = not wanted
        try:
            if wanted:
                raise Interrupted
            yield
        finally:
            self._interruptible = False

    def wait_resumed(self, number: int) -> None:
        """Wait until pause `number` (from 1) is over, or the supervisor said "stop"."""
        with self._changed:
            self._changed.wait_for(lambda: self._resumes >= number or self._stop.is_set())

    def send(self, kind: str, **facts: Any) -> None:
        """Tell the supervisor."""
        self._messages.write(json.dumps({"kind": kind, **facts}) + "\n")
        self._messages.flush()

    def receive(self, kind: str) -> dict[str, Any]:
        """Wait for the command `kind`; others that come before it are kept for their turn."""
        while kind not in self._early:
            if self._listening:
                command = self._waiting.get()
            else:
                self._hear(self._commands.readline())
                if self._waiting.empty():
                    continue
                command = self._waiting.get()
            self._early[command["kind"]] = command
        return self._early.pop(kind)

    def listen(self) -> None:
        """Start the thread, if it does not run yet."""
        if not self._listening:
            self._listening = True
            threading.Thread(target=self._listen, name="lepton-nb-commands", daemon=True).start()

    def _steer(self, command: dict[str, Any]) -> None:
        with self._changed:
            if command["kind"] == "stop":
                self._stop.set()
            elif command["kind"] == "pause":
                self._pauses = max(self._pauses, command["number"])
            else:
                self._resumes = max(self._resumes, command["number"])
            self._changed.notify_all()
            if self._interruptible and command["kind"] != "resume":
                signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGUSR1)

    def _listen(self) -> None:
        while True:
            self._hear(self._commands.readline())

    def _hear(self, line: str) -> None:
        if not line:
            _end()
        command = json.loads(line)
        if command["kind"] in ("stop", "pause", "resume"):
            self._steer(command)
        else:
            self._waiting.put(command)


def _end() -> NoReturn:
    if os.getpgrp() == os.getpid():
        os.kill(0, signal.SIGKILL)  # the group: this process and all that it has started
    os._exit(ORPHANED)
