import logging
import os
import signal
import time

import pytest

import lepton_nb as lnb
from lepton_nb.background import BackgroundRun
from lepton_nb.cluster.snapshot import workers_of


def eventually(condition, timeout_s=60.0):
    deadline = time.monotonic() + timeout_s
    while not (held := condition()) and time.monotonic() < deadline:
        time.sleep(0.05)
    return held


def identity(**metrics):
    return {
        "workers": {
            f"tls://127.0.0.1:{9000 + i}": {
                "name": i,
                "nthreads": 2,
                "memory_limit": 2_000_000_000,
                "metrics": {"memory": 500_000_000 * i, "cpu": 50.0, "spilled_bytes": {"disk": 10**8}} | metrics,
            }
            for i in (10, 2, 1)
        }
    }


GPU = {"gpu_utilization": 40, "gpu_memory_used": 3 * 10**9, "gpu-memory-total": 16 * 10**9}


def test_workers_come_in_the_order_of_their_names():
    assert [worker.name for worker in workers_of(identity())] == ["1", "2", "10"]


def test_tasks_and_traffic_are_read_from_what_a_worker_reports():
    counts = {"executing": 1, "long-running": 1, "ready": 4, "memory": 7, "released": 9}
    traffic = {"received_bytes_s": 5.0, "sent_bytes_s": 6.0}
    worker = workers_of(identity(task_counts=counts, lepton_nb_traffic=traffic))[0]
    assert (worker.executing, worker.ready, worker.in_memory) == (2, 4, 7)
    assert (worker.received_bytes_s, worker.sent_bytes_s) == (5.0, 6.0)
    assert worker.spilled_bytes == 10**8


def test_a_worker_counts_with_the_processes_that_it_started():
    started = {"count": 2, "cpu_percent": 150.0, "memory_bytes": 10**9, "shared_once": False}
    worker = workers_of(identity(lepton_nb_children=started))[0]
    assert (worker.cpu_percent, worker.memory_bytes, worker.own_memory_bytes) == (200.0, 1_500_000_000, 500_000_000)
    assert (worker.children, worker.children_cpu_percent, worker.children_memory_bytes) == (2, 150.0, 10**9)
    assert not worker.children_shared_once
    assert workers_of(identity())[0].children == 0


def test_a_gpu_is_a_workers_own_or_none():
    # Where workers run on the CPU, Dask tells of a GPU of the machine that they do not use.
    assert workers_of(identity(**GPU), "cpu")[0].gpu_percent is None
    worker = workers_of(identity(**GPU), "cuda")[0]
    assert (worker.gpu_percent, worker.gpu_memory_bytes) == (40.0, 3 * 10**9)
    assert worker.gpu_memory_limit_bytes == 16 * 10**9
    assert worker.gpu_tells


@pytest.mark.parametrize("wrong", [None, -1, float("nan"), float("inf"), "N/A", True, 10**18])
def test_what_a_gpu_cannot_say_in_earnest_is_unknown(wrong):
    (worker, *_) = workers_of(identity(**(GPU | {"gpu_utilization": wrong, "gpu_memory_used": wrong})), "cuda")
    assert (worker.gpu_percent, worker.gpu_memory_bytes) == (None, None)
    assert worker.gpu_memory_limit_bytes == 16 * 10**9
    assert worker.gpu_tells
    (silent, *_) = workers_of(identity(), "cuda")
    assert not silent.gpu_tells


@pytest.mark.parametrize("wrong", [None, 0, -1, float("nan")])
def test_a_gpu_with_memory_of_no_size_still_tells_how_much_is_used(wrong):
    (worker, *_) = workers_of(identity(**(GPU | {"gpu-memory-total": wrong})), "cuda")
    assert (worker.gpu_memory_bytes, worker.gpu_memory_limit_bytes) == (3 * 10**9, None)


def test_a_worker_that_has_not_reported_yet_is_all_zeros():
    info = {"workers": {"a": {"name": 0, "nthreads": 1, "memory_limit": 10**9, "metrics": {}}}}
    (worker,) = workers_of(info)
    assert (worker.memory_bytes, worker.cpu_percent, worker.executing, worker.sent_bytes_s) == (0, 0.0, 0, 0.0)


def test_a_real_cluster_tells_of_tasks_and_traffic_and_logs(cluster):
    client, (one, other) = cluster.client, cluster.workers
    before = cluster.snapshot()
    assert before.wanted == 2
    assert before.losses == ()

    def fail():
        logging.getLogger("distributed.worker").warning("a line of its own")
        raise ValueError("on purpose")

    held = client.submit(bytes, 20_000_000, workers=[one], pure=False)
    moved = client.submit(len, held, workers=[other], pure=False)
    failed = client.submit(fail, workers=[one], pure=False)
    seen = []

    def moved_and_told():
        seen.append(cluster.snapshot())
        return any(s.workers[0].sent_bytes_s for s in seen) and any(s.workers[1].received_bytes_s for s in seen)

    assert moved.result() == 20_000_000
    with pytest.raises(ValueError, match="on purpose"):
        failed.result()
    assert eventually(moved_and_told)
    after = cluster.snapshot()
    assert after.tasks.finished == before.tasks.finished + 2
    assert after.tasks.failed == before.tasks.failed + 1
    assert after.tasks.in_memory >= 2
    assert after.at_s > before.at_s
    assert any(s.machine_received_bytes_s for s in seen)

    log = cluster.log(one)
    assert "Registered to" in log
    assert log.index("Registered to") < log.index("a line of its own") < log.index("on purpose")
    assert cluster.log(0) == log
    assert "a line of its own" not in cluster.log("1")
    with pytest.raises(lnb.ClusterError, match=r"no worker '7'; it has: 0, 1$") as caught:
        cluster.log(7)
    assert caught.value.name == "7"
    # What they hold would be another test's surprise.
    for future in (held, moved, failed):
        future.release()
    assert eventually(lambda: not client.futures)


def test_a_lost_worker_is_told_with_the_reason_and_one_that_was_asked_to_end_is_not():
    with lnb.Cluster(workers=2, memory="200MB", gpus=0) as cluster:
        cluster.client.restart()
        assert cluster.scale(1).snapshot().losses == ()
        (address,) = cluster.workers
        name = cluster.snapshot().workers[0].name
        os.kill(cluster.client.run(os.getpid)[address], signal.SIGKILL)
        assert eventually(lambda: cluster.snapshot().losses)
        (loss,) = cluster.snapshot().losses
        assert (loss.worker, loss.reason) == (name, "its process was killed by signal 9 (SIGKILL)")
        assert loss.reason in cluster.log(name)
        assert eventually(lambda: len(cluster.workers) == 1)
        assert cluster.snapshot().wanted == 1

        assert cluster.adapting is None
        assert cluster.adapt(1, 2).adapting == (1, 2)
        assert cluster.scale(1).adapting is None
        cluster.adapt(1, 2)
    assert cluster.adapting is None
    with pytest.raises(lnb.ClusterError, match="is closed"):
        cluster.log(name)


def test_a_cluster_that_is_closed_while_it_is_asked_says_so():
    cluster = lnb.Cluster(workers=1, memory="200MB", gpus=0)

    def ask(control):
        while True:
            cluster.snapshot()

    asking = BackgroundRun(ask).start()
    assert cluster.snapshot().wanted == 1
    cluster.close()
    with pytest.raises(lnb.ClusterError, match="is closed"):
        asking.wait()
