import numpy as np
import pytest

from lepton_nb.training.sharding import epoch_order, shard, steps_per_epoch


def test_an_epochs_order_is_a_permutation_that_seed_and_epoch_alone_decide():
    order = epoch_order(100, seed=1, epoch=2)
    assert sorted(order) == list(range(100))
    np.testing.assert_array_equal(order, epoch_order(100, seed=1, epoch=2))
    assert not np.array_equal(order, epoch_order(100, seed=2, epoch=1))
    assert not np.array_equal(order, epoch_order(100, seed=1, epoch=3))


@pytest.mark.parametrize("count", [0, 1, 2, 7, 96])
@pytest.mark.parametrize("ranks", [1, 2, 3, 5])
def test_shards_cover_everything_once_and_differ_by_one_at_most(count, ranks):
    parts = [list(range(count))[shard(count, rank, ranks)] for rank in range(ranks)]
    assert [item for part in parts for item in part] == list(range(count))
    sizes = [len(part) for part in parts]
    assert max(sizes) - min(sizes) <= 1


@pytest.mark.parametrize(("rows", "batch", "steps"), [(10, 5, 2), (11, 5, 3), (1, 5, 1)])
def test_a_partial_batch_is_a_step(rows, batch, steps):
    assert steps_per_epoch(rows, batch) == steps
