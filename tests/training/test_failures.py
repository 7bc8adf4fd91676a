"""What a run says when something breaks, and that it leaves no rank behind."""

import os
import signal
import subprocess
import sys
import textwrap
import threading
from types import SimpleNamespace

import dask
import numpy as np
import polars as pl
import psutil
import pytest
import torch
from torch import nn

import lepton_nb as lnb
from lepton_nb.events import Progress, Status

DATA = pl.DataFrame(np.random.default_rng(0).normal(size=(600, 3)), schema=["a", "b", "c"]).with_columns(
    y=pl.col("a") > 0
)


def train(*given, **options):
    """A run that fails at once."""
    return lnb.train(*given, **{"max_restarts": 0} | options)


def breaking(action):
    """A builder of a model that does `action(rank, step)` in each training step; it travels whole to the ranks."""

    def build(features):
        class Breaking(nn.Module):
            def __init__(self):
                super().__init__()
                self.layer = nn.Linear(features, 1)
                self.seen = 0

            def forward(self, rows):
                if self.training:
                    self.seen += 1
                    action(torch.distributed.get_rank(), self.seen)
                return self.layer(rows)

        return Breaking()

    return build


def start(cluster, model, **options):
    return train(model, DATA, target="y", batch_size=20, cluster=cluster, **options)


def wait_until_training(run):
    trains = threading.Event()
    run.watch(lambda event: trains.set() if isinstance(event, Progress) and event.done else None)
    assert trains.wait(60), run.error


def ranks():
    return [child for child in psutil.Process().children(recursive=True) if child.name().startswith("lnb-rank-")]


def test_a_rank_that_raises_is_named_with_its_traceback_and_output(cluster):
    def action(rank, step):
        if rank == 1 and step == 3:
            print("on the way to the fault")
            raise ZeroDivisionError("no luck today")

    run = start(cluster, breaking(action))
    with pytest.raises(lnb.TrainingError) as caught:
        run.wait(60)
    assert caught.value.rank == 1
    assert caught.value.worker == cluster.workers[1]
    assert "rank 1 of 2" in str(caught.value)
    assert "ZeroDivisionError: no luck today" in caught.value.traceback
    assert "on the way to the fault" in caught.value.output
    assert not ranks()


def test_a_rank_that_is_killed_is_named_with_the_signal(cluster):
    def action(rank, step):
        if rank == 0 and step == 3:
            os.kill(os.getpid(), signal.SIGKILL)

    with pytest.raises(lnb.TrainingError, match=r"rank 0 of 2 on .* was killed by signal 9") as caught:
        start(cluster, breaking(action)).wait(60)
    assert (caught.value.rank, caught.value.exit_code) == (0, -9)
    assert not ranks()


def test_a_rank_that_hangs_does_not_outlive_one_that_fails(cluster):
    def action(rank, step):
        if rank == 1:
            threading.Event().wait()
        raise ValueError("the other one hangs")

    with pytest.raises(lnb.TrainingError, match="the other one hangs"):
        start(cluster, breaking(action)).wait(60)
    assert not ranks()


def test_a_rank_that_never_comes_up_is_named(cluster):
    def build(features):
        threading.Event().wait()

    with pytest.raises(lnb.TrainingError, match=r"rank [01] of 2 on .* raise start_timeout_s"):
        start(cluster, build, start_timeout_s=6.0).wait(60)
    assert not ranks()


@pytest.mark.parametrize(
    ("model", "options", "message"),
    [
        (nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 1)), {}, "use LayerNorm or GroupNorm"),
        (lambda: 3, {}, "the model function returned a int; return a torch.nn.Module"),
    ],
)
def test_a_model_that_does_not_fit_says_why(cluster, model, options, message):
    with pytest.raises(lnb.TrainingError, match=message) as caught:
        start(cluster, model, **options).wait(60)
    assert "Traceback" not in str(caught.value)


@pytest.mark.slow
def test_a_killed_worker_ends_the_run_and_every_rank():
    with lnb.Cluster(workers=2, memory="1GB") as cluster:
        run = start(cluster, lnb.models.mlp(), epochs=100_000)
        wait_until_training(run)
        alive = ranks()
        assert len(alive) == 2
        victim = cluster.workers[1]
        os.kill(cluster.client.run(os.getpid, workers=[victim])[victim], signal.SIGKILL)
        with pytest.raises(lnb.TrainingError, match="rank 1 of 2 on .* was lost with its worker") as caught:
            run.wait(60)
        assert caught.value.worker == victim
        _, left = psutil.wait_procs(alive, timeout=10)
        assert not left


@pytest.mark.slow
def test_a_closed_cluster_ends_the_run_and_every_rank():
    with lnb.Cluster(workers=2, memory="1GB") as cluster:
        run = start(cluster, lnb.models.mlp(), epochs=100_000)
        wait_until_training(run)
        alive = ranks()
    with pytest.raises(lnb.TrainingError, match="the cluster was closed"):
        run.wait(60)
    _, left = psutil.wait_procs(alive, timeout=10)
    assert len(alive) == 2
    assert not left


@pytest.mark.slow
def test_a_client_that_goes_away_takes_its_ranks_along_and_leaves_the_turn_to_others():
    from distributed import Client

    quick = {
        "distributed.scheduler.locks.lease-timeout": "2s",
        "distributed.scheduler.locks.lease-validation-interval": "200ms",
    }
    with dask.config.set(quick), lnb.Cluster(workers=2, memory="1GB") as cluster:
        address, security = cluster.client.scheduler.address, cluster.client.security
        client = Client(address, security=security, set_as_default=False)
        guest = SimpleNamespace(client=client, workers=cluster.workers, backend="cpu")
        run = start(guest, lnb.models.mlp(), epochs=100_000)
        wait_until_training(run)
        alive = ranks()
        client.close()
        with pytest.raises(lnb.TrainingError, match="the cluster was closed"):
            run.wait(60)
        _, left = psutil.wait_procs(alive, timeout=10)
        assert len(alive) == 2
        assert not left
        assert start(cluster, lnb.models.mlp(), epochs=1).wait(60).step == 30


@pytest.mark.slow
def test_a_killed_kernel_leaves_no_rank(tmp_path):
    script = tmp_path / "kernel.py"
    script.write_text(
        textwrap.dedent("""
        import polars as pl
        import lepton_nb as lnb
        if __name__ == "__main__":
            data = pl.DataFrame({"a": [0.0, 1.0] * 500, "y": [0, 1] * 500})
            with lnb.Cluster(workers=2, memory="1GB") as cluster:
                run = lnb.train(lnb.models.mlp(), data, target="y", epochs=1_000_000, cluster=cluster)
                run.watch(lambda event: print("training", flush=True) if getattr(event, "done", 0) else None)
                run.wait()
        """)
    )
    kernel = subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, text=True)
    with kernel:
        assert kernel.stdout.readline() == "training\n"
        alive = ranks()
        assert len(alive) == 2
        kernel.kill()
    _, left = psutil.wait_procs(alive, timeout=10)
    assert not left


def test_a_broken_run_does_not_stand_in_the_way_of_the_next(cluster):
    assert start(cluster, lnb.models.mlp(), epochs=1).wait(60).step == 30


def on_workers(cluster, change, *arguments):
    """Call `change` with the modules of each worker that start and watch ranks, and the arguments."""

    def call(*given):
        from lepton_nb.training import launcher, supervisor

        change(supervisor, launcher, *given)

    cluster.client.run(call, *arguments)


def test_ranks_that_end_while_their_rows_are_written_are_the_cause(cluster):
    def use(supervisor, launcher, module):
        launcher.RANK_MODULES["torch"] = module

    wide = np.random.default_rng(0).normal(size=(1_500_000, 16)).astype(np.float32)
    data = pl.DataFrame(wide, schema=[f"x{i}" for i in range(16)]).with_columns(y=pl.col("x0") > 0)
    on_workers(cluster, use, "no_such_module")
    try:
        run = train(lnb.models.mlp(), data, target="y", cluster=cluster)
        with pytest.raises(lnb.TrainingError, match=r"rank \d of 2 .* ended with exit status 1") as caught:
            run.wait(60)
        assert "no_such_module" in caught.value.output
    finally:
        on_workers(cluster, use, "lepton_nb.training.torch_rank")


def test_a_full_disk_is_named_with_its_host_and_what_to_free(cluster):
    def fill(supervisor, launcher):
        make = supervisor.tempfile.mkdtemp

        def mkdtemp(**options):
            folder = make(**options)
            os.symlink("/dev/full", f"{folder}/train_features.npy")
            return folder

        supervisor.tempfile = SimpleNamespace(mkdtemp=mkdtemp)

    def empty(supervisor, launcher):
        import tempfile

        supervisor.tempfile = tempfile

    on_workers(cluster, fill)
    try:
        message = r"rank 0 of 2 on .* did not get its rows: .* on 127.0.0.1 .* No space left on device; free \d+ MiB"
        with pytest.raises(lnb.TrainingError, match=message):
            start(cluster, lnb.models.mlp()).wait(60)
    finally:
        on_workers(cluster, empty)
    assert not ranks()


def test_a_stop_that_a_worker_did_not_take_is_said_again(cluster):
    def lose_one(supervisor, launcher):
        whole = supervisor.tell

        def tell(topic, commands):
            supervisor.tell = whole
            raise OSError("for once")

        supervisor.tell = tell

    run = start(cluster, lnb.models.mlp(), epochs=100_000)
    wait_until_training(run)
    on_workers(cluster, lose_one)
    assert run.stop(30).status is Status.STOPPED


@pytest.mark.slow
def test_a_run_that_waits_takes_the_workers_of_its_turn_and_learns_that_the_cluster_was_closed():
    with lnb.Cluster(workers=2, memory="1GB") as cluster:
        first = start(cluster, lnb.models.mlp(), epochs=100_000)
        wait_until_training(first)
        waiting = start(cluster, lnb.models.mlp(), epochs=1)
        victim = cluster.workers[1]
        os.kill(cluster.client.run(os.getpid, workers=[victim])[victim], signal.SIGKILL)
        with pytest.raises(lnb.TrainingError, match="was lost with its worker"):
            first.wait(60)
        assert waiting.wait(60).step == 30
        first = start(cluster, lnb.models.mlp(), epochs=100_000)
        wait_until_training(first)
        waiting = start(cluster, lnb.models.mlp(), epochs=1)
    for run in (first, waiting):
        with pytest.raises(lnb.TrainingError, match="the cluster was closed"):
            run.wait(60)
