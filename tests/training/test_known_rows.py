"""Rows that a model has learnt from are known again, whatever else is among them."""

import numpy as np
import pytest

from lepton_nb.training import known_rows
from lepton_nb.training.known_rows import KnownRows


def drawn(rows, seed=0, dtype=np.float32):
    random = np.random.default_rng(seed)
    return random.normal(size=(rows, 5)).astype(dtype), random.integers(0, 2, rows).astype(dtype)


def known(features, target):
    found = KnownRows.of({"train_features": features, "train_target": target})
    assert found is not None
    return found


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_rows_are_known_in_any_order_and_among_others(dtype):
    features, target = drawn(1_000, dtype=dtype)
    marks = known(features, target)
    order = np.random.default_rng(1).permutation(1_000)
    assert marks.share(features[order], target[order]) == 1.0
    others, wanted = drawn(1_000, seed=1, dtype=dtype)
    assert marks.share(others, wanted) == 0.0
    half = np.concatenate([features[:500], others[:500]]), np.concatenate([target[:500], wanted[:500]])
    assert marks.share(*half) == 0.5
    # One number that differs makes another row, and so does another target.
    changed = features.copy()
    changed[:, 2] = np.nextafter(changed[:, 2], dtype(9))
    assert marks.share(changed, target) == 0.0
    assert marks.share(features, 1 - target) == 0.0


def test_of_many_rows_some_are_looked_at(monkeypatch):
    monkeypatch.setattr(known_rows, "MOST_KNOWN", 2_000)
    monkeypatch.setattr(known_rows, "MOST_ASKED", 4_000)
    features, target = drawn(20_000)
    marks = known(features, target)
    assert (len(marks.marks), marks.rows) == (2_000, 20_000)
    others, wanted = drawn(20_000, seed=1)
    half = np.concatenate([features, others]), np.concatenate([target, wanted])
    assert marks.share(*half) == pytest.approx(0.5, abs=0.1)
    assert marks.share(others, wanted) == 0.0


def test_images_and_targets_of_several_steps_are_known_too():
    random = np.random.default_rng(0)
    features, target = random.integers(0, 256, (50, 7, 7, 3), np.uint8), random.normal(size=(50, 2)).astype(np.float32)
    marks = known(features, target)
    assert marks.share(features[:20], target[:20]) == 1.0
    assert marks.share(255 - features, target) == 0.0


def test_rows_that_are_not_in_memory_are_not_known():
    assert KnownRows.of({"train_source": np.zeros(3, np.uint8)}) is None
