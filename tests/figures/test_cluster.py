import dataclasses

from lepton_nb.cluster.snapshot import ClusterSnapshot, workers_of
from lepton_nb.figures.cluster import memory

INFO = {
    "workers": {
        f"tls://127.0.0.1:{9000 + i}": {
            "name": i,
            "nthreads": 1,
            "memory_limit": 2_000_000_000,
            "metrics": {"memory": 500_000_000 * i, "cpu": 50.0, "executing": 1, "spilled_bytes": {"disk": 10**8}},
        }
        for i in (10, 2, 1)
    }
}


def test_workers_come_in_the_order_of_their_names():
    assert [worker.name for worker in workers_of(INFO)] == ["1", "2", "10"]


def test_a_bar_shows_used_free_and_spilled_memory_in_gigabytes():
    workers = workers_of(INFO)[:2]
    figure = memory(ClusterSnapshot("cpu", "", True, "", workers))
    bars = {bar.name: list(bar.x) for bar in figure.data}
    assert bars == {"in use": [0.5, 1.0], "free": [1.5, 1.0], "on disk": [0.1, 0.1]}
    assert list(figure.data[0].y) == ["worker 1", "worker 2"]


def test_a_worker_over_its_limit_has_nothing_free():
    worker = dataclasses.replace(workers_of(INFO)[0], memory_bytes=3_000_000_000)
    figure = memory(ClusterSnapshot("cpu", "", True, "", (worker,)))
    assert list(figure.data[1].x) == [0]
