"""Trainings that take turns: all are started, and then one after the other goes on for a while, the others held.

Ours are held by pausing them, others by SIGSTOP. Steps that were not begun and ended within one turn do not count.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import psutil

import lepton_nb as lnb

PEERS = Path(__file__).with_name("training_peers.py")
START_TIMEOUT_S = 240.0
PEER_TIMEOUT_S = 60.0


class Party(Protocol):
    """One training."""

    def go(self) -> None:
        """Let it train."""
        ...

    def hold(self) -> None:
        """Let it wait; it needs no processor then."""
        ...

    def enough(self) -> bool:
        """Whether there is something to count since the last `go`."""
        ...

    def pids(self) -> list[int]:
        """The processes that train."""
        ...

    def rate(self) -> float:
        """Steps a second since the last `go`."""
        ...

    def end(self) -> None:
        """Leave nothing of it."""
        ...


def wait_until(true: Any, what: str, timeout_s: float = START_TIMEOUT_S, look_s: float = 0.005) -> None:
    """Wait for `true()`; RuntimeError after too long."""
    until_s = time.monotonic() + timeout_s
    while not true():
        if time.monotonic() > until_s:
            raise RuntimeError(f"waited {timeout_s:.0f} s in vain: {what}")
        time.sleep(look_s)


class Ours:
    """A run of ours without an end, on a cluster of its own. by_epoch: count whole epochs, without their validation."""

    def __init__(
        self, cluster: lnb.Cluster, model: Any, data: Any, *, batch: int, by_epoch: bool = False, **options: Any
    ) -> None:
        self._by_epoch = by_epoch
        self._rows = len(data[1])
        self._batch = batch
        self.run = lnb.train(model, data, batch_size=batch, epochs=10**6, cluster=cluster, **options)
        self._cluster = cluster
        self._seen = self._count()
        wait_until(lambda: self.run.task is not None or self.run.status.over, "our ranks did not start")
        if self.run.status.over:
            self.run.wait()
        # Until everything is loaded.
        time.sleep(0.5)
        self.hold()

    def go(self) -> None:
        """Resume, and count from there."""
        self._seen = self._count()
        self.run.resume()
        wait_until(lambda: not self.run.paused or self.run.status.over, "our ranks did not go on")

    def hold(self) -> None:
        """Pause."""
        self.run.pause()
        wait_until(lambda: self.run.paused or self.run.status.over, "our ranks did not pause")
        if self.run.status.over:
            self.run.wait()

    def pids(self) -> list[int]:
        """Children of the workers."""
        workers = [psutil.Process(pid) for pid in self._cluster.client.run(os.getpid).values()]
        below = [child for worker in workers for child in worker.children(recursive=True)]
        return [child.pid for child in below if child.name().startswith("lnb-rank-")]

    def enough(self) -> bool:
        """Three rows, of which the first began before the turn."""
        return self._count() >= self._seen + 3

    def rate(self) -> float:
        """By the ranks' own clock."""
        if self._by_epoch:
            # The first was held in its middle.
            found = self.run.history["rows_per_s"].to_list()[self._seen + 1 :]
            return statistics.harmonic_mean(found) / self._batch
        steps, elapsed_s = (self.run.steps[name].to_list()[self._seen :] for name in ("step", "elapsed_s"))
        return float((steps[-1] - steps[0]) / (elapsed_s[-1] - elapsed_s[0]))

    def end(self) -> None:
        """Stop."""
        if not self.run.status.over:
            self.run.stop()

    def _count(self) -> int:
        return self.run.history.height if self._by_epoch else self.run.steps.height


class Peer:
    """A program of training_peers.py, alone or as `ranks` ranks of torchrun."""

    def __init__(self, kind: str, folder: Path, batch: int, *options: str, ranks: int = 1, threads: int | None = None):
        self._ranks = ranks
        self._told, self._errors = (tempfile.TemporaryFile() for _ in range(2))  # noqa: SIM115 - closed by `end`
        self._at = 0
        self._beats: list[dict[str, Any]] = []
        self.ready: list[dict[str, Any]] = []
        self._went_s = 0.0
        script = [str(PEERS), kind, str(folder), str(batch), *options]
        if kind == "keras_ranks":
            command = [str(PEERS), "apart", *script]
        elif ranks > 1:
            command = torchrun(script, ranks)
        else:
            command = script
        environment = dict(os.environ)
        if threads is not None:
            environment["OMP_NUM_THREADS"] = str(threads)
        self._process = subprocess.Popen(
            [sys.executable, *command],
            stdin=subprocess.DEVNULL,
            stdout=self._told,
            stderr=self._errors,
            env=environment,
        )
        try:
            wait_until(self._is_ready, f"{kind} did not start", PEER_TIMEOUT_S, look_s=0.05)
        except RuntimeError:
            self.end()
            raise

    @classmethod
    def started(cls, *given: Any, **options: Any) -> Peer:
        """A peer; ranks of TensorFlow now and then wait for each other for ever, and are started once more."""
        try:
            return cls(*given, **options)
        except RuntimeError as error:
            print(f"  {error}; once more", flush=True)
            return cls(*given, **options)

    def go(self) -> None:
        """SIGCONT."""
        self._went_s = time.monotonic()
        for each in self.ready:
            os.kill(each["pid"], signal.SIGCONT)

    def hold(self) -> None:
        """SIGSTOP."""
        for each in self.ready:
            os.kill(each["pid"], signal.SIGSTOP)
        self._read()

    def pids(self) -> list[int]:
        """As they have told."""
        return [each["pid"] for each in self.ready]

    def enough(self) -> bool:
        """Two blocks."""
        self._read()
        return len(self._mine()) > 1

    def _mine(self) -> list[dict[str, Any]]:
        return [beat for beat in self._beats if beat["began_s"] > self._went_s]

    def rate(self) -> float:
        """Of the blocks within the turn."""
        mine = self._mine()
        return float(sum(beat["steps"] for beat in mine) / sum(beat["ended_s"] - beat["began_s"] for beat in mine))

    def end(self) -> None:
        """Kill all of it."""
        if self._process.poll() is None:
            for child in psutil.Process(self._process.pid).children(recursive=True):
                with contextlib.suppress(psutil.NoSuchProcess):
                    child.kill()
        self._process.kill()
        self._process.wait()
        self._told.close()
        self._errors.close()

    def _is_ready(self) -> bool:
        self._read()
        if self._process.poll() is not None:
            self._errors.seek(0)
            raise RuntimeError(f"a peer ended: {self._errors.read().decode()[-3000:]}")
        return len(self.ready) == self._ranks

    def _read(self) -> None:
        self._told.seek(self._at)
        for line in self._told.read().splitlines(keepends=True):
            if not line.endswith(b"\n"):
                break
            self._at += len(line)
            if line.startswith(b"{"):
                facts = json.loads(line)
                if "ready" in facts:
                    self.ready.append(facts)
                elif "steps" in facts:
                    self._beats.append(facts)


def torchrun(script: Sequence[str], ranks: int) -> list[str]:
    """The arguments for Python that start `script` with torchrun, where only loopback is."""
    return [
        str(PEERS), "apart", "-m", "torch.distributed.run", "--standalone", "--local-addr", "127.0.0.1",
        "--nproc-per-node", str(ranks), *script,
    ]  # fmt: skip


@dataclass(frozen=True)
class Taken:
    """Of one contender, a value for each round: steps a second, and seconds of a core for a step."""

    rates: list[float]
    core_s: list[float]


def take_slices(parties: Mapping[str, Sequence[Party]], rounds: int, slice_s: float) -> dict[str, Taken]:
    """All in turns; several parties under one name go at once and are added up. A first round is not counted."""
    found = {name: Taken([], []) for name in parties}
    pids = {name: [pid for party in group for pid in party.pids()] for name, group in parties.items()}
    for number in range(rounds + 1):
        for name, group in parties.items():
            core_s, began_s = _core_s(pids[name]), time.monotonic()
            for party in group:
                party.go()
            time.sleep(slice_s)
            # Longer where the machine is very busy.
            wait_until(lambda group=group: all(party.enough() for party in group), f"nothing to count of {name}")
            for party in group:
                party.hold()
            core_s, took_s = _core_s(pids[name]) - core_s, time.monotonic() - began_s
            if number:
                rate = sum(party.rate() for party in group)
                found[name].rates.append(rate)
                found[name].core_s.append(core_s / (rate * took_s))
    return found


def _core_s(pids: Sequence[int]) -> float:
    return sum(sum(psutil.Process(pid).cpu_times()[:2]) for pid in pids)


def ratios(taken: Mapping[str, Taken], name: str, other: str) -> list[float]:
    """Rates of `name` over those of `other`, of each round, in which both had their turn within seconds."""
    return [one / two for one, two in zip(taken[name].rates, taken[other].rates, strict=True)]


def show(taken: Mapping[str, Taken], batch: int, ours: str) -> None:
    """Step time (median and range), rows a second, the time of cores that a step takes, and step time beside ours."""
    print(
        f"  {'':40}{'ms/step':>9} {'min':>8} {'max':>8} {'rounds':>7} {'M rows/s':>9} {'core ms':>8} {'it / ours':>10}"
    )
    for name, found in taken.items():
        times_ms = [1e3 / rate for rate in found.rates]
        print(
            f"  {name:40}{statistics.median(times_ms):9.3f} {min(times_ms):8.3f} {max(times_ms):8.3f} "
            f"{len(times_ms):7} {statistics.median(found.rates) * batch / 1e6:9.3f} "
            f"{statistics.median(found.core_s) * 1e3:8.3f} {statistics.median(ratios(taken, ours, name)):10.2f}"
        )
