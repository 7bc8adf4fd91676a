"""Partitions are predicted where they are, by one copy of the model a worker, to the numbers of `Trained.predict`."""

import os
import signal
import threading
import time

import cloudpickle
import dask
import dask.dataframe as dd
import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
import training_contract as contract
from predicted import BLOCK, NAMES, dense, glob_source, partitioned, table, trained_of, values
from torch import nn

import lepton_nb as lnb
from lepton_nb.training import partition_tasks
from lepton_nb.training.partitions import predict_partitions


@pytest.fixture(params=[("binary", 1, "float32"), ("multiclass", 4, "float32"), ("regression", 1, "float64")], ids=str)
def trained(request):
    task, width, dtype = request.param
    return trained_of(dense(width), task, dtype=dtype)


def test_a_dask_frame_gives_a_lazy_dask_frame_of_the_same_numbers(trained, cluster):
    frame = table()
    data = partitioned(frame, [BLOCK * n for n in (3, 5, 1, 11)])
    found = predict_partitions(trained, data)
    assert isinstance(found, dd.DataFrame)
    assert found.npartitions == 4
    computed = cluster.client.compute(found, sync=True)
    assert computed.index.to_list() == list(range(frame.height))
    np.testing.assert_array_equal(values(computed), trained.predict(frame))
    assert list(found.columns) == list(computed.columns)
    assert found.dtypes.to_list() == computed.dtypes.to_list()


def test_partitions_of_any_height_equal_predict_on_their_rows(cluster):
    heights = [1, 0, 7, 1000, 33, 0]
    frame = table(sum(heights))
    trained = trained_of(dense())
    data = partitioned(frame, heights)
    found = cluster.client.compute(predict_partitions(trained, data, keep=["id"]), sync=True)
    stops = np.cumsum(heights)
    want = [trained.predict(frame[stop - n : stop]) for n, stop in zip(heights, stops, strict=True) if n]
    np.testing.assert_array_equal(values(found), np.concatenate(want))
    assert found["id"].to_list() == frame["id"].to_list()


def test_the_result_goes_with_its_data(cluster):
    """It has the partitions of the data, so that it can be put beside them, and it computes without a cluster too."""
    frame = table(5 * BLOCK)
    data = partitioned(frame, [BLOCK * 2, BLOCK * 3])
    trained = trained_of(dense())
    joined = data.assign(late=predict_partitions(trained, data)["prediction"])
    for computed in (cluster.client.compute(joined, sync=True), joined.compute(scheduler="threads")):
        np.testing.assert_array_equal(computed["late"], trained.predict(frame))
        assert computed["id"].to_list() == frame["id"].to_list()


@pytest.fixture
def prepared():
    random = np.random.default_rng(0)
    frame = pl.DataFrame({"a": random.normal(3, 2, 640), "kind": random.choice(["up", "down"], 640)})
    frame = frame.with_columns(y=pl.col("a") + random.normal(size=640) > 3)
    return frame.with_columns(a=pl.when(pl.int_range(640) % 9 != 0).then("a"))


@pytest.mark.parametrize("way", ["dask", "file"])
def test_the_preparation_is_applied_to_each_partition(prepared, way, cluster, tmp_path):
    transform = lnb.prepare(prepared, target="y").transform
    trained = trained_of(
        dense(features=len(transform.feature_names)), names=transform.feature_names, transform=transform
    )
    if way == "dask":
        data = predict_partitions(trained, partitioned(prepared, [BLOCK * 4, BLOCK * 6]))
        found = values(cluster.client.compute(data, sync=True))
    else:
        prepared.write_parquet(tmp_path / "t.parquet", row_group_size=BLOCK)
        found = values(predict_partitions(trained, tmp_path / "t.parquet", cluster, to=tmp_path / "out").collect())
    # A target, even one with holes, leaves no row out.
    np.testing.assert_array_equal(found, trained.predict(prepared))


def test_a_partition_without_any_value_of_a_column_is_predicted_by_its_median(prepared, cluster, tmp_path):
    transform = lnb.prepare(prepared, target="y").transform
    trained = trained_of(
        dense(features=len(transform.feature_names)), names=transform.feature_names, transform=transform
    )
    whole = prepared.to_pandas()
    given = [None if at < BLOCK else value for at, value in enumerate(prepared["a"].to_list())]
    whole["a"] = pd.Series(given, dtype=object)
    parts = [whole.iloc[:BLOCK], whole.iloc[BLOCK:]]
    with dask.config.set({"dataframe.convert-string": False}):
        data = dd.from_map(lambda part: part, parts, meta=whole.iloc[:0])
        found = cluster.client.compute(predict_partitions(trained, data), sync=True)
        written = predict_partitions(trained, data, cluster, to=tmp_path / "out", keep=["kind"]).collect()
    hollow = prepared.with_columns(a=pl.when(pl.int_range(640) >= BLOCK).then("a"))
    np.testing.assert_array_equal(values(found), trained.predict(hollow))
    np.testing.assert_array_equal(values(written), trained.predict(hollow))
    assert written["kind"].to_list() == prepared["kind"].to_list()


class Counting:
    """A model function that notes in a file each time it builds."""

    def __init__(self, log):
        self.log = log

    def __call__(self, features):
        with open(self.log, "a") as log:
            log.write(f"{os.getpid()}\n")
        return dense(features=features)


def test_the_model_is_built_once_on_each_worker_and_uses_one_thread(cluster, tmp_path):
    log = tmp_path / "built"
    described = Counting(str(log))
    trained = trained_of(dense(), described=described)
    data = partitioned(table(), [BLOCK] * 20)
    cluster.client.compute(predict_partitions(trained, data), sync=True)
    predict_partitions(trained, data, cluster, to=tmp_path / "out")
    builders = log.read_text().split()
    assert len(builders) == len(set(builders)) <= 2
    assert str(os.getpid()) not in builders
    digest = partition_tasks.pack(trained).digest
    held = cluster.client.run(partition_tasks.models_held)
    assert any(digest in models for models in held.values())
    assert all(len(models) <= partition_tasks.MOST_MODELS for models in held.values())
    assert set(cluster.client.run(torch.get_num_threads).values()) == {1}


def test_the_model_is_in_the_graph_once():
    trained = trained_of(nn.Sequential(nn.Linear(3, 50_000), nn.Linear(50_000, 4)), "multiclass")
    found = predict_partitions(trained, partitioned(table(), [BLOCK] * 20))
    size = len(partition_tasks.pack(trained).content)
    assert size > 1_600_000
    assert len(cloudpickle.dumps(found.optimize().__dask_graph__())) < 1.6 * size


@pytest.mark.parametrize("to", [False, True])
def test_a_partition_with_bad_values_is_named_and_nothing_is_left(to, cluster, tmp_path):
    frame = table(300).with_columns(a=pl.when(pl.col("id") == 250).then(float("nan")).otherwise("a"))
    data = partitioned(frame, [100, 100, 100])
    trained = trained_of(dense())
    message = r"^partition 2 \(of 3, counted from 0\): the data has 1 nulls in a; drop those rows"
    lazily = predict_partitions(trained, data)
    with pytest.raises(lnb.TrainingError, match=message) as caught:
        predict_partitions(trained, data, cluster, to=tmp_path / "out") if to else lazily.compute(scheduler="threads")
    assert (caught.value.partition, caught.value.columns) == (2, ("a",))
    assert os.listdir(tmp_path) == []


def test_rows_of_a_large_partition_are_named_too(monkeypatch, tmp_path):
    monkeypatch.setattr(partition_tasks, "CHUNK_ROWS", 128)
    trained = trained_of(dense())
    frame = table(1000).with_columns(a=pl.when(pl.col("id") == 700).then(None).otherwise("a"))
    frame.write_parquet(tmp_path / "t.parquet", row_group_size=100)
    columns = partition_tasks.Columns(pl.Schema({"id": pl.Int64}), ("prediction",))
    parcel = partition_tasks.pack(trained)
    with pytest.raises(
        lnb.TrainingError, match=r"partition 5 .*: among its rows \d+ to \d+, the data has 1 nulls in a"
    ):
        partition_tasks.write(pl.scan_parquet(tmp_path / "t.parquet"), parcel, columns, tmp_path, 5, 9)
    scan = pl.scan_parquet(tmp_path / "t.parquet").with_columns(pl.col("a").fill_null(0.0))
    assert partition_tasks.write(scan, parcel, columns, tmp_path, 5, 9) == 1000
    found = pl.read_parquet(tmp_path / "part-000005.parquet")
    assert found["id"].to_list() == list(range(1000))
    np.testing.assert_allclose(found["prediction"], trained.predict(scan.collect()), rtol=1e-6)


def test_what_cannot_be_is_told_before_anything_runs(cluster, tmp_path):
    trained, frame = trained_of(dense()), table(10)
    data = partitioned(frame, [10])
    out = tmp_path / "out"
    for arguments, options, error, message in [
        ((trained, frame, cluster), {}, lnb.TrainingError, "give to='folder'"),
        ((trained, data), {"to": out}, lnb.TrainingError, "give their cluster"),
        ((trained, frame, 3), {"to": out}, lnb.ClusterError, "must be an lnb.Cluster"),
        ((trained, data), {"keep": "id"}, lnb.TrainingError, r"is one name; give a list, such as \['id'\]"),
        ((trained, data), {"keep": ["ib"]}, lnb.DataError, "unknown column 'ib'; did you mean"),
        ((trained, frame.drop("a"), cluster), {"to": out}, lnb.TrainingError, "the data lacks the column 'a'"),
        ((trained, data[["b", "c"]]), {}, lnb.TrainingError, "the data lacks the column 'a'"),
        ((trained, frame, cluster), {"to": "s3://bucket/x"}, lnb.TrainingError, "is a URL; give a folder"),
        ((trained, frame, cluster), {"to": out, "keep": ["prediction"]}, lnb.TrainingError, "the name of a prediction"),
        ((dense(), data), {}, lnb.TrainingError, "a Sequential cannot predict"),
        ((trained, str(tmp_path / "no.parquet"), cluster), {"to": out}, lnb.DataError, "there is no file"),
    ]:
        with pytest.raises(error, match=message):
            predict_partitions(*arguments, **options)
    assert os.listdir(tmp_path) == []


def test_a_model_that_cannot_be_sent_is_told():
    trained = trained_of(dense())
    trained.described = lambda: threading.Lock()
    trained.described.lock = threading.Lock()
    with pytest.raises(
        lnb.TrainingError, match="cannot be sent to the workers: .*give a function that builds it there"
    ):
        predict_partitions(trained, partitioned(table(10), [10]))


def test_only_predictions_are_replaced_and_only_when_asked(cluster, tmp_path):
    trained, frame = trained_of(dense()), table(100)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    with pytest.raises(lnb.TrainingError, match="exists; choose another folder, this holds other things"):
        predict_partitions(trained, frame, cluster, to=tmp_path / "mine", overwrite=True)
    predict_partitions(trained, frame, cluster, to=tmp_path / "out")
    with pytest.raises(lnb.TrainingError, match="exists; choose another folder, or say overwrite=True"):
        predict_partitions(trained, frame, cluster, to=tmp_path / "out")
    bad = frame.with_columns(a=pl.lit(float("nan")))
    with pytest.raises(lnb.TrainingError, match="NaN or infinite"):
        predict_partitions(trained, bad, cluster, to=tmp_path / "out", overwrite=True)
    contract.wait_for(lambda: not contract.held(cluster.client))
    assert pl.read_parquet(tmp_path / "out").height == 100
    found = predict_partitions(trained, table(50), cluster, to=tmp_path / "out", overwrite=True)
    assert found.collect().height == 50
    assert sorted(os.listdir(tmp_path)) == ["mine", "out"]


class Waiting(nn.Module):
    """Waits in its first prediction on a worker until a file is there."""

    def __init__(self, gate):
        super().__init__()
        self.gate = gate
        self.end = nn.Linear(3, 1)

    def forward(self, rows):
        if not os.path.exists(self.gate):
            with open(f"{self.gate}.{os.getpid()}", "w"):
                while not os.path.exists(self.gate):
                    time.sleep(0.01)
        return self.end(rows)


@pytest.mark.slow
def test_a_killed_worker_takes_no_prediction_with_it(tmp_path):
    gate = tmp_path / "gate"
    trained = trained_of(Waiting(str(gate)))
    frame = table()
    (tmp_path / "source").mkdir()
    source = glob_source(frame, tmp_path / "source")
    with lnb.Cluster(workers=2) as cluster:

        def kill():
            while not (waiting := list(tmp_path.glob("gate.*"))):
                time.sleep(0.01)
            os.kill(int(waiting[0].suffix[1:]), signal.SIGKILL)
            gate.touch()

        killer = threading.Thread(target=kill)
        killer.start()
        found = predict_partitions(trained, source, cluster, to=tmp_path / "out", keep=["id"]).collect()
        killer.join()
        # A worker that is just being started again cannot be closed at once.
        while len(cluster.workers) < 2:
            time.sleep(0.05)
    assert found["id"].to_list() == frame["id"].to_list()
    np.testing.assert_array_equal(found["prediction"], trained.predict(frame))
    assert all(name.startswith("part-") for name in os.listdir(tmp_path / "out"))


def test_ids_of_pandas_survive(cluster):
    frame = pd.DataFrame(np.random.default_rng(0).normal(size=(BLOCK, 3)), columns=list(NAMES))
    frame.index = pd.Index([f"row {n}" for n in range(BLOCK)], name="key")
    data = dd.from_pandas(frame, npartitions=2, sort=False)
    found = cluster.client.compute(predict_partitions(trained_of(dense()), data), sync=True)
    assert found.index.to_list() == frame.index.to_list()
    assert found.index.name == "key"
