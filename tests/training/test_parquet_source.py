import os
import subprocess
import sys
import textwrap

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import lepton_nb as lnb
from lepton_nb.training.batches import open_source
from lepton_nb.training.feeds import feed
from lepton_nb.training.lanes import MOST_LANES, Lanes


def table(rows=400, **columns):
    number = np.arange(rows)
    return pl.DataFrame({"a": number / 2, "b": number % 2 == 0, "y": number % 2} | columns)


def source_of(path, folder, **options):
    for name, array in feed(str(path), "y", "float32", stream=True, **options).arrays.items():
        np.save(folder / f"{name}.npy", array)
    return open_source(folder, "train")


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "rows.parquet"
    table().write_parquet(path, row_group_size=50)
    return path


def learn(source):
    return list(source.batches(0, 0, 32, 0, 0, 1))


def test_every_kind_of_number_is_read_as_it_is_from_a_frame(tmp_path):
    number = np.arange(100)
    frame = pl.DataFrame({"y": number % 2, "f": number / 3}).with_columns(
        i=pl.col("y").cast(pl.Int8), u=pl.col("y").cast(pl.UInt64), b=pl.col("y") == 1, f4=pl.col("f").cast(pl.Float32)
    )
    frame.write_parquet(tmp_path / "rows.parquet", row_group_size=30)
    features, target = source_of(tmp_path / "rows.parquet", tmp_path).head(100)
    expected = feed(frame, "y", "float32").arrays
    np.testing.assert_array_equal(features, expected["train_features"])
    np.testing.assert_array_equal(target, expected["train_target"])


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (None, r"row group 3 of \S+rows.parquet has 1 nulls in a"),
        (float("nan"), r"row group 3 of \S+rows.parquet has NaN or infinite values in a"),
        (float("inf"), r"row group 3 of \S+rows.parquet has NaN or infinite values in a"),
    ],
)
def test_what_is_no_number_is_named_with_its_column_file_and_row_group(tmp_path, bad, message):
    values = [number / 2 for number in range(400)]
    values[170] = bad
    table(a=values).write_parquet(tmp_path / "rows.parquet", row_group_size=50)
    source = source_of(tmp_path / "rows.parquet", tmp_path)
    with pytest.raises(lnb.TrainingError, match=message):
        learn(source)
    with pytest.raises(lnb.TrainingError, match=message):
        list(source.pieces(0, 1, 1_000))


def test_a_target_that_is_no_number_is_found_before_the_run(tmp_path):
    table(y=[0.0] * 399 + [float("nan")]).write_parquet(tmp_path / "rows.parquet", row_group_size=50)
    with pytest.raises(lnb.TrainingError, match=r"row group 7 of .* has NaN or infinite values in y"):
        source_of(tmp_path / "rows.parquet", tmp_path)


def test_a_file_that_was_written_anew_is_refused(file, tmp_path):
    source = source_of(file, tmp_path)
    table(401).write_parquet(file, row_group_size=50)
    with pytest.raises(lnb.TrainingError, match=r"rows.parquet has changed since the run began"):
        learn(source)


def test_a_file_that_changes_in_the_middle_of_an_epoch_is_refused(tmp_path):
    file = tmp_path / "rows.parquet"
    table(4_000).write_parquet(file, row_group_size=50)
    source = source_of(file, tmp_path)
    batches = source.batches(0, 0, 32, 0, 0, 1)
    next(batches)
    content = bytearray(file.read_bytes())
    content[100] ^= 1
    file.write_bytes(content)
    with pytest.raises(lnb.TrainingError, match=r"rows.parquet (has changed|cannot be read)"):
        list(batches)


def test_a_file_that_changes_between_two_epochs_is_refused(file, tmp_path):
    source = source_of(file, tmp_path)
    learn(source)
    os.utime(file, ns=(0, 0))
    with pytest.raises(lnb.TrainingError, match=r"rows.parquet has changed"):
        learn(source)


def test_a_file_that_is_gone_is_named(file, tmp_path):
    source = source_of(file, tmp_path)
    file.unlink()
    with pytest.raises(lnb.TrainingError, match=r"row group \d of \S+rows.parquet cannot be read"):
        learn(source)


def test_a_damaged_row_group_is_named(tmp_path):
    file = tmp_path / "rows.parquet"
    table().write_parquet(file, row_group_size=50, compression="zstd")
    source = source_of(file, tmp_path)
    end = pq.read_metadata(file).row_group(5).column(0).data_page_offset
    content = bytearray(file.read_bytes())
    content[end : end + 40] = bytes(40)
    file.write_bytes(content)
    with pytest.raises(lnb.TrainingError, match=r"row group 5 of \S+rows.parquet cannot be read"):
        learn(source)


def test_a_loop_that_is_left_early_leaves_no_thread(file, tmp_path):
    # The plugin of all tests looks for threads that are left.
    source = source_of(file, tmp_path)
    batches = source.batches(0, 0, 32, 0, 0, 1)
    next(batches)
    batches.close()
    pieces = source.pieces(0, 1, 10)
    next(pieces)
    pieces.close()


def test_lanes_give_every_row_once_and_never_fewer_than_none():
    rng = np.random.default_rng(0)
    for trial in range(300):
        sizes = rng.integers(0, 10 ** rng.integers(1, 7), rng.integers(1, 40)).tolist()
        if not sum(sizes):
            continue
        lanes = Lanes.deal(sizes, 4, int(rng.integers(1, 5_000)), seed=trial, epoch=0)
        count = len(lanes.groups)
        assert count <= MOST_LANES
        assert sorted(group for lane in lanes.groups for group in lane) == [i for i, size in enumerate(sizes) if size]
        steps = sorted({0, 1, *rng.integers(0, lanes.steps, 20).tolist(), lanes.steps - 1, lanes.steps})
        for number in steps:
            given = [lanes.given(lane, number) for lane in range(count)]
            assert sum(given) == min(number * lanes.batch_size, lanes.rows)
            if number < lanes.steps:
                assert all(lanes.given(lane, number + 1) >= given[lane] for lane in range(count))
        assert [lanes.given(lane, lanes.steps) for lane in range(count)] == [
            sum(sizes[group] for group in lane) for lane in lanes.groups
        ]


def test_large_row_groups_are_read_in_fewer_lanes():
    assert len(Lanes.deal([1_000] * 50, 400, 256, 0, 0).groups) == MOST_LANES
    assert len(Lanes.deal([1_000_000] * 50, 400, 256, 0, 0).groups) == 2
    assert len(Lanes.deal([1_000_000] * 50, 40_000, 256, 0, 0).groups) == 1


def test_one_large_row_group_among_small_ones_leaves_lanes_of_many_rows():
    lanes = Lanes.deal([100_000] + [1_000] * 30, 4, 256, 0, 0)
    lengths = [sum(lanes.sizes[group] for group in lane) for lane in lanes.groups]
    assert len(lengths) > 6
    assert all(256 * length >= 130_000 for length in lengths)


def test_rows_of_one_row_group_are_spread_over_many_batches(tmp_path):
    number = np.arange(10_000)
    pl.DataFrame({"a": number, "y": number % 2}).write_parquet(tmp_path / "rows.parquet", row_group_size=500)
    source = source_of(tmp_path / "rows.parquet", tmp_path)
    batch = next(iter(source.batches(0, 0, 240, 0, 0, 1))).features[:, 0]
    assert len(set(batch // 500)) == MOST_LANES
    assert (np.diff(batch) < 0).mean() > 0.3


MEMORY = """
    import resource, sys
    from pathlib import Path
    import numpy as np
    from lepton_nb.training.batches import open_source
    from lepton_nb.training.feeds import feed
    folder, left = Path(sys.argv[1]), int(sys.argv[2])
    # What is imported, and what threads take once, is there before the limit.
    found = feed(str(folder / "small.parquet"), "y", "float32", stream=True)
    np.save(folder / "train_source.npy", found.arrays["train_source"])
    list(open_source(folder, "train").batches(0, 0, 256, 0, 0, 1))
    used = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmData"))
    limit = int(used.split()[1]) * 1024 + left
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    found = feed(str(folder / "large.parquet"), "y", "float32", stream=True)
    np.save(folder / "train_source.npy", found.arrays["train_source"])
    source = open_source(folder, "train")
    rows = sum(len(batch.target) for batch in source.batches(0, 0, 4096, 0, 0, 1))
    rows += sum(len(target) for _, target in source.pieces(0, 1, 4096))
    try:
        np.ones((len(source), *source.shape), np.float32)
    except MemoryError:
        print(rows, "too large to load")
"""


def test_a_table_larger_than_the_memory_is_learnt_from(tmp_path):
    rows, groups = 10_000, 80
    values = np.random.default_rng(0).normal(size=(50, rows)).astype(np.float32)
    group = pa.table({f"x{i}": column for i, column in enumerate(values)} | {"y": np.arange(rows) % 2})
    for name, count in (("small", 2), ("large", groups)):
        with pq.ParquetWriter(tmp_path / f"{name}.parquet", group.schema, compression="none") as writer:
            for _ in range(count):
                writer.write_table(group)
    size_bytes = rows * groups * 50 * 4
    # Every lane holds a row group of 2 MB; the table has 160.
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(MEMORY), str(tmp_path), str(size_bytes // 2)],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [str(2 * rows * groups), "too", "large", "to", "load"]
