import dataclasses

import dask.array as da
import dask.dataframe as dd
import numpy as np
import pandas as pd
import pytest
import training_contract as contract
from dask.delayed import delayed

import lepton_nb as lnb
from lepton_nb.training.batches import open_source
from lepton_nb.training.dask_delivery import deliver
from lepton_nb.training.dask_rows import collected
from lepton_nb.training.feeds import feed, later_feed

FRAME = pd.DataFrame({"a": np.arange(100) / 4, "b": np.arange(100) % 3, "y": np.arange(100) % 2})


def delivered(found, folder, cluster, part="train"):
    """What the client does for a run: every host of the test's cluster is this one."""
    folder.mkdir(exist_ok=True)
    for name, array in found.arrays.items():
        np.save(folder / f"{name}.npy", array)
    assert found.deliver(cluster.client, [(cluster.workers[0], str(folder))], lambda: True)
    return open_source(folder, part)


def uneven():
    """Partitions of 40, 0, 1 and 59 rows."""
    pieces = [FRAME[start:stop] for start, stop in ((0, 40), (40, 40), (40, 41), (41, 100))]
    return dd.from_delayed([delayed(piece) for piece in pieces], meta=FRAME[:0])


def test_a_dask_table_reaches_the_files_of_the_ranks(cluster, tmp_path):
    found = feed(uneven(), "y", "float32", client=cluster.client)
    assert (len(found), found.shape, found.reader.names) == (100, (2,), ("a", "b"))
    assert found.note == "100 rows in 3 Dask partitions, sent to the ranks' hosts one by one"
    features, target = delivered(found, tmp_path, cluster).head(100)
    np.testing.assert_array_equal(features, FRAME[["a", "b"]])
    np.testing.assert_array_equal(target, FRAME["y"])
    later = later_feed(found.reader, uneven()[["y", "b", "a"]], client=cluster.client)
    features, _ = delivered(later, tmp_path, cluster, "validation").head(100)
    np.testing.assert_array_equal(features, FRAME[["a", "b"]])


def test_several_hosts_get_the_same_rows(cluster, tmp_path):
    folders = [tmp_path / "one", tmp_path / "two"]
    for folder in folders:
        folder.mkdir()
    found = feed(uneven(), "y", "float64")
    hosts = list(zip(cluster.workers, map(str, folders), strict=True))
    assert found.deliver(cluster.client, hosts, lambda: True)
    for folder in folders:
        np.testing.assert_array_equal(open_source(folder, "train").head(100)[0], FRAME[["a", "b"]])


def test_a_named_index_is_a_column(cluster, tmp_path):
    found = feed(dd.from_pandas(FRAME.set_index("b"), npartitions=3), "y", "float32", client=cluster.client)
    assert found.reader.names == ("b", "a")
    features, _ = delivered(found, tmp_path, cluster).head(100)
    assert sorted(map(tuple, features)) == sorted(map(tuple, FRAME[["b", "a"]].to_numpy()))


@pytest.mark.parametrize("chunks", [(30, 20, 50), (100,), (1, 99)])
def test_dask_arrays_in_any_chunks_reach_the_files_of_the_ranks(cluster, tmp_path, chunks):
    images = np.random.default_rng(0).integers(0, 256, (100, 4, 6, 3)).astype(np.uint8)
    labels = np.arange(100) % 5
    data = (da.from_array(images, chunks=(33, 2, 6, 1)), da.from_array(labels, chunks=(chunks,)))
    found = feed(data, None, "float32", client=cluster.client)
    assert found.shape == (4, 6, 3)
    features, target = delivered(found, tmp_path, cluster).head(100)
    np.testing.assert_array_equal(features, images.astype(np.float32) / np.float32(255))
    np.testing.assert_array_equal(target, labels)
    assert np.load(tmp_path / "train_features.npy", mmap_mode="r").dtype == np.uint8


def test_dask_arrays_of_unknown_sizes_are_counted(cluster, tmp_path):
    frame = uneven()
    found = feed((frame[["a", "b"]], frame["y"]), None, "float32", client=cluster.client)
    features, target = delivered(found, tmp_path, cluster).head(100)
    np.testing.assert_array_equal(features, FRAME[["a", "b"]])
    np.testing.assert_array_equal(target, FRAME["y"])
    steps = da.from_array(np.arange(300).reshape(100, 3), chunks=(40, 1))
    found = feed((da.ones((100, 2), chunks=(7, 1)), steps), None, "float32", client=cluster.client)
    np.testing.assert_array_equal(delivered(found, tmp_path, cluster).head(100)[1], steps.compute())


def test_a_prepared_model_takes_a_dask_table_to_validate(cluster, tmp_path):
    parts = lnb.prepare(FRAME, target="y")
    reader = feed(parts.train, None, "float32").reader
    holes = FRAME.assign(y=FRAME["y"].where(FRAME.index != 50))
    later = later_feed(reader, dd.from_pandas(holes, npartitions=4), client=cluster.client)
    assert len(later) == 99
    features, _ = delivered(later, tmp_path, cluster, "validation").head(100)
    np.testing.assert_array_equal(features, parts.transform(holes).features)


@pytest.mark.parametrize(
    ("data", "target", "message"),
    [
        (dd.from_pandas(FRAME, npartitions=2), None, "give target="),
        (dd.from_pandas(FRAME, npartitions=2), "z", "unknown target column 'z'"),
        (dd.from_pandas(FRAME[["y"]], npartitions=2), "y", "no feature columns"),
        (dd.from_pandas(FRAME.assign(a=pd.Timestamp(0)), npartitions=2), "y", r"not numeric in a \(Datetime"),
        (dd.from_pandas(FRAME[:0], npartitions=1), "y", "has no rows"),
        (da.ones((6, 2)), None, r"features alone; give \(features, target\)"),
        ((da.ones((6, 2)), np.ones(5)), None, "has 5 rows, the features have 6"),
        ((da.ones(6), np.ones(6)), None, r"have the shape \(6,\)"),
        ((da.ones((6, 2)), np.array(["a"] * 6)), None, "not numbers"),
        ((da.ones((6, 2)), np.ones(6)), "y", "leave target out"),
    ],
)
def test_collections_that_cannot_be_learnt_from_are_refused_with_the_fix(cluster, data, target, message):
    with pytest.raises(lnb.TrainingError, match=message):
        feed(data, target, "float32", client=cluster.client)
    with pytest.raises(lnb.TrainingError, match="stream=True reads Parquet"):
        feed(data, target, "float32", stream=True, client=cluster.client)


def test_bad_rows_are_named_by_their_partition(cluster, tmp_path):
    bad = FRAME.assign(a=FRAME["a"].where(FRAME.index != 70))
    found = feed(dd.from_pandas(bad, npartitions=4), "y", "float32", client=cluster.client)
    with pytest.raises(lnb.TrainingError, match=r"partition 2 has (1 nulls|NaN or infinite values) in a"):
        delivered(found, tmp_path, cluster)


def test_rows_that_nobody_wants_any_more_are_not_written_to_the_end(cluster, tmp_path):
    found = feed(uneven(), "y", "float32", client=cluster.client)
    assert not found.deliver(cluster.client, [(cluster.workers[0], str(tmp_path))], lambda: False)


def test_a_folder_that_is_gone_ends_the_delivery(cluster, tmp_path):
    found = feed(uneven(), "y", "float32", client=cluster.client)
    assert not found.deliver(cluster.client, [(cluster.workers[0], str(tmp_path / "gone"))], lambda: True)


def test_a_disk_that_is_full_is_named(cluster, tmp_path):
    found = collected(uneven(), "y", "float32", cluster.client)
    huge = dataclasses.replace(found, lengths=(2**55,))
    with pytest.raises(lnb.TrainingError, match=r"cannot be written into a folder .*; they take [\d,]+ MiB"):
        deliver(huge, "train", cluster.client, [(cluster.workers[0], str(tmp_path))], lambda: True)


def broken(part):
    if 70 in part.index:
        raise ZeroDivisionError("of the user")
    return part


def test_what_a_partition_raises_is_told(cluster, tmp_path):
    frame = dd.from_pandas(FRAME, npartitions=4).map_partitions(broken, meta=FRAME[:0])
    found = collected(dd.from_pandas(FRAME, npartitions=4), "y", "float32", cluster.client)
    bad = dataclasses.replace(found, parts=tuple(frame.to_delayed()))
    with pytest.raises(lnb.TrainingError, match=r"cannot be computed: ZeroDivisionError\('of the user'\)"):
        deliver(bad, "train", cluster.client, [(cluster.workers[0], str(tmp_path))], lambda: True)
    contract.wait_for(lambda: not contract.held(cluster.client))


def test_a_collection_that_changes_is_refused(cluster, tmp_path):
    found = collected(uneven(), "y", "float32", cluster.client)
    other = dataclasses.replace(found, lengths=(40, 2, 59))
    with pytest.raises(lnb.TrainingError, match="partition 1 has 1 rows, and had 2 when they were counted; persist"):
        deliver(other, "train", cluster.client, [(cluster.workers[0], str(tmp_path))], lambda: True)
