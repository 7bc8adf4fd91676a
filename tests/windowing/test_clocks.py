"""The quick look at a batch says what looking at every row says."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lepton_nb.windowing import clocks
from lepton_nb.windowing.clocks import RowClock


@pytest.fixture(autouse=True, scope="module")
def small_blocks():
    before, clocks.BLOCK = clocks.BLOCK, 3
    yield
    clocks.BLOCK = before


@given(
    st.lists(st.integers(0, 12), min_size=1, max_size=20),
    st.integers(0, 4),
    st.integers(0, 6),
    st.none() | st.integers(0, 12),
    st.none() | st.integers(-9, 12),
)
def test_none_is_behind_exactly_where_no_row_meets_a_watermark_that_has_passed_it(times, reach, bound, latest, before):
    array = np.array(times, dtype=np.int64)
    clock = RowClock(before, True, latest, bound=bound)
    found = clock.none_behind(array, min(times), reach)
    met = clock.at_rows(pl.Series(times, dtype=pl.Int64)).to_list()
    assert found == all(m is None or t + reach > m for t, m in zip(times, met, strict=True))
