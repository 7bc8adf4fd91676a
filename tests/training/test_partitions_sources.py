"""Workers write predictions for every kind of frame, each a part that it reads by itself."""

import os

import dask.dataframe as dd
import numpy as np
import polars as pl
import pytest
from predicted import BLOCK, dense, glob_source, partitioned, table, trained_of, values

from lepton_nb.training.partition_scans import row_by_row, scans
from lepton_nb.training.partitions import predict_partitions

# Whole blocks of the matrix product, in which a row's sums do not depend on its neighbours.


@pytest.fixture(params=[("binary", 1, "float32"), ("multiclass", 4, "float32"), ("regression", 1, "float64")], ids=str)
def trained(request):
    task, width, dtype = request.param
    return trained_of(dense(width), task, dtype=dtype)


def dask_source(frame, folder):
    return partitioned(frame, [BLOCK * n for n in (3, 5, 1, 11)])


def file_source(frame, folder):
    frame.write_parquet(folder / "table.parquet", row_group_size=BLOCK)
    return folder / "table.parquet"


def lazy_source(frame, folder):
    return pl.scan_parquet(file_source(frame, folder)).with_columns(extra=pl.col("a") * 2)


def query_source(frame, folder):
    return pl.scan_parquet(file_source(frame, folder)).sort("id")


def memory_source(frame, folder):
    return frame


SOURCES = [dask_source, file_source, glob_source, lazy_source, query_source, memory_source]


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.__name__)
def test_workers_write_the_predictions_of_any_frame(source, trained, cluster, tmp_path):
    frame = table()
    (tmp_path / "source").mkdir()
    data = source(frame, tmp_path / "source")
    found = predict_partitions(trained, data, cluster, to=tmp_path / "out", keep=["id", "other"])
    assert isinstance(found, pl.LazyFrame)
    assert found.collect_schema().names()[:2] == ["id", "other"]
    result = found.collect()
    assert result["id"].to_list() == frame["id"].to_list()
    assert result["other"].to_list() == frame["other"].to_list()
    # Parts of files begin where they begin: their rows may have other neighbours than in the whole.
    np.testing.assert_allclose(values(result), trained.predict(frame), rtol=1e-6)
    if source in (dask_source, glob_source, query_source):
        np.testing.assert_array_equal(values(result), trained.predict(frame))
    assert os.listdir(tmp_path / "out")[0].startswith("part-")
    assert sorted(os.listdir(tmp_path)) == ["out", "source"]


def test_the_parts_of_a_filtered_scan_are_those_of_one_table(cluster, tmp_path):
    frame = table(50_000)
    frame.write_parquet(tmp_path / "t.parquet", row_group_size=1000)
    scan = pl.scan_parquet(tmp_path / "t.parquet").filter(pl.col("a") > 0, pl.col("id") % 3 == 1).rename({"id": "key"})
    parts, _ = scans(scan, 2, cluster.client)
    assert len(parts) == 2
    trained = trained_of(dense())
    found = predict_partitions(trained, scan, cluster, to=tmp_path / "out", keep=["key"]).collect()
    want = frame.filter(pl.col("a") > 0, pl.col("id") % 3 == 1)
    assert found["key"].to_list() == want["id"].to_list()
    np.testing.assert_allclose(found["prediction"], trained.predict(want), rtol=1e-6)


@pytest.mark.parametrize(
    ("change", "splits"),
    [
        (lambda scan: scan, True),
        (lambda scan: scan.select("a", pl.col("b").cast(pl.Float32).alias("z")), True),
        (lambda scan: scan.filter(pl.col("a") > 0).with_columns(q=pl.col("b").abs() + 1), True),
        (lambda scan: scan.filter(pl.col("other").is_in(["x", ".sample("])), False),
        (lambda scan: scan.sort("a"), False),
        (lambda scan: scan.unique("a"), False),
        (lambda scan: scan.group_by("a").agg(pl.len()), False),
        (lambda scan: scan.join(scan, on="id"), False),
        (lambda scan: pl.concat([scan, scan]), False),
        (lambda scan: scan.select(pl.all().shuffle()), False),
        (lambda scan: scan.with_columns(pl.col("a").sample(fraction=1.0, shuffle=True)), False),
        (lambda scan: scan.select(pl.col("a").unique()), False),
        (lambda scan: scan.map_batches(lambda frame: frame.sample(fraction=1.0)), False),
        (lambda scan: scan.collect().lazy(), False),
    ],
)
def test_only_what_is_computed_row_by_row_is_cut(change, splits, tmp_path):
    table(100).write_parquet(tmp_path / "t.parquet")
    assert row_by_row(change(pl.scan_parquet(tmp_path / "t.parquet"))) is splits


def test_a_table_without_rows_gives_none(cluster, tmp_path):
    trained = trained_of(dense(4), "multiclass")
    table(0).write_parquet(tmp_path / "t.parquet")
    data = {
        "file": tmp_path / "t.parquet",
        "scan": pl.scan_parquet(tmp_path / "t.parquet"),
        "dask": dd.from_pandas(table(0).to_pandas(), npartitions=1),
    }
    for name, one in data.items():
        found = predict_partitions(trained, one, cluster, to=tmp_path / name, keep=["id"]).collect()
        assert found.schema == {"id": pl.Int64, **{f"prediction_{n}": pl.Float64 for n in range(4)}}
        assert found.height == 0
