import json
import os
import sys
import textwrap
import time

import polars as pl
import psutil
import pytest

import lepton_nb as lnb
from lepton_nb.training.channel import ORPHANED
from lepton_nb.training.supervisor import KEPT_LINE_BYTES, LineReader, why_unwanted

TABLE = pl.DataFrame({"x": [0.0, 1.0, 2.0, 3.0], "y": [0, 1, 0, 1]})


def test_a_rank_has_its_share_of_the_cores_and_keeps_the_memory_that_it_frees(cluster, tmp_path):
    def build(features):
        from torch import nn

        (tmp_path / f"{os.getpid()}.json").write_text(json.dumps(dict(os.environ)))
        return nn.Linear(features, 1)

    lnb.train(build, TABLE, target="y", workers=2, epochs=1, batch_size=4, cluster=cluster).wait()
    worker = cluster.client.submit(lambda: dict(os.environ), pure=False).result()
    ranks = [json.loads(path.read_text()) for path in tmp_path.glob("*.json") if path.stem != str(os.getpid())]
    assert len(ranks) == 2
    for rank in ranks:
        assert int(rank["MALLOC_TRIM_THRESHOLD_"]) == 2**30 > int(worker["MALLOC_TRIM_THRESHOLD_"])
        assert rank["OMP_NUM_THREADS"] == str(max(1, len(os.sched_getaffinity(0)) // 2))


def with_a_child(where, *, quiet, raises=False):
    """A builder whose rank 0 starts a process that would go on for ever, and writes its number into `where`."""

    def build(features):
        import subprocess

        import torch

        rank = torch.distributed.get_rank()
        if rank == 0:
            pipes = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL} if quiet else {}
            child = subprocess.Popen(["sleep", "1000"], stdin=subprocess.DEVNULL, **pipes)
            where.write_text(str(child.pid))

        class Model(torch.nn.Linear):
            def forward(self, rows):
                if raises and rank == 0 and self.training:
                    raise ZeroDivisionError("no luck today")
                return super().forward(rows)

        return Model(features, 1)

    return build


def gone(where):
    try:
        return psutil.Process(int(where.read_text())).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


@pytest.mark.parametrize("quiet", [True, False])
def test_what_a_rank_has_started_ends_with_it(cluster, tmp_path, quiet):
    where = tmp_path / "child"
    run = lnb.train(with_a_child(where, quiet=quiet), TABLE, target="y", epochs=1, cluster=cluster)
    assert run.wait(60).step == 1
    assert gone(where)


def test_a_rank_that_raises_is_heard_though_its_child_holds_its_pipes_open(cluster, tmp_path):
    where = tmp_path / "child"
    run = lnb.train(with_a_child(where, quiet=False, raises=True), TABLE, target="y", epochs=1, cluster=cluster)
    with pytest.raises(lnb.TrainingError, match="ZeroDivisionError: no luck today") as caught:
        run.wait(60)
    assert caught.value.rank == 0
    assert gone(where)


def test_a_rank_without_its_supervisor_takes_along_what_it_has_started(tmp_path):
    import subprocess

    script = """
        import pathlib, subprocess, sys, threading
        from lepton_nb.training.channel import Channel
        Channel.open()
        child = subprocess.Popen(["sleep", "1000"], stdin=subprocess.DEVNULL)
        pathlib.Path(sys.argv[1]).write_text(str(child.pid))
        print("started", file=sys.stderr, flush=True)
        threading.Event().wait()
    """
    where = tmp_path / "child"
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script), where],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
    ) as rank:  # fmt: skip
        assert rank.stderr.readline() == b"started\n"
        rank.stdin.close()
        assert rank.wait(30) in (-9, ORPHANED)
        rank.stderr.read()  # ends once nobody holds it open, which is a moment before the last of them is gone
    deadline_s = time.monotonic() + 30
    while not gone(where):
        assert time.monotonic() < deadline_s
        time.sleep(0.01)


@pytest.mark.parametrize(
    ("task", "worker", "why"),
    [
        ("long-running", "running", ""),
        ("long-running", "paused", ""),
        ("long-running", "closing_gracefully", "its worker is closing_gracefully"),
        ("long-running", "closed", "its worker is closed"),
        ("cancelled", "running", "its task was cancelled"),
        (None, "running", "its task was cancelled"),
    ],
)
def test_a_rank_is_wanted_until_its_task_or_its_worker_ends(task, worker, why):
    assert why_unwanted(task, worker) == why


def test_lines_end_where_a_progress_bar_goes_back_and_are_cut_when_endless():
    reader = LineReader(b"\r\n|\r|\n", KEPT_LINE_BYTES)
    assert reader.take(b"one\r\ntwo\rth") == ["one", "two"]
    assert reader.take(b"ree\n") == ["three"]
    for _ in range(100):
        assert reader.take(b"x" * 1000) == []
    assert reader.take(b"\nlast") == ["x" * KEPT_LINE_BYTES]
    assert reader.take(b"") == ["last"]
    assert reader.take(b"") == []


def test_messages_are_whole_however_long():
    reader = LineReader(b"\n")
    assert reader.take(b"a" * 10_000 + b"\r") == []
    assert reader.take(b"b\n") == ["a" * 10_000 + "\rb"]
