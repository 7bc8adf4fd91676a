"""A program that runs a stream in a child and kills it: at the n-th call that changes a file, or after a while.

It answers one line of JSON for each on its standard input. Everything is imported once; each run is a fork, made before
any thread exists, so that a run takes as long as the stream does.
"""

from __future__ import annotations

import builtins
import contextlib
import io
import json
import os
import select
import signal
import subprocess
import sys
import traceback
from pathlib import Path

WRITES = set("wax+")


class Torn:
    """A file that is open for writing; its writer may die with half of it written."""

    def __init__(self, file, kill_now):
        self._file = file
        self._kill_now = kill_now

    def write(self, content):
        half = len(content) // 2
        written = self._file.write(content[:half])
        self._file.flush()
        self._kill_now()
        return written + self._file.write(content[half:])

    def __enter__(self):
        self._file.__enter__()
        return self

    def __exit__(self, *error):
        return self._file.__exit__(*error)

    def __getattr__(self, name):
        return getattr(self._file, name)


class Killer:
    """Counts the calls that change files, and dies at the `at`-th; never for 0. `only` counts those below a folder."""

    def __init__(self, at):
        self.at = at
        self.calls = 0

    def now(self):
        self.calls += 1
        if self.calls == self.at:
            os.kill(os.getpid(), signal.SIGKILL)

    def __enter__(self):
        for name in ("replace", "rename", "fsync", "unlink", "mkdir"):
            setattr(os, name, self._counted(getattr(os, name)))
        really = io.open

        def opened(file, mode="r", *args, **kwargs):
            if not WRITES & set(mode):
                return really(file, mode, *args, **kwargs)
            self.now()
            return Torn(really(file, mode, *args, **kwargs), self.now)

        io.open = builtins.open = opened
        return self

    def __exit__(self, *_):
        """The process ends with it."""

    def _counted(self, function):
        def call(*args, **kwargs):
            self.now()
            return function(*args, **kwargs)

        return call


def stream_of(order):
    """The stream that an order describes, by the module's own queries."""
    import lepton_nb as lnb

    query = QUERIES[order["query"]](lnb)
    folder = Path(order["folder"])
    sink = {"own": None, "parquet": folder / "results", "duckdb": folder / "results.duckdb"}[order["sink"]]
    checkpoint = Path(order.get("checkpoint", folder / "checkpoint"))
    return query.stream(order["source"], sink, checkpoint=checkpoint, batch_rows=order["batch_rows"])


def _base(lnb):
    return lnb.windows(time="ts", key="key").agg(n=lnb.count(), v=lnb.sum("v"), most=lnb.max("v"))


QUERIES = {
    "sliding": lambda lnb: _base(lnb).sliding("10s", "5s").lateness(out_of_order="5s"),
    "allowed": lambda lnb: _base(lnb).sliding("10s", "5s").lateness(allowed="8s"),
    "sessions": lambda lnb: _base(lnb).session("2s").lateness(allowed="20s"),
    "counting": lambda lnb: _base(lnb).counting(4, 3).lateness(out_of_order="5s"),
    "rolling": lambda lnb: _base(lnb).rolling("4s").lateness(allowed="8s"),
}


def child(order):
    """Run the stream to its end and leave what it gives beside it; never returns."""
    code = 1
    try:
        with Killer(order.get("kill_at", 0)) as killer:
            run = stream_of(order)
            run.start().wait()
        folder = Path(order["folder"])
        for name in ("table", "late", "aside"):
            getattr(run, name)().write_parquet(folder / f"{name}.parquet")
        (folder / "calls.json").write_text(json.dumps(killer.calls))
        code = 0
    except BaseException as error:
        with contextlib.suppress(OSError):
            Path(order["folder"], "error.txt").write_text(f"{type(error).__name__}: {error}")
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


def main():
    import lepton_nb.windowing.sinks.database
    import lepton_nb.windowing.sinks.dataset
    import lepton_nb.windowing.sources.file_source
    import lepton_nb.windowing.stream  # noqa: F401

    for line in sys.stdin:
        order = json.loads(line)
        pid = os.fork()
        if not pid:
            child(order)
        ended = None
        if "kill_after_s" in order:
            handle = os.pidfd_open(pid)
            ready, _, _ = select.select([handle], [], [], order["kill_after_s"])
            os.close(handle)
            if not ready:
                os.kill(pid, signal.SIGKILL)
        _, ended = os.waitpid(pid, 0)
        print(json.dumps(os.waitstatus_to_exitcode(ended)), flush=True)


class Crasher:
    """The program, as a test uses it."""

    def __enter__(self):
        self._process = subprocess.Popen(
            [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        return self

    def __exit__(self, *_):
        self._process.stdin.close()
        self._process.wait(30)
        self._process.stdout.close()

    def run(self, **order):
        """The exit code: 0 at the end of the stream, -9 where it was killed, 1 after an error."""
        self._process.stdin.write(json.dumps(order, default=str) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        assert answer, "the crashing program itself has ended"
        return json.loads(answer)


if __name__ == "__main__":
    main()
