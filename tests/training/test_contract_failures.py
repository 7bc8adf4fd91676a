"""Ranks that die, never come, or come late: named, at once, and nothing is left; in both frameworks."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest
import training_contract as contract

import lepton_nb as lnb
from lepton_nb.training import checkpoint

STEPS = 30


def killed_once(rank, step, folder):
    """Rank 1, as a machine does that has no memory left; later ranks are let alone."""
    if rank == 1 and step == 17:
        os.kill(os.getpid(), signal.SIGKILL)


def left_once(rank, step, folder):
    """Rank 1, by itself and without a word."""
    if rank == 1 and step == 17:
        os._exit(3)


def slowly(rank, step, folder):
    if not (folder / "go").exists():
        time.sleep(0.1)


LEAVING = """
import sys
import lepton_nb as lnb
sys.path.append(sys.argv[3])
import training_contract as contract

if __name__ == "__main__":
    framework, folder = sys.argv[1:3]
    cluster = lnb.Cluster(workers=1, memory="1GB")
    options = {"steps": 10_000_000, "checkpoint": folder, "checkpoint_every_steps": 10_000_000}
    run = contract.start(cluster, framework, workers=1, **options)
    contract.wait_for_step(run, 3)
"""


@pytest.mark.slow
@pytest.mark.parametrize("framework", contract.FRAMEWORKS)
def test_leaving_python_while_a_run_goes_on_is_quiet_and_keeps_what_it_came_to(tmp_path, framework):
    """The run is stopped as if its user had: it writes a checkpoint, the only one, and nothing of it is left."""
    script = tmp_path / "leaving.py"
    script.write_text(LEAVING)
    support = str(Path(contract.__file__).parent)
    with subprocess.Popen(
        [sys.executable, script, framework, tmp_path / "kept", support],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as leaving:
        output, _ = leaving.communicate(timeout=280)
    assert (leaving.returncode, output) == (0, "")
    assert len(checkpoint.steps(tmp_path / "kept")) == 1


@pytest.mark.slow
@pytest.mark.parametrize("framework", contract.FRAMEWORKS)
@pytest.mark.parametrize(
    ("act", "reason"),
    [(killed_once, "was killed by signal 9"), (left_once, "ended with exit status 3")],
    ids=["killed", "left"],
)
def test_a_killed_rank_does_not_hang_the_run_which_ends_with_the_same_numbers(
    cluster, tmp_path, framework, act, reason
):
    """As XGBoost's test_killed_task_wo_hang (xgboost: tests/test_distributed/test_with_dask/test_with_dask.py)."""
    run = contract.start(
        cluster, framework, model=contract.builder(framework, tmp_path, act), steps=STEPS, max_restarts=1,
        checkpoint=tmp_path / "kept", checkpoint_every_steps=5,
    ).wait(250)  # fmt: skip
    assert len(run.restarts) == 1
    assert run.restarts[0].startswith("rank 1 of 2 on ")
    assert reason in run.restarts[0]
    # The steps after the checkpoint of the fifteenth were begun twice.
    assert contract.steps_taken(tmp_path)[1] == STEPS + 2
    contract.assert_equal(run, contract.bare(framework, STEPS))


@pytest.mark.slow
@pytest.mark.parametrize("framework", contract.FRAMEWORKS)
def test_a_killed_rank_ends_the_run_and_all_others_where_none_may_start_again(cluster, tmp_path, framework):
    """As XGBoost's test_killed_task_wo_hang; the issue asks for the others to end within 5 s."""
    model = contract.builder(framework, tmp_path, slowly)
    run = contract.start(cluster, framework, model=model, steps=100_000, max_restarts=0)
    contract.wait_for_step(run, 3)
    alive = contract.rank_processes()
    assert len(alive) == 2
    victim = next(process for process in alive if process.name() == "lnb-rank-1")
    victim.kill()
    _, left = psutil.wait_procs(alive, timeout=5)
    assert not left
    with pytest.raises(lnb.TrainingError, match=r"rank 1 of 2 on .* was killed by signal 9") as caught:
        run.wait(60)
    assert (caught.value.rank, caught.value.worker, caught.value.exit_code) == (1, cluster.workers[1], -9)
    assert run.restarts == ()


@pytest.mark.slow
@pytest.mark.parametrize("framework", contract.FRAMEWORKS)
def test_a_killed_worker_is_replaced_and_the_run_ends_with_the_same_numbers(tmp_path, framework):
    """As XGBoost's test_killed_task_wo_hang, where it is the worker that dies: its nanny starts another one."""
    with lnb.Cluster(workers=2, memory="1GB") as cluster:
        run = contract.start(
            cluster, framework, model=contract.builder(framework, tmp_path, slowly), steps=STEPS, max_restarts=2,
            checkpoint=tmp_path / "kept", checkpoint_every_steps=3,
        )  # fmt: skip
        contract.wait_for_step(run, 6)
        victim = cluster.workers[1]
        os.kill(cluster.client.run(os.getpid, workers=[victim])[victim], signal.SIGKILL)
        (tmp_path / "go").touch()
        run.wait(250)
        assert len(run.restarts) == 1
        assert run.restarts[0].startswith(f"rank 1 of 2 on {victim} was lost with its worker")
        contract.assert_equal(run, contract.bare(framework, STEPS))


@pytest.mark.slow
@pytest.mark.parametrize("framework", contract.FRAMEWORKS)
def test_a_rank_that_never_comes_to_the_meeting_is_named(cluster, framework):
    """As PyTorch's test_monitored_barrier_gloo (pytorch: torch/testing/_internal/distributed/distributed_test.py): the
    error names the rank that is missing, not one of those that wait for it.

    TensorFlow's ranks wait for each other while they make variables, within the model function: there it is only known
    which of them are late, and the first is named.
    """

    def never(features):
        if contract.rank_here() == 1:
            threading.Event().wait()
        return contract.builder(framework)()

    contract.start(cluster, framework, steps=1).wait(120)  # loads the framework, so that ranks start quickly
    run = contract.start(cluster, framework, model=never, start_timeout_s=6.0)
    missing = 1 if framework == "torch" else 0
    with pytest.raises(lnb.TrainingError, match=rf"rank {missing} of 2 on .* has started, but") as caught:
        run.wait(120)
    assert caught.value.rank == missing
    assert caught.value.worker == cluster.workers[missing]
    assert not contract.rank_processes()


@pytest.mark.slow
@pytest.mark.parametrize("framework", contract.FRAMEWORKS)
def test_a_rank_whose_worker_is_busy_is_named(cluster, framework):
    """As PyTorch's test_monitored_barrier_gloo; with what a Dask user can do about it."""
    from distributed import Event

    let_go = Event("contract-let-go", client=cluster.client)
    threads = cluster.client.nthreads()[cluster.workers[0]]
    held = [
        cluster.client.submit(
            lambda number: Event("contract-let-go").wait(120), number, workers=[cluster.workers[0]], pure=False
        )
        for number in range(threads)
    ]
    try:
        contract.wait_for(lambda: sum(map(len, cluster.client.processing().values())) >= threads)
        run = contract.start(cluster, framework, start_timeout_s=3.0)
        with pytest.raises(lnb.TrainingError, match=r"rank 0 of 2 on .* has not started: its worker is busy"):
            run.wait(60)
    finally:
        let_go.set()
        cluster.client.gather(held)
        let_go.clear()
    assert not contract.rank_processes()


@pytest.mark.slow
def test_runs_of_two_clusters_at_once_find_ports_though_many_are_taken(cluster):
    """As LightGBM's tests of port conflicts (LightGBM: tests/python_package_test/test_dask.py,
    test_network_params_not_required_but_respected_if_given and test_possibly_fix_worker_map): two clusters on one
    machine train at the same time, here one in each framework, while hundreds of ports are taken."""
    taken = []
    try:
        for _ in range(500):
            taken.append(socket.socket())
            taken[-1].bind(("127.0.0.1", 0))
        with lnb.Cluster(workers=2, memory="1GB") as other:
            runs = {
                "keras": contract.start(cluster, "keras", steps=STEPS),
                "torch": contract.start(other, "torch", steps=STEPS),
            }
            for framework, run in runs.items():
                contract.assert_equal(run.wait(200), contract.bare(framework, STEPS))
    finally:
        for held in taken:
            held.close()
