"""Ranks come from a process that has loaded the framework, know nothing of each other, and end when they must."""

import json
import os
import signal
import socket
import subprocess
import sys
import textwrap
import time

import polars as pl
import psutil
import pytest

import lepton_nb as lnb
from lepton_nb.training import fork_server, launcher

TABLE = pl.DataFrame({"x": [0.0, 1.0, 2.0, 3.0], "y": [0, 1, 0, 1]})

RANK = """
import json, os, pathlib, subprocess, sys, time

kept = []

def load():
    kept.append("loaded by %d" % os.getpid())
    print("loading", file=sys.stderr)
    {load}

def main(folder):
    (folder / "facts.json").write_text(json.dumps({{
        "pid": os.getpid(), "parent": os.getppid(), "group": os.getpgrp(), "kept": kept, "modules": sorted(sys.modules),
        "environment": dict(os.environ), "name": pathlib.Path("/proc/self/comm").read_text().strip(),
        "files": sorted(int(name) for name in os.listdir("/proc/self/fd")),
    }}))
    kept.append("changed")
    {main}
"""


def module(folder, *, load="pass", main="return 0"):
    """The name of a module of a rank, in `folder`, which the servers that are started find."""
    name = f"rank_of_{folder.name}"
    (folder / f"{name}.py").write_text(RANK.format(load=load, main=main))
    return name


@pytest.fixture
def start(tmp_path, monkeypatch):
    """Start a rank whose `load` and `main` are given; all that was started is ended."""
    monkeypatch.setattr(launcher, "_servers", {})
    started = []

    def launch(name="lnb-rank-0", *, warm=True, also=(), **code):
        if code or not started:
            monkeypatch.setitem(launcher.RANK_MODULES, "made", module(tmp_path, **code))
        folder = tmp_path / str(len(started))
        folder.mkdir()
        environment = {**os.environ, "PYTHONPATH": str(tmp_path), **dict(also)}
        started.append((launcher.launch("made", folder, name, environment, warm=warm), folder))
        return started[-1]

    yield launch
    for process, _ in started:
        process.end()
    for server in launcher._servers.values():
        server.end()


def facts(folder):
    return json.loads((folder / "facts.json").read_text())


def server():
    (child,) = (child for child in psutil.Process().children() if child.name() == "lnb-fork-server")
    return child


def wait_for(true, timeout_s=30.0):
    deadline_s = time.monotonic() + timeout_s
    while not true():
        assert time.monotonic() < deadline_s
        time.sleep(0.01)


def test_the_framework_is_loaded_once_and_what_a_rank_changes_is_its_own(start):
    first, one = start()
    assert first.exit_code(wait=True) == 0
    assert first.stderr.read() == b"loading\n"
    second, other = start("lnb-rank-1", also={"GIVEN": "1"})
    assert second.exit_code(wait=True) == 0
    assert second.stderr.read() == b""
    found = [facts(one), facts(other)]
    assert found[0]["kept"] == found[1]["kept"] == [f"loaded by {server().pid}"]
    assert [each["parent"] for each in found] == [server().pid] * 2
    assert [each["group"] for each in found] == [each["pid"] for each in found]
    assert [each["name"] for each in found] == ["lnb-rank-0", "lnb-rank-1"]
    assert [each["environment"].get("GIVEN") for each in found] == [None, "1"]
    assert len(found[1]["files"]) == 4, "the three of every process, and the folder that is being listed"


def test_a_rank_that_is_to_load_by_itself_does(start):
    process, folder = start(warm=False)
    assert process.exit_code(wait=True) == 0
    assert facts(folder)["kept"] == []


@pytest.mark.parametrize(
    ("main", "code"),
    [("return 3", 3), ("os.kill(os.getpid(), 11)", -11), ("raise ValueError('so it is')", 1), ("sys.exit(5)", 1)],
)
def test_the_way_a_rank_ends_is_told(start, main, code):
    process, _ = start(main=main)
    assert process.exit_code(wait=True) == code
    assert (b"ValueError: so it is" in process.stderr.read()) == ("ValueError" in main)


def test_a_rank_that_cannot_load_says_so_itself(start):
    process, _ = start(load="raise ImportError('not here')", main="load()")
    assert process.exit_code(wait=True) == 1
    assert b"ImportError: not here" in process.stderr.read()


def test_a_rank_that_runs_is_killed_with_what_it_has_started(start):
    process, _ = start(main="print(subprocess.Popen(['sleep', '1000']).pid, flush=True); time.sleep(1000)")
    child = psutil.Process(int(process.stdout.readline()))
    assert process.exit_code() is None
    process.kill()
    assert process.exit_code(wait=True) == -signal.SIGKILL
    psutil.wait_procs([child], timeout=10)
    assert not child.is_running()


def test_a_rank_given_up_while_it_is_loaded_never_works(start):
    process, folder = start(load="time.sleep(1)", main="time.sleep(1000)")
    process.end()
    assert process.exit_code() == -signal.SIGKILL
    assert not server().children()
    assert not (folder / "facts.json").exists() or facts(folder)["kept"]


def test_ranks_of_a_server_that_is_killed_end_and_the_next_gets_a_new_one(start):
    process, folder = start(main="time.sleep(1000)")
    wait_for((folder / "facts.json").exists)
    wait_for(lambda: process.exit_code() is None and process._pid is not None)
    old, rank = server(), psutil.Process(process._pid)
    old.kill()
    assert process.exit_code(wait=True) == -signal.SIGKILL
    wait_for(lambda: not rank.is_running() or rank.status() == psutil.STATUS_ZOMBIE)
    again, _ = start(main="return 0")
    assert again.exit_code(wait=True) == 0
    assert server() != old


def test_a_server_without_work_ends_and_is_started_again(start, tmp_path):
    process, _ = start(load="import lepton_nb.training.fork_server as it; sys.modules['__main__'].IDLE_S = 0.1")
    assert process.exit_code(wait=True) == 0
    old = server()
    wait_for(lambda: old.status() == psutil.STATUS_ZOMBIE)
    process, _ = start()
    assert process.exit_code(wait=True) == 0
    assert server() != old


def test_what_cannot_be_forked_is_told_and_the_server_goes_on(start):
    process, _ = start(load="os.fork = lambda: (_ for _ in ()).throw(BlockingIOError(11, 'no more processes'))")
    assert process.exit_code(wait=True) == 1
    assert b"no more processes" in process.stderr.read()
    assert server().is_running()


@pytest.mark.parametrize("load", ["pass", "time.sleep(1000)"])
def test_a_worker_that_is_killed_takes_all_along_also_while_a_framework_is_loaded(tmp_path, load):
    name = module(tmp_path, load=load, main="print('works', flush=True); time.sleep(1000)")
    code = f"""
        import os, pathlib, sys, time
        from lepton_nb.training import launcher
        launcher.RANK_MODULES["made"] = "{name}"
        process = launcher.launch("made", pathlib.Path({str(tmp_path)!r}), "lnb-rank-0", os.environ, warm=True)
        print((process.stderr if "{load}" != "pass" else process.stdout).readline(), flush=True)
        time.sleep(1000)
    """
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code)], stdout=subprocess.PIPE, env=environment
    ) as worker:
        assert worker.stdout.readline() in (b"b'works\\n'\n", b"b'loading\\n'\n")
        below = psutil.Process(worker.pid).children(recursive=True)
        assert len(below) == (2 if load == "pass" else 1)
        worker.kill()
        _, left = psutil.wait_procs(below, timeout=10)
    assert not left


def test_half_a_request_is_none():
    ours, theirs = socket.socketpair()
    with subprocess.Popen(
        [sys.executable, "-m", "lepton_nb.training.fork_server", str(theirs.fileno())], pass_fds=[theirs.fileno()]
    ) as process:
        theirs.close()
        with ours:
            ours.sendall(fork_server.LENGTH.pack(1000) + b"half")
        assert process.wait(30) == 0


def test_runs_on_a_worker_come_from_one_process_and_do_not_see_each_other(cluster, tmp_path):
    def build(features):
        from torch import nn

        (tmp_path / f"{os.getpid()}").write_text(f"{os.getppid()} {hasattr(nn, 'left_behind')}")
        nn.left_behind = True
        return nn.Linear(features, 1)

    for _ in range(2):
        lnb.train(build, TABLE, target="y", workers=1, epochs=1, batch_size=4, cluster=cluster).wait()
    said = [path.read_text().split() for path in tmp_path.iterdir() if path.name != str(os.getpid())]
    assert len(said) == 2
    assert len({parent for parent, _ in said}) == 1
    assert {seen for _, seen in said} == {"False"}
