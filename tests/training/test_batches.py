"""What every source of rows promises, held by each of them."""

import itertools

import numpy as np
import polars as pl
import pytest

from lepton_nb.data.row_groups import RowGroups
from lepton_nb.training.batches import MemorySource, TargetFacts, open_source
from lepton_nb.training.feeds import feed
from lepton_nb.training.parquet_source import ParquetSource

ROWS = 1_003


def lay(folder, part, arrays):
    """What the client writes into the folder of a host's ranks."""
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array)
    return open_source(folder, part)


def in_memory(folder, features, target):
    return lay(folder, "train", {"train_features": features, "train_target": target})


def in_parquet(folder, features, target):
    """Three files, of row groups of different sizes, one of which is empty."""
    table = pl.DataFrame({f"x{i}": features[:, i] for i in range(features.shape[1])} | {"y": target})
    bounds = [0, len(table) // 2, len(table) // 2, len(table)]
    for number, (start, stop) in enumerate(itertools.pairwise(bounds)):
        table[start:stop].write_parquet(folder / f"{number}.parquet", row_group_size=37 + 60 * number)
    found = feed(str(folder / "*.parquet"), "y", "float32", stream=True)
    return lay(folder, "train", found.arrays)


@pytest.fixture(params=[in_memory, in_parquet])
def source(request, tmp_path):
    return made(request.param, tmp_path)


def made(kind, folder, rows=ROWS):
    number = np.arange(rows, dtype=np.float32)
    return kind(folder, np.stack([number, -number], axis=1), number % 3)


def numbers(batch):
    """Which rows a share holds; each must be whole."""
    np.testing.assert_array_equal(batch.features[:, 1], -batch.features[:, 0])
    np.testing.assert_array_equal(batch.target, batch.features[:, 0] % 3)
    return batch.features[:, 0].astype(int).tolist()


def epoch_of(source, ranks, *, epoch=0, first=0, batch_size=100, seed=5):
    """The rows of each global batch, joined over the ranks."""
    shares = [list(source.batches(epoch, first, batch_size, seed, rank, ranks)) for rank in range(ranks)]
    for batch in zip(*shares, strict=True):
        assert len({share.rows for share in batch}) == 1
        assert sum(len(share.features) for share in batch) == batch[0].rows
    return [sorted(row for share in batch for row in numbers(share)) for batch in zip(*shares, strict=True)]


def test_the_kinds_are_what_they_are_called(tmp_path):
    for kind, expected in ((in_memory, MemorySource), (in_parquet, ParquetSource)):
        folder = tmp_path / kind.__name__
        folder.mkdir()
        assert type(made(kind, folder)) is expected


def test_no_rows_are_laid(tmp_path):
    assert open_source(tmp_path, "validation") is None


def test_what_is_known_of_all_rows(source):
    assert len(source) == ROWS
    assert source.shape == (2,)
    assert source.target == TargetFacts.of((np.arange(ROWS) % 3).astype(np.float32))


@pytest.mark.parametrize(
    ("ranks", "batch_size"), [(2, 1), (3, 17), (2, 100), (3, 100), (5, 100), (20, 100), (3, ROWS), (5, 5_000)]
)
def test_the_global_batches_do_not_depend_on_the_number_of_ranks(source, ranks, batch_size):
    assert epoch_of(source, ranks, batch_size=batch_size) == epoch_of(source, 1, batch_size=batch_size)


def test_every_row_comes_once_an_epoch_and_the_last_batch_has_the_rest(source):
    batches = epoch_of(source, 3)
    assert [len(batch) for batch in batches] == [100] * 10 + [3]
    assert sorted(row for batch in batches for row in batch) == list(range(ROWS))


def test_seed_and_epoch_decide_the_order(source):
    base = epoch_of(source, 2)
    assert base == epoch_of(source, 2)
    assert base != epoch_of(source, 2, epoch=1)
    assert base != epoch_of(source, 2, seed=6)
    assert base[0] != list(range(100))


@pytest.mark.parametrize("ranks", [1, 3])
@pytest.mark.parametrize("first", [1, 6, 10, 11])
def test_an_epoch_goes_on_in_the_middle(source, ranks, first):
    assert epoch_of(source, ranks, first=first) == epoch_of(source, ranks)[first:]


def test_shares_come_in_the_same_order_when_an_epoch_goes_on(source):
    whole = [numbers(batch) for batch in source.batches(2, 0, 64, 1, 1, 2)]
    rest = [numbers(batch) for batch in source.batches(2, 9, 64, 1, 1, 2)]
    assert rest == whole[9:]


@pytest.mark.parametrize("kind", [in_memory, in_parquet])
def test_ranks_without_rows_take_part_in_every_batch(kind, tmp_path):
    few = made(kind, tmp_path, rows=2)
    shares = [list(few.batches(0, 0, 2, 0, rank, 5)) for rank in range(5)]
    assert [len(share) for share in shares] == [1] * 5
    assert sorted(len(share[0].features) for share in shares)[:3] == [0, 0, 0]
    for share in shares:
        assert share[0].features.shape[1:] == (2,)
        assert share[0].rows == 2
    assert epoch_of(few, 5, batch_size=2) == [[0, 1]]


@pytest.mark.parametrize("ranks", [1, 2, 5])
@pytest.mark.parametrize("most", [1_000_000, 100])
def test_the_pieces_of_all_ranks_are_all_rows_in_order(source, ranks, most):
    pieces = [piece for rank in range(ranks) for piece in source.pieces(rank, ranks, most)]
    assert max(len(target) for _, target in pieces) <= most
    np.testing.assert_array_equal(np.concatenate([features[:, 0] for features, _ in pieces]), np.arange(ROWS))
    np.testing.assert_array_equal(np.concatenate([target for _, target in pieces]), np.arange(ROWS) % 3)


@pytest.mark.parametrize("count", [0, 1, 50, 2_000])
def test_the_head_is_the_first_rows(source, count):
    features, target = source.head(count)
    np.testing.assert_array_equal(features[:, 0], np.arange(min(count, ROWS)))
    np.testing.assert_array_equal(target, np.arange(min(count, ROWS)) % 3)


@pytest.mark.parametrize("kind", [in_memory, in_parquet])
def test_the_checksum_tells_other_rows(kind, tmp_path):
    sums = []
    for number, rows in enumerate((ROWS, ROWS, ROWS + 1)):
        folder = tmp_path / str(number)
        folder.mkdir()
        sums.append(made(kind, folder, rows).checksum)
    assert sums[0] == sums[1] != sums[2]


def test_sequences_of_targets_and_images_are_read_like_rows(tmp_path):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (60, 4, 5, 3)).astype(np.uint8)
    steps = rng.integers(0, 2, (60, 7))
    found = feed((images, steps), None, "float32")
    assert found.shape == (4, 5, 3)
    assert found.arrays["train_features"].dtype == np.uint8
    source = lay(tmp_path, "train", found.arrays)
    assert (source.shape, source.target.shape, len(source)) == ((4, 5, 3), (7,), 60)
    batches = [batch for rank in range(3) for batch in source.batches(0, 0, 60, 0, rank, 3)]
    features = np.concatenate([batch.features for batch in batches])
    assert features.dtype == np.float32
    assert np.concatenate([batch.target for batch in batches]).shape == (60, 7)
    np.testing.assert_allclose(np.sort(features, axis=None), np.sort(images, axis=None) / 255, rtol=1e-6)
    np.testing.assert_array_equal(source.head(3)[0], images[:3].astype(np.float32) / np.float32(255))
    pieces = np.concatenate([piece for piece, _ in source.pieces(0, 1, 7)])
    np.testing.assert_array_equal(pieces, images.astype(np.float32) / np.float32(255))
    assert source.checksum == lay(tmp_path, "train", found.arrays).checksum


def test_the_groups_that_are_read_are_those_that_are_needed(tmp_path, monkeypatch):
    source = made(in_parquet, tmp_path)
    read = []
    load = ParquetSource._load
    monkeypatch.setattr(ParquetSource, "_load", lambda s, reader, group: read.append(group) or load(s, reader, group))
    groups = len(RowGroups.of([str(tmp_path / "*.parquet")]).rows)
    for rank in range(3):
        list(source.batches(0, 0, 100, 5, rank, 3))
    assert sorted(read) == list(range(groups))
    read.clear()
    list(source.batches(0, 9, 100, 5, 0, 3))
    assert 0 < len(read) <= len(set(read)) < groups / 3
