import math
import os
import threading
from types import SimpleNamespace
from unittest import mock

import numpy as np
import polars as pl
import pytest
import torch
import training_contract as contract
from torch import nn

import lepton_nb as lnb
from lepton_nb.events import Progress, Status

RANDOM = np.random.default_rng(7)
ROWS = 937  # with a batch of 96: ten steps, the last of 73 rows, which neither 2 nor 3 ranks can share evenly
BATCH = 96
NAMES = [f"x{i}" for i in range(6)]


def table(rows=ROWS, task="binary", seed=0):
    random = np.random.default_rng(seed)
    features = random.normal(size=(rows, len(NAMES)))
    signal = features[:, 0] - features[:, 1] * features[:, 2] + 0.3 * random.normal(size=rows)
    target = {"binary": signal > 0, "multiclass": np.digitize(signal, (-1, 1)), "regression": signal}[task]
    return pl.DataFrame(features, schema=NAMES).with_columns(y=pl.Series(target))


@pytest.fixture(scope="module")
def three_workers():
    with lnb.Cluster(workers=3, memory="1GB") as cluster:
        yield cluster


@pytest.fixture(scope="module")
def trained(cluster):
    """A finished binary run with validation, which several tests look at."""
    data = table(4000)
    model = lnb.models.mlp(hidden=(32,))
    run = lnb.train(
        model, data, target="y", epochs=6, batch_size=128, learning_rate=0.01, validation=table(501, seed=1),
        cluster=cluster, log_every_steps=10,
    )  # fmt: skip
    return run.wait(120)


@pytest.mark.slow
def test_the_other_options_do_not_depend_on_the_number_of_ranks_either(three_workers):
    options = {
        "batch_size": BATCH, "learning_rate": 0.05, "seed": 3, "optimizer": "sgd", "momentum": 0.9,
        "precision": "float64", "schedule": "cosine", "warmup_steps": 5, "accumulation": 2, "clip_norm": 0.3,
        "class_weights": "balanced", "log_every_steps": 1, "validation": table(100, seed=1),
    }  # fmt: skip
    runs = [
        lnb.train(_fresh(), table(), target="y", workers=workers, steps=37, cluster=three_workers, **options)
        for workers in (1, 3)
    ]
    alone, three = (run.wait(120).model.state_dict() for run in runs)
    for name, value in alone.items():
        np.testing.assert_allclose(three[name], value, rtol=0, atol=1e-12)
    for column in ("loss", "gradient_norm", "learning_rate"):
        np.testing.assert_allclose(runs[1].steps[column], runs[0].steps[column], rtol=0, atol=1e-12)
    assert runs[1].step == 37
    assert runs[1].history["epoch"].to_list() == [1, 2, 3]
    assert repr(runs[1]).split(": ")[1].startswith("finished, epoch 3, loss 0.")


def test_patience_without_validation_is_refused():
    with pytest.raises(lnb.TrainingError, match="patience looks at the validation loss; give rows for it"):
        lnb.train(lnb.models.mlp(), table(), target="y", patience=2)


def test_a_metric_of_another_task_is_refused_before_anything_starts():
    options = {"validation": table(), "metrics": "rmse"}
    with pytest.raises(lnb.TrainingError, match="the metric 'rmse' is not for task='binary'; choose among auc, "):
        lnb.train(lnb.models.mlp(), table(), target="y", **options)


def _fresh():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(len(NAMES), 16), nn.Tanh(), nn.Linear(16, 1)).double()


def test_a_run_learns_and_tells_its_history(trained):
    assert trained.status is Status.FINISHED
    assert trained.task == "binary"
    history = trained.history
    assert history["epoch"].to_list() == [1, 2, 3, 4, 5, 6]
    assert history["step"].to_list() == [32 * epoch for epoch in range(1, 7)]
    assert history["loss"].is_sorted(descending=True)
    assert "validation_mae" not in history.columns
    assert history["elapsed_s"].is_sorted()
    assert trained.steps["step"].to_list() == [*range(10, 193, 10), 192]
    assert trained.step == 192


def test_each_rank_tells_how_many_rows_it_trained_on(trained):
    usage = trained.usage
    assert usage["rank"].to_list() == [0, 1]
    assert usage["rows"].sum() == 6 * 4000
    assert (usage["rows_per_s"] > 0).all()
    assert len(lnb.figures.training.throughput(usage).data[0].x) == 2


def test_validation_is_measured_over_all_rows_of_all_ranks(trained):
    figures = trained.evaluate(table(501, seed=1))
    assert figures["rows"] == 501
    assert figures["loss"] == pytest.approx(trained.history["validation_loss"][-1], rel=1e-5)
    assert figures["accuracy"] == pytest.approx(trained.history["validation_accuracy"][-1])
    assert figures["auc"] > 0.9


def test_predictions_are_the_probabilities_of_the_trained_module(trained):
    fresh = table(100, seed=2)
    features = torch.from_numpy(fresh.select(NAMES).to_numpy()).float()
    with torch.no_grad():
        expected = torch.sigmoid(trained.model(features).squeeze(1)).numpy()
    np.testing.assert_allclose(trained.predict(fresh), expected, rtol=1e-5)
    # The target is not needed, and neither the order of the columns nor others beside them matter.
    shuffled = fresh.select(pl.lit("a").alias("note"), *reversed(NAMES))
    np.testing.assert_array_equal(trained.predict(shuffled), trained.predict(fresh))
    assert not trained.model.training


def test_events_count_steps_and_none_is_lost(trained):
    progress = [event for event in trained.events if isinstance(event, Progress)]
    assert {event.total for event in progress} == {192}
    assert [event.done for event in progress] == sorted(event.done for event in progress)
    assert progress[-1].done == 192
    assert progress[-1].values["loss"] == trained.steps["loss"][-1]


def test_more_workers_than_there_are_is_refused_with_both_numbers(cluster):
    with pytest.raises(lnb.TrainingError, match="workers=5, but the cluster has 2") as caught:
        lnb.train(lnb.models.mlp(), table(), target="y", workers=5, cluster=cluster)
    assert (caught.value.want, caught.value.got) == (5, 2)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"target": None}, "give target="),
        ({"epoch": 3}, "unknown option 'epoch'; did you mean 'epochs'"),
        ({"workers": 0}, "workers is 0"),
        ({"cluster": "local"}, r"cluster is a str; give an lnb.Cluster"),
        ({"validation": table(0)}, "the validation data has no rows"),
        ({"validation": table(5).drop("x1")}, "the validation data lacks the column 'x1', which the model"),
    ],
)
def test_bad_input_is_refused_before_anything_starts(options, message):
    with pytest.raises(lnb.TrainingError, match=message):
        lnb.train(lnb.models.mlp(), table(50), **{"target": "y", **options})


def test_a_way_to_add_up_that_the_framework_has_not_is_refused():
    with pytest.raises(lnb.TrainingError, match="parallel='fsdp' is a way of PyTorch's"):
        lnb.train(lnb.models.mlp(framework="keras"), table(50), target="y", parallel="fsdp")


def test_a_dask_client_is_refused_with_what_to_give(cluster):
    with pytest.raises(lnb.TrainingError, match="cluster is a Client; give an lnb.Cluster"):
        lnb.train(lnb.models.mlp(), table(50), target="y", cluster=cluster.client)


def test_a_model_that_cannot_travel_is_refused_before_anything_starts():
    model = nn.Linear(len(NAMES), 1)
    model.lock = threading.Lock()
    with pytest.raises(lnb.TrainingError, match="the model cannot be sent to the workers: .*lock.* a function that"):
        lnb.train(model, table(50), target="y")


def test_validation_rows_with_values_that_the_task_cannot_have_are_refused(cluster):
    strange = table(50).with_columns(y=pl.lit(2))
    with pytest.raises(lnb.TrainingError, match="the validation data's target holds 2; it must hold 0 and 1"):
        lnb.train(lnb.models.mlp(), table(50), target="y", validation=strange, cluster=cluster).wait(60)


def test_each_rank_draws_noise_of_its_own_and_the_seed_fixes_it(cluster, tmp_path):
    def build(features):
        class Noisy(nn.Linear):
            def forward(self, rows):
                if self.training:
                    name = f"{torch.initial_seed() // 100_003}-{torch.distributed.get_rank()}"
                    with (tmp_path / name).open("a") as file:
                        file.write(f"{torch.rand(1).item()}\n")
                return super().forward(rows)

        return Noisy(features, 1)

    def draw(seed):
        lnb.train(
            build, table(50), target="y", seed=seed, epochs=1, batch_size=25, cluster=cluster
        ).wait(60)  # fmt: skip
        found = [path.read_text().split() for path in sorted(tmp_path.glob(f"{seed}-*"))]
        for path in tmp_path.iterdir():
            path.unlink()
        return found

    first = draw(5)
    assert [len(noise) for noise in first] == [2, 2]
    assert len({*first[0], *first[1]}) == 4
    assert draw(5) == first


def test_workers_on_two_hosts_meet_at_their_own_addresses_and_each_host_gets_the_rows():
    from distributed import Client, Nanny, Scheduler, SpecCluster

    # The whole of 127.0.0.0/8 is loopback, so that one machine can stand for two.
    hosts = {
        name: {"cls": Nanny, "options": {"host": host, "nthreads": 1}}
        for name, host in enumerate(("127.0.0.1", "127.0.0.2"))
    }
    scheduler = {"cls": Scheduler, "options": {"host": "127.0.0.1", "dashboard": False}}
    with (
        mock.patch.dict(os.environ),  # a nanny leaves variables of its worker behind
        SpecCluster(workers=hosts, scheduler=scheduler, silence_logs=50) as inner,
        Client(inner, set_as_default=False) as client,
    ):
        client.wait_for_workers(2)
        pair = SimpleNamespace(client=client, workers=tuple(sorted(client.scheduler_info()["workers"])), backend="cpu")
        assert [address.split(":")[1] for address in pair.workers] == ["//127.0.0.1", "//127.0.0.2"]
        data = table(400)
        run = lnb.train(lnb.models.mlp((8,)), data, target="y", epochs=2, cluster=pair, precision="float64").wait(120)
        alone = lnb.train(
            lnb.models.mlp((8,)), data, target="y", epochs=2, cluster=pair, workers=1, precision="float64"
        ).wait(120)
        np.testing.assert_allclose(run.history["loss"], alone.history["loss"], rtol=1e-12)


def test_classes_are_learnt_by_a_function_that_builds_the_model_and_more_ranks_than_rows_in_a_step(cluster):
    def build(features):
        return nn.Sequential(nn.Linear(features, 16), nn.ReLU(), nn.Linear(16, 3))

    data = table(601, "multiclass")  # the last step of an epoch has a single row, so one rank has none
    run = lnb.train(build, data, target="y", epochs=8, batch_size=50, learning_rate=0.02, cluster=cluster).wait(120)
    assert run.task == "multiclass"
    chances = run.predict(data)
    assert chances.shape == (601, 3)
    np.testing.assert_allclose(chances.sum(axis=1), 1)
    assert run.evaluate(data)["accuracy"] > 0.6


def test_numbers_are_learnt_on_a_cluster_of_the_runs_own():
    data = table(500, "regression")
    model = lnb.models.mlp(hidden=(32,), task="regression")
    run = lnb.train(
        model, data, target="y", workers=1, epochs=20, batch_size=50, learning_rate=0.02, optimizer="adamw",
        validation=data,
    )  # fmt: skip
    run.wait(120)
    figures = run.evaluate(data)
    assert figures["r2"] > 0.5
    assert run.history["validation_mae"][-1] == pytest.approx(figures["mae"], rel=1e-4)
    assert "validation_accuracy" not in run.history.columns


def test_a_stopped_run_keeps_its_model_and_history_and_a_waiting_one_takes_over(cluster):
    data = table(4000)
    long = lnb.train(lnb.models.mlp(), data, target="y", epochs=100_000, batch_size=128, cluster=cluster)
    trains = threading.Event()
    long.watch(lambda event: trains.set() if isinstance(event, Progress) and event.done else None)
    assert trains.wait(60)
    waiting = lnb.train(lnb.models.mlp(), data, target="y", epochs=1, cluster=cluster)
    never = lnb.train(lnb.models.mlp(), data, target="y", epochs=1, cluster=cluster)
    never.stop()
    assert never.status is Status.STOPPED
    with pytest.raises(lnb.TrainingError, match="stopped before its first step"):
        never.predict(data)
    assert waiting.step == 0
    waits = threading.Event()
    waiting.watch(
        lambda event: waits.set() if isinstance(event, Progress) and event.values.get("phase") == "waiting" else None
    )
    assert waits.wait(60)
    assert "waits until another training on this cluster is over" in repr(waiting)
    long.stop()
    assert long.status is Status.STOPPED
    assert long.wait() is long
    assert 0 < long.step < 100_000 * 32
    assert long.history.height == long.step // 32
    assert long.evaluate(data)["auc"] > 0.5
    assert waiting.wait(120).status is Status.FINISHED
    assert "waits" not in repr(waiting)


def test_a_run_that_ends_for_want_of_patience_says_so_and_whose_weights_it_has(cluster):
    data = table(400)
    # What is learnt is wrong for these.
    other = data.with_columns(y=~pl.col("y").cast(pl.Boolean))
    run = lnb.train(
        lnb.models.mlp((4,)), data, target="y", validation=other, epochs=50, patience=2, learning_rate=0.01,
        metrics=["auc", "f1"], cluster=cluster,
    ).wait(120)  # fmt: skip
    best = run.history.sort("validation_loss")["epoch"][0]
    assert run.history.height == best + 2 < 50
    assert run.notes[-1] == (
        f"ended after epoch {best + 2}, as validation_loss has not fallen for 2 epochs; the weights are those of epoch "
        f"{best}"
    )
    found = run.evaluate(other)
    assert list(found) == ["rows", "loss", "accuracy", "auc", "f1"]
    for name in ("auc", "f1"):
        np.testing.assert_allclose(found[name], run.history[f"validation_{name}"][best - 1], atol=1e-6)


def test_prepared_rows_are_trained_on_and_frames_are_prepared_alike(cluster):
    frame = pl.DataFrame({"a": RANDOM.normal(50, 9, 400), "b": RANDOM.choice(["x", "y", "z"], 400)})
    frame = frame.with_columns(late=(pl.col("a") > 50) ^ (pl.col("b") == "x"))
    parts = lnb.prepare(frame, target="late")
    run = lnb.train(
        lnb.models.mlp((16,)), parts.train, validation=parts.validation, cluster=cluster, epochs=2, learning_rate=0.01
    ).wait(120)
    whole = run.predict(frame)
    assert whole.shape == (400,)
    np.testing.assert_allclose(run.predict(parts.test), run.predict(parts.test.rows))
    without = frame.with_columns(late=pl.when(pl.int_range(400) < 5).then(None).otherwise(pl.col("late")))
    np.testing.assert_array_equal(run.predict(without), whole)
    assert math.isfinite(run.evaluate(parts.test)["loss"])


def test_a_finished_run_leaves_nothing_on_the_cluster(cluster, trained):
    def rank_folders():
        import tempfile
        from pathlib import Path

        return len(list(Path(tempfile.gettempdir()).glob("lepton-nb-rank-*")))

    assert cluster.client.run(rank_folders) == dict.fromkeys(cluster.workers, 0)
    assert not contract.held(cluster.client)
