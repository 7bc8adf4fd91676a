"""What a worker's processes use: real processes below this one, and the ranks of a real training."""

import contextlib
import os
import subprocess
import sys
import time

import numpy as np
import psutil
import pytest
from torch import nn

import lepton_nb as lnb
from lepton_nb.cluster import children
from lepton_nb.cluster.children import Children

ROWS = np.random.default_rng(0).normal(size=(4000, 20))
DATA = (ROWS, (ROWS[:, 0] > 0).astype(float))
ENDLESS = 10**8
HELD = 50_000_000
BUSY = f"held = b'x' * {HELD}\nprint(flush=True)\nwhile True: pass"


def eventually(condition, timeout_s=60.0):
    deadline = time.monotonic() + timeout_s
    while not (held := condition()) and time.monotonic() < deadline:
        time.sleep(0.05)
    return held


class Clock:
    """Seconds as a test has them."""

    now_s = 0.0

    def __call__(self):
        return self.now_s


@pytest.fixture
def busy():
    """A process below this one that holds memory and computes, and is killed at the end."""
    # Started by a process of its own, which does not notice its end before it ends itself.
    starter = f"import subprocess, sys\nsubprocess.Popen([sys.executable, '-c', {BUSY!r}])\nsys.stdin.read()"
    command = [sys.executable, "-c", starter]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        (worker,) = psutil.Process(process.pid).children()
        yield process
        with contextlib.suppress(psutil.NoSuchProcess):
            worker.kill()


@pytest.mark.parametrize("listed", sorted({children._LISTED, False}))
def test_processor_and_memory_of_what_is_below_a_process_are_counted(busy, monkeypatch, listed):
    monkeypatch.setattr(children, "_LISTED", listed)
    clock = Clock()
    look = Children(busy.pid, clock)
    first = look()
    assert (first["count"], first["cpu_percent"]) == (1, 0.0)
    assert HELD < first["memory_bytes"] < 10 * HELD
    assert first["shared_once"] == os.path.exists("/proc/self/smaps_rollup")
    (worker,) = psutil.Process(busy.pid).children()
    before_s = worker.cpu_times().user
    assert eventually(lambda: worker.cpu_times().user > before_s + 0.2)
    clock.now_s = 0.9
    assert look() is first
    clock.now_s = 2.0
    # 0.2 seconds in two.
    assert look()["cpu_percent"] >= 10.0


def test_a_look_that_takes_long_is_taken_less_often(busy):
    class Slow(Clock):
        def __call__(self):
            self.now_s += 0.5
            return self.now_s

    clock = Slow()
    look = Children(busy.pid, clock)
    first = look()
    clock.now_s = 24.0
    assert look() is first
    clock.now_s = 26.0
    assert look() is not first


def test_a_process_that_has_ended_breaks_nothing(busy):
    clock = Clock()
    look = Children(busy.pid, clock)
    (worker,) = psutil.Process(busy.pid).children()
    assert look()["memory_bytes"] > HELD
    worker.kill()
    # Nobody has waited for it: it is listed still, and holds nothing.
    assert eventually(lambda: worker.status() == psutil.STATUS_ZOMBIE)
    assert children.below(busy.pid) == [worker.pid]
    clock.now_s = 5.0
    assert look()["memory_bytes"] == 0
    busy.stdin.close()
    busy.wait()
    clock.now_s = 10.0
    assert look()["count"] == 0
    assert children.below(busy.pid) == []
    assert eventually(lambda: not worker.is_running())
    with pytest.raises(psutil.NoSuchProcess):
        children.memory_of(worker)


def test_the_ranks_of_a_training_count_with_their_worker(cluster):
    def model(features):
        return nn.Sequential(nn.Linear(features, 64), nn.ReLU(), nn.Linear(64, 1))

    run = lnb.train(model, DATA, workers=2, batch_size=64, steps=ENDLESS, cluster=cluster)
    seen = []

    def at_work():
        seen.append(cluster.snapshot().workers)
        busy = all(worker.children >= 2 and worker.children_cpu_percent > 5 for worker in seen[-1])
        return (busy and run.step > 0) or run.status.over

    try:
        assert eventually(at_work, 120)
        assert run.error is None
        pids = cluster.client.run(os.getpid)
        for worker in seen[-1]:
            below = psutil.Process(pids[worker.address]).children(recursive=True)
            assert worker.children == len(below)
            # A rank, and what it is forked from, which has loaded PyTorch.
            assert worker.children_memory_bytes > 100_000_000
            assert worker.memory_bytes == worker.own_memory_bytes + worker.children_memory_bytes
            assert worker.own_memory_bytes > 0
            assert worker.cpu_percent >= worker.children_cpu_percent
            # What the two share is not counted twice.
            assert worker.children_memory_bytes < sum(child.memory_info().rss for child in below)
        panel = lnb.ClusterPanel(cluster)
        assert panel.summary().count("processes that it started)") == 2
        assert "in processes that it started" in [bar.name for bar in panel.figures()[0].data]
        panel.close()
    finally:
        run.stop(60)
    most = max(worker.children for worker in seen[-1])
    assert eventually(lambda: all(worker.children < most for worker in cluster.snapshot().workers))
