"""The command `lepton-nb` as a server in a process of its own, and a network that can be cut."""

from __future__ import annotations

import contextlib
import re
import selectors
import socket
import subprocess
import sys
import threading
import time

END_S = 60


@contextlib.contextmanager
def command(*words, cwd):
    """`lepton-nb` in a process of its own, ended in any case."""
    with subprocess.Popen(
        [sys.executable, "-m", "lepton_nb.cli", *words],
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            if process.poll() is None:
                process.terminate()
                try:
                    process.communicate(timeout=END_S)
                except subprocess.TimeoutExpired:
                    process.kill()


def address(process, pattern):
    """The first address in what the process prints."""
    lines = []
    for line in process.stdout:
        lines.append(line)
        found = re.search(pattern, line)
        if found:
            return found[0]
    raise AssertionError("".join(lines))


def patient(url):
    """`url`, once its port accepts connections: the server prints it a moment earlier."""
    host, port = url.split("/")[2].split(":")
    deadline = time.monotonic() + END_S
    while True:
        try:
            socket.create_connection((host, int(port)), timeout=END_S).close()
            return url
        except ConnectionRefusedError:
            assert time.monotonic() < deadline
            time.sleep(0.05)


class Relay:
    """A network between a browser and a server on loopback: it can fall silent, be cut, and come back."""

    def __init__(self, port):
        self._target = ("127.0.0.1", port)
        self._peers = {}
        self._selector = selectors.DefaultSelector()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._ended = False
        self.state = "open"  # "silent": nothing passes and nobody is told; "cut": connections end, new ones are refused
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}/"
        self._thread = threading.Thread(target=self._run)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._ended = True
        self._thread.join()
        for one in [*self._peers, self._listener]:
            one.close()
        self._selector.close()

    def _run(self):
        while not self._ended:
            if self.state == "silent":
                time.sleep(0.02)
                continue
            if self.state == "cut":
                for one in list(self._peers):
                    self._close(one)
            for key, _ in self._selector.select(0.02):
                if key.fileobj is self._listener:
                    self._accept()
                elif key.fileobj in self._peers:
                    self._pass_on(key.fileobj)

    def _accept(self):
        near, _ = self._listener.accept()
        if self.state == "cut":
            near.close()
            return
        far = socket.create_connection(self._target)
        self._peers |= {near: far, far: near}
        for one in (near, far):
            self._selector.register(one, selectors.EVENT_READ)

    def _pass_on(self, one):
        try:
            data = one.recv(1 << 16)
            self._peers[one].sendall(data)
        except OSError:
            data = b""
        if not data:
            self._close(one)

    def _close(self, one):
        if one in self._peers:
            for end in (one, self._peers[one]):
                self._selector.unregister(end)
                end.close()
                del self._peers[end]
