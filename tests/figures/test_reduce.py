"""Fewer points of a line that look the same."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lepton_nb.figures.reduce import thin, visible

ROWS = 50_000


@pytest.fixture
def walk():
    return np.arange(ROWS, dtype=float), np.cumsum(np.random.default_rng(1).normal(size=ROWS))


def test_few_points_stay_as_they_are():
    x = np.arange(5.0)
    assert thin(x, x, 5).tolist() == [0, 1, 2, 3, 4]
    assert thin(np.empty(0), np.empty(0), 5).tolist() == []


def test_a_long_line_keeps_its_ends_its_extremes_and_a_spike_of_one_row(walk):
    x, y = walk
    y[31_234] = 1e6
    kept = thin(x, y, 1000)
    assert len(kept) <= 1000
    assert (np.diff(kept) > 0).all()
    assert {0, ROWS - 1, 31_234, int(y.argmin())} <= set(kept.tolist())


def test_a_gap_stays_a_gap_where_it_was(walk):
    x, y = walk
    y[20_000:20_010] = np.nan
    y[40_000] = np.inf
    kept = thin(x, y, 1000)
    drawn = np.isfinite(y[kept])
    for first, last in ((20_000, 20_010), (40_000, 40_001)):
        inside = (kept >= first) & (kept < last)
        assert inside.any()
        assert not drawn[inside].any()
        assert {first - 1, last} <= set(kept[drawn].tolist())


def test_more_gaps_than_points_are_left_out_rather_than_drawn(walk):
    x, y = walk
    y[::2] = np.nan
    kept = thin(x, y, 1000)
    assert np.isfinite(y[kept]).all()
    assert len(kept) <= 1000


def test_a_line_of_gaps_alone_does_not_fail():
    x = np.arange(10_000.0)
    assert not np.isfinite(np.full(10_000, np.nan)[thin(x, np.full(10_000, np.nan), 100)]).any()


@given(st.lists(st.integers(0, 50), min_size=1, max_size=60), st.integers(-5, 55), st.integers(0, 30))
def test_what_is_visible_has_all_rows_within_and_a_neighbour_at_each_side(times, first, length):
    x = np.array(sorted(times), dtype=float)
    rows = visible(x, first, first + length)
    inside = np.flatnonzero((x >= first) & (x <= first + length))
    assert set(inside.tolist()) <= set(range(rows.start, rows.stop))
    assert rows.stop - rows.start <= len(inside) + 2
