"""Notebooks written for a benchmark, served by real servers: ours as `lepton-nb app`, others' by plain Voilà."""

from __future__ import annotations

import contextlib
import os
import queue
import re
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import nbformat
import psutil
from nbformat.v4 import new_code_cell, new_notebook

START_S = 90
END_S = 20
ROOT = Path(__file__).resolve().parents[2]
_ADDRESS = re.compile(r"http://(?:127\.0\.0\.1|localhost):\d+/\S*")
OURS = ("-m", "lepton_nb.cli", "app")
# Its page without what costs time for the sake of others: on loopback, this environment's kernel, nothing opened.
PLAIN = ("-m", "voila", "--Voila.ip=127.0.0.1")


@dataclass(frozen=True)
class Server:
    """A server of one notebook. `url` is its page."""

    url: str
    process: psutil.Process

    def kernels(self) -> list[psutil.Process]:
        """The kernels that run now."""
        found = []
        for child in self.process.children(recursive=True):
            with contextlib.suppress(psutil.Error):
                if any("ipykernel" in word for word in child.cmdline()):
                    found.append(child)
        return found


def write(path: Path, *cells: str) -> Path:
    """A notebook of these cells."""
    nbformat.write(new_notebook(cells=[new_code_cell(cell.strip()) for cell in cells]), path)
    return path


@contextlib.contextmanager
def serving(command: tuple[str, ...], notebook: Path) -> Iterator[Server]:
    """A server until the end of the block; it and all that came from it are ended, by their ids."""
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")])),
        "JUPYTER_PREFER_ENV_PATH": "1",
    }
    with subprocess.Popen(
        [sys.executable, *command, str(notebook), "--no-browser"],
        cwd=notebook.parent, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True,
    ) as process:  # fmt: skip
        try:
            yield Server(_address(process), psutil.Process(process.pid))
        finally:
            _end(process)


def _address(process: subprocess.Popen[str]) -> str:
    """What the server says where it is, once it answers there. What it prints later is read and dropped."""
    lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()

    def read() -> None:
        assert process.stdout is not None
        for line in process.stdout:
            lines.put(line)
        lines.put(None)

    threading.Thread(target=read, daemon=True).start()
    deadline = time.monotonic() + START_S
    said: list[str] = []
    while True:
        try:
            line = lines.get(timeout=max(0.1, deadline - time.monotonic()))
        except queue.Empty:
            line = None
        if line is None:
            raise RuntimeError(f"the server did not say where it is:\n{''.join(said)}")
        said.append(line)
        if found := _ADDRESS.search(line):
            url = found[0].replace("localhost", "127.0.0.1")
            _wait_for(url, deadline)
            return url


def _wait_for(url: str, deadline: float) -> None:
    """Until the port accepts connections; a page that is not there is asked for, which starts no kernel."""
    address = re.sub(r"(:\d+/).*", r"\1voila/static/nothing", url)
    while True:
        try:
            urllib.request.urlopen(address, timeout=5).close()
        except urllib.error.HTTPError:
            return
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
        else:
            return


def _end(process: subprocess.Popen[str]) -> None:
    family = psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
    process.terminate()
    try:
        process.wait(timeout=END_S)
    except subprocess.TimeoutExpired:
        process.kill()
    _, alive = psutil.wait_procs(family, timeout=5)
    for one in alive:
        with contextlib.suppress(psutil.Error):
            one.kill()
