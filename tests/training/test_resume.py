"""A run that goes on from a checkpoint ends with the very numbers of one that was never interrupted."""

import os
import signal
import threading
import time

import numpy as np
import polars as pl
import pytest
import torch
from loops import loop_of, torch_engine, write_rows
from torch import nn

import lepton_nb as lnb
from lepton_nb.events import Progress, Status
from lepton_nb.training import checkpoint
from lepton_nb.training.spec import TrainingSpec

OPTIONS = {
    "epochs": 5, "batch_size": 30, "learning_rate": 0.05, "schedule": "cosine", "warmup_steps": 3, "clip_norm": 0.5,
    "accumulation": 2, "log_every_steps": 3, "seed": 4, "class_weights": "balanced", "patience": 4,
}  # fmt: skip


def noisy():
    return nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, 1))


def rows(seed=0):
    features = np.random.default_rng(seed).normal(size=(100, 3))
    return features, (features[:, 0] > 0.5).astype(float)


def run_loop(folder, *, resume=None, stop_at=None, model=None, **options):
    """A loop of one rank over 100 rows (four steps an epoch), and all that it sent."""
    write_rows(folder, train=rows(), validation=rows(1))
    sent = []

    class Notebook:
        """Wants a stop from one step on."""

        pauses = 0

        @property
        def stopping(self):
            return stop_at is not None and loop.step + 1 >= stop_at

        def send(self, kind, **facts):
            sent.append((kind, facts))

    state = None if resume is None else checkpoint.newest(resume)
    loop = loop_of(torch_engine, model or noisy(), TrainingSpec(**options), folder, Notebook(), state)
    loop.run()
    return loop, sent


def figures(loop, sent):
    """All that must be the same: weights, and every number of the history, the last word on each."""
    weights = torch.cat([value.detach().reshape(-1) for value in loop.engine.model.parameters()]).tolist()
    steps, epochs = {}, {}
    for kind, facts in sent:
        if kind == "steps":
            steps |= {row["step"]: row for row in facts["rows"]}
        elif kind == "epoch":
            epochs[facts["row"]["epoch"]] = facts["row"]
    timed = ("elapsed_s", "rows_per_s")
    return weights, [
        {name: value for name, value in row.items() if name not in timed}
        for table in (steps, epochs)
        for _, row in sorted(table.items())
    ]


@pytest.fixture(autouse=True)
def first_weights():
    """The tests build the model themselves, so its first weights are drawn here."""
    torch.manual_seed(0)


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "sgd"])
def test_from_every_checkpoint_on_the_numbers_are_the_same(optimizer, tmp_path):
    options = OPTIONS | {"optimizer": optimizer, "momentum": 0.9 if optimizer == "sgd" else 0.0}
    whole = figures(*run_loop(tmp_path / "rows", **options))
    torch.manual_seed(0)
    kept = tmp_path / "kept"
    checked = run_loop(
        tmp_path / "rows", checkpoint=str(kept), checkpoint_every_steps=1, keep_checkpoints=99, **options
    )
    assert figures(*checked) == whole
    files = checkpoint.steps(kept)
    assert len(files) == 20
    for file in files:
        assert figures(*run_loop(tmp_path / "again", resume=file, **options)) == whole, file.name


@pytest.mark.parametrize("stop_at", [1, 3, 4, 7, 20])
def test_a_stopped_run_goes_on(stop_at, tmp_path):
    """Also one that was stopped with the last step of an epoch, or of the whole run: that epoch is still validated."""
    whole = figures(*run_loop(tmp_path / "rows", **OPTIONS))
    torch.manual_seed(0)
    kept = str(tmp_path / "kept")
    stopped, _ = run_loop(tmp_path / "rows", stop_at=stop_at, checkpoint=kept, **OPTIONS)
    assert (stopped.stopped, stopped.step) == (True, stop_at)
    assert figures(*run_loop(tmp_path / "again", resume=kept, **OPTIONS)) == whole


def test_the_best_checkpoint_is_that_of_the_lowest_validation_loss(tmp_path):
    options = OPTIONS | {"learning_rate": 0.5, "epochs": 12, "schedule": "constant"}
    kept = tmp_path / "kept"
    loop, sent = run_loop(tmp_path / "rows", checkpoint=str(kept), **options)
    losses = [row["validation_loss"] for row in figures(loop, sent)[1] if "validation_loss" in row]
    best = 1 + int(np.argmin(losses))
    assert best < len(losses)
    resumed, sent = run_loop(tmp_path / "again", resume=kept / "best.ckpt", **options | {"epochs": best})
    assert resumed.step == 4 * best
    assert [facts["row"]["validation_loss"] for kind, facts in sent if kind == "epoch"] == losses[:best]


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"batch_size": 20}, "batch_size 30, and this run has batch_size 20"),
        ({"seed": 5}, "seed 4, and this run has seed 5"),
        ({"optimizer": "sgd"}, "optimizer adam, and this run has optimizer sgd"),
        ({"precision": "float64"}, "precision float32, and this run has precision float64"),
    ],
)
def test_a_checkpoint_of_another_run_is_refused(changed, named, tmp_path):
    kept = str(tmp_path / "kept")
    run_loop(tmp_path / "rows", checkpoint=kept, **OPTIONS | {"epochs": 1})
    with pytest.raises(lnb.TrainingError, match=f"the checkpoint was made with {named}"):
        run_loop(tmp_path / "again", resume=kept, **OPTIONS | changed)


def test_a_checkpoint_of_another_model_names_the_weights_that_differ(tmp_path):
    kept = str(tmp_path / "kept")
    run_loop(tmp_path / "rows", checkpoint=kept, **OPTIONS | {"epochs": 1})
    names = r"the checkpoint was made with the weights .* of the shape \(.*, and this run has the weights .*\(7, 3\)"
    with pytest.raises(lnb.TrainingError, match=names):
        run_loop(tmp_path / "again", model=nn.Linear(3, 7), resume=kept, **OPTIONS)


def test_settings_may_change_on_the_way_and_a_finished_run_can_go_on(tmp_path):
    kept = str(tmp_path / "kept")
    run_loop(tmp_path / "rows", checkpoint=kept, **OPTIONS | {"epochs": 1})
    loop, sent = run_loop(
        tmp_path / "again", resume=kept, **OPTIONS | {"epochs": 3, "learning_rate": 0.001, "weight_decay": 0.5}
    )
    assert loop.step == 12
    assert {group["weight_decay"] for group in loop.engine._optimizer.param_groups} == {0.5}
    assert [facts["row"]["epoch"] for kind, facts in sent if kind == "epoch"] == [1, 2, 3]


def table(rows=400):
    random = np.random.default_rng(1)
    features = random.normal(size=(rows, 3))
    return pl.DataFrame(features, schema=["a", "b", "c"]).with_columns(y=pl.Series(features[:, 0] > 0))


def test_paths_that_do_not_fit_are_refused_before_anything_starts(tmp_path):
    file = tmp_path / "file"
    file.write_text("")
    for options, named in [
        ({"checkpoint": file}, "is a file; give a folder"),
        ({"resume": tmp_path}, "holds no checkpoint to resume from"),
        ({"resume": file}, "is no checkpoint of lepton_nb"),
        ({"checkpoint": 3}, "checkpoint is 3; give the path of a folder"),
        ({"checkpoint_every_steps": 3}, "needs a folder to write into"),
    ]:
        with pytest.raises(lnb.TrainingError, match=named):
            lnb.train(noisy(), table(), target="y", **options)


def counting(log, breaks):
    """A builder of a model that notes each of its steps in a file, and may break in one: `breaks(rank, step, file)`."""

    def build(features):
        class Counting(nn.Module):
            def __init__(self):
                super().__init__()
                self.layers = nn.Sequential(nn.Linear(features, 8), nn.Dropout(0.5), nn.Linear(8, 1))

            def forward(self, rows):
                if self.training:
                    rank = torch.distributed.get_rank() if torch.distributed.is_initialized() else 0
                    file = log / str(rank)
                    with file.open("a") as stream:
                        stream.write("x")
                    breaks(rank, file.stat().st_size, log)
                return self.layers(rows)

        return Counting()

    return build


def killed(*at):
    def breaks(rank, step, log):
        if rank == 1 and step in at:
            os.kill(os.getpid(), signal.SIGKILL)

    return breaks


RESTARTED = {"target": "y", "epochs": 4, "batch_size": 64, "log_every_steps": 1, "precision": "float64", "seed": 2}


def test_a_run_whose_code_fails_at_the_same_step_again_fails_with_the_first_rank_to_fail(cluster, tmp_path):
    def breaks(rank, step, log):
        if rank == 1 and step >= 3:
            raise ZeroDivisionError("no luck today")

    run = lnb.train(counting(tmp_path, breaks), table(), cluster=cluster, **RESTARTED)
    folder = run.spec.checkpoint
    with pytest.raises(lnb.TrainingError, match=r"rank 1 of 2 on .* raised ZeroDivisionError: no luck today"):
        run.wait(120)
    assert len(run.restarts) == 1
    assert not os.path.exists(folder)


def test_a_run_that_is_killed_too_often_fails(cluster, tmp_path):
    run = lnb.train(counting(tmp_path, killed(2, 4, 6)), table(), cluster=cluster, max_restarts=1, **RESTARTED)
    with pytest.raises(lnb.TrainingError, match=r"rank 1 of 2 on .* was killed by signal 9") as caught:
        run.wait(120)
    assert len(run.restarts) == 1
    assert "The run was started again before, 1 in all" in caught.value.__notes__[0]


def test_what_would_fail_again_is_not_started_again(cluster):
    run = lnb.train(nn.Linear(5, 1), table(), cluster=cluster, max_restarts=3, **RESTARTED)
    with pytest.raises(lnb.TrainingError, match="the model takes rows with 5 features, and these have"):
        run.wait(120)
    assert run.restarts == ()


@pytest.mark.slow
def test_a_run_goes_on_with_the_workers_that_remain(tmp_path):
    with lnb.Cluster(workers=2, memory="1GB") as cluster:
        options = RESTARTED | {"epochs": 100_000, "workers": (1, 2)}
        run = lnb.train(lnb.models.mlp(), table(), cluster=cluster, max_restarts=1, **options)
        trains = threading.Event()
        run.watch(lambda event: trains.set() if isinstance(event, Progress) and event.done else None)
        assert trains.wait(60)
        begun = threading.Event()
        run.watch(
            lambda event: (
                begun.set()
                if isinstance(event, Progress) and event.values.get("phase") == "training" and run.restarts
                else None
            )
        )
        cluster.scale(1)
        assert begun.wait(60)
        assert "was lost with its worker" in run.restarts[0]
        before = run.step
        while run.step < before + 50:
            assert not run.status.over, run.error
            time.sleep(0.05)
        assert run.stop(30).status is Status.STOPPED
        assert len(cluster.workers) == 1


def test_workers_that_are_no_range_are_refused():
    for workers in [(2, 1), (0, 2), (1, 2, 3), ()]:
        with pytest.raises(lnb.TrainingError, match="workers is"):
            lnb.train(noisy(), table(), target="y", workers=workers)
