import contextlib
import os
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import textwrap
import time
from pathlib import Path

import psutil
import pytest

import lepton_nb as lnb

# A user's process: starts a cluster, says where it lives, then does as told.
OWNER = """
import sys, tempfile, time
import psutil
import lepton_nb as lnb

if __name__ == "__main__":
    cluster = lnb.Cluster(workers=2, memory="500MB", gpus=0)
    pids = [p.pid for p in psutil.Process().children(recursive=True)]
    scratch = cluster.client.submit(tempfile.gettempdir).result()
    print(scratch, *pids, flush=True)
    {body}
"""


@contextlib.contextmanager
def owner(body, **options):
    program = OWNER.format(body=textwrap.indent(textwrap.dedent(body), "    ").strip())
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, **options)
    try:
        scratch, *pids = process.stdout.readline().split()
        yield process, Path(scratch), [int(pid) for pid in pids]
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def alive(pids):
    found = []
    for pid in pids:
        with contextlib.suppress(psutil.NoSuchProcess):
            if psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
                found.append(pid)
    return found


def eventually(condition, timeout_s=20.0):
    deadline = time.monotonic() + timeout_s
    while not (held := condition()) and time.monotonic() < deadline:
        time.sleep(0.05)
    return held


def test_a_cluster_is_encrypted_and_listens_on_loopback_alone(cluster):
    assert all(address.startswith("tls://127.0.0.1:") for address in cluster.workers)
    assert cluster.client.scheduler.address.startswith("tls://127.0.0.1:")
    me = psutil.Process()
    listening = [
        connection.laddr.ip
        for process in [me, *me.children(recursive=True)]
        for connection in process.net_connections(kind="tcp")
        if connection.status == psutil.CONN_LISTEN
    ]
    assert listening
    assert set(listening) == {"127.0.0.1"}


def test_a_stranger_without_the_certificate_is_refused(cluster):
    from distributed import Security

    def talk(context):
        with socket.create_connection((host, int(port)), timeout=10) as plain, context.wrap_socket(plain) as encrypted:
            return encrypted.recv(1)

    host, port = cluster.client.scheduler.address.removeprefix("tls://").split(":")
    member = cluster.client.security.get_connection_args("client")["ssl_context"]
    stranger = Security.temporary().get_connection_args("client")["ssl_context"]
    assert talk(member)
    with pytest.raises(ssl.SSLCertVerificationError):
        talk(stranger)
    # One who does not care to whom it talks is refused by the scheduler, for lack of a known certificate.
    stranger.verify_mode = ssl.CERT_NONE
    with pytest.raises(ssl.SSLError, match="(?i)unknown.ca"):
        talk(stranger)


def test_the_dashboard_answers_on_loopback(cluster):
    host, port = cluster.dashboard.removeprefix("http://").split("/")[0].split(":")
    assert host == "127.0.0.1"
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall(b"GET /status HTTP/1.0\r\n\r\n")
        assert b"200" in connection.recv(64)


def test_work_runs_in_worker_processes(cluster):
    pids = cluster.client.gather([cluster.client.submit(os.getpid, workers=[w], pure=False) for w in cluster.workers])
    assert len(set(pids)) == 2
    assert os.getpid() not in pids


def test_the_snapshot_and_the_text_tell_backend_and_reason(cluster):
    snapshot = cluster.snapshot()
    assert [worker.name for worker in snapshot.workers] == ["0", "1"]
    assert all(worker.threads == 1 and worker.memory_limit_bytes == 2_000_000_000 for worker in snapshot.workers)
    assert snapshot.reason == cluster.reason
    assert snapshot.backend == "cpu"
    assert cluster.reason in repr(cluster)
    assert "encrypted with TLS" in repr(cluster)


def test_closing_leaves_no_process_port_or_folder():
    before = set(psutil.Process().children(recursive=True))
    with lnb.Cluster(workers=2, memory="500MB", gpus=0) as cluster:
        scratch = Path(cluster.client.submit(tempfile.gettempdir).result())
        started = set(psutil.Process().children(recursive=True)) - before
        port = int(cluster.client.scheduler.address.rsplit(":", 1)[1])
        assert scratch.is_dir()
        assert not Path(tempfile.gettempdir(), "dask-scratch-space").exists()
    left = [p for p in started if p.is_running() and "resource_tracker" not in " ".join(p.cmdline())]
    assert left == []
    assert not scratch.exists()
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", port), timeout=5)
    assert str(scratch) not in "".join(sys.path)
    cluster.close()
    assert cluster.closed
    with pytest.raises(lnb.ClusterError, match="closed"):
        cluster.client  # noqa: B018
    assert repr(cluster) == "Cluster (closed)"


def test_a_killed_owner_leaves_nothing():
    with owner("time.sleep(600)") as (process, scratch, pids):
        assert scratch.is_dir()
        process.send_signal(signal.SIGKILL)
        assert eventually(lambda: not alive(pids)), alive(pids)
        assert eventually(lambda: not scratch.exists())


def test_a_killed_owner_leaves_nothing_when_a_worker_is_stuck():
    # A worker that is stopped cannot notice the end of its owner: the janitor ends it.
    with owner("time.sleep(600)") as (process, scratch, pids):
        workers = [int(path.name.split("-")[0]) for path in scratch.glob("*.member")]
        assert len(workers) == 2
        for pid in workers:
            os.kill(pid, signal.SIGSTOP)
        process.send_signal(signal.SIGKILL)
        assert eventually(lambda: not alive(pids)), alive(pids)
        assert eventually(lambda: not scratch.exists())


def test_an_interrupt_of_the_whole_group_spares_the_cluster():
    # Jupyter interrupts a cell by a signal to the kernel's process group, in which the workers are.
    body = """
    import os
    before = cluster.client.run(os.getpid)
    try:
        print("ready", flush=True)
        time.sleep(600)
    except KeyboardInterrupt:
        print(cluster.client.run(os.getpid) == before, flush=True)
    cluster.close()
    """
    with owner(body, start_new_session=True) as (process, scratch, pids):
        assert process.stdout.readline() == "ready\n"
        os.killpg(process.pid, signal.SIGINT)
        assert process.stdout.readline() == "True\n"
        assert process.wait(30) == 0
        assert eventually(lambda: not alive(pids)), alive(pids)
        assert not scratch.exists()


def test_the_environment_of_the_user_stays_as_it_was(monkeypatch):
    def environment():
        return {name: value for name, value in os.environ.items() if name != "__DASK_PARENT_PID"}

    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.delenv("MKL_NUM_THREADS", raising=False)
    before = environment()
    with lnb.Cluster(workers=2, memory="200MB", gpus=0) as cluster:
        assert environment() == before
        assert cluster.client.submit(lambda: os.environ.get("MALLOC_TRIM_THRESHOLD_")).result() is not None
        cluster.scale(3)
        # The new worker is there a little before Dask's start of it returns.
        assert eventually(lambda: environment() == before)


def test_dask_looks_at_itself_less_often_unless_the_user_has_said_how_often(cluster):
    import dask

    def intervals():
        names = ("distributed.admin.tick.interval", "distributed.worker.profile.interval")
        return tuple(dask.config.get(name) for name in names)

    assert cluster.client.run(intervals) == dict.fromkeys(cluster.workers, ("500ms", "100ms"))
    assert intervals() == ("20ms", "10ms")
    with dask.config.set({"distributed.admin.tick.interval": "30ms"}), lnb.Cluster(workers=1) as own:
        assert own.client.run(intervals) == dict.fromkeys(own.workers, ("30ms", "100ms"))


def test_a_worker_that_dies_comes_back():
    with lnb.Cluster(workers=1, memory="200MB", gpus=0) as cluster:
        first = cluster.workers
        os.kill(cluster.client.submit(os.getpid).result(), signal.SIGKILL)
        assert eventually(lambda: not set(cluster.workers) & set(first))
        assert eventually(lambda: len(cluster.workers) == 1)
        assert cluster.client.submit(sum, [1, 2]).result() == 3
        assert eventually(lambda: "MALLOC_TRIM_THRESHOLD_" not in os.environ)


@pytest.mark.parametrize("delay_s", [0.1, 0.4, 0.8, 1.2])
def test_an_interrupted_start_leaves_nothing(delay_s, tmp_path):
    program = """
import os, signal, sys, threading
import psutil
import lepton_nb as lnb
import distributed

if __name__ == "__main__":
    threading.Timer(float(sys.argv[1]), os.kill, (os.getpid(), signal.SIGINT)).start()
    try:
        cluster = lnb.Cluster(workers=2, memory="200MB", gpus=0)
        threading.Event().wait(60)
    except KeyboardInterrupt:
        print("interrupted", flush=True)
    if "cluster" in globals():
        cluster.close()
    print(*[p.pid for p in psutil.Process().children() if "resource_tracker" not in " ".join(p.cmdline())], flush=True)
"""
    done = subprocess.run(
        [sys.executable, "-c", program, str(delay_s)],
        capture_output=True,
        text=True,
        timeout=120,
        env=os.environ | {"TMPDIR": str(tmp_path)},
    )
    assert done.stdout == "interrupted\n\n", done.stderr
    assert not list(tmp_path.iterdir())


def test_a_script_without_a_guard_is_told_and_does_not_hang(tmp_path):
    script = tmp_path / "script.py"
    script.write_text("import lepton_nb as lnb\nlnb.Cluster(workers=1, memory='200MB', gpus=0)\n")
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=120)
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("lepton_nb.errors.ClusterError: the cluster did not start")
    assert last.endswith('below a line: if __name__ == "__main__":')


def test_scaling_returns_with_just_that_many_workers():
    with lnb.Cluster(workers=1, memory="200MB", gpus=0) as cluster:
        assert len(cluster.scale(3).workers) == 3
        assert len(cluster.scale(1).workers) == 1
        cluster.adapt(1, 2)
        assert len(cluster.scale(2).workers) == 2
        with pytest.raises(lnb.ClusterError, match="0 workers"):
            cluster.scale(0)
        with pytest.raises(lnb.ClusterError, match="minimum <= maximum"):
            cluster.adapt(3, 2)
        for wrong in (2.5, True, "1"):
            with pytest.raises(lnb.ClusterError, match="whole number"):
                cluster.adapt(1, wrong)
        with pytest.raises(lnb.ClusterError, match="this machine has"):
            cluster.scale(100_000)


@pytest.mark.parametrize("name", ["port", "dashboard_port"])
def test_a_port_in_use_is_told(name):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(lnb.ClusterError, match=f"{name}={port} cannot be used .* choose another") as caught:
            lnb.Cluster(workers=1, memory="200MB", gpus=0, **{name: port})
    assert caught.value.port == port


def test_gpus_that_are_not_there_are_refused_with_what_was_found():
    if _gpus():
        pytest.skip("this machine has GPUs")
    with pytest.raises(lnb.ClusterError, match="gpus=2 was asked for, but no GPU") as caught:
        lnb.Cluster(gpus=2)
    assert caught.value.found == 0


def _gpus():
    from lepton_nb.cluster.probe import probe_gpus

    return probe_gpus()[0]


@pytest.mark.gpu
def test_a_real_gpu_serves_a_worker():
    if not _gpus():
        pytest.skip("no NVIDIA GPU on this machine")
    with lnb.Cluster(workers=1, gpus="auto") as cluster:
        assert cluster.backend == "cuda"
        visible = cluster.client.submit(lambda: os.environ.get("CUDA_VISIBLE_DEVICES")).result()
        assert visible == cluster.hardware.gpus[0].uuid
