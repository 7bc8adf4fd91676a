import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lepton_nb.windowing.ranges import Blocks, exact_sums, order_statistics, quantiles

VALUES = st.lists(st.floats(allow_nan=True, width=16), min_size=1, max_size=40)


@st.composite
def arrays_with_ranges(draw, values=VALUES):
    array = draw(values)
    pairs = st.tuples(st.integers(0, len(array) - 1), st.integers(0, len(array) - 1)).map(sorted)
    found = np.array(draw(st.lists(pairs, min_size=1, max_size=20)))
    return np.array(array), found[:, 0], found[:, 1]


@given(arrays_with_ranges(st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=30)))
def test_sums_of_integers_are_exact_modulo_two_to_the_64(case):
    values, first, last = case
    expected = [sum(int(v) for v in values[a : b + 1]) for a, b in zip(first, last, strict=True)]
    assert [int(found) % 2**64 for found in exact_sums(values, first, last)] == [e % 2**64 for e in expected]


@given(arrays_with_ranges())
def test_order_statistics_are_those_of_a_sort(case):
    values, first, last = case
    for rank_from_end in (False, True):
        rank = (last - first) if rank_from_end else np.zeros(len(first), dtype=np.int64)
        found = order_statistics(values, first, last + 1, rank)
        expected = [np.sort(values[a : b + 1])[r] for a, b, r in zip(first, last, rank, strict=True)]
        np.testing.assert_array_equal(found, expected)


@given(arrays_with_ranges(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=40)), st.floats(0, 1))
def test_quantiles_are_linear(case, q):
    values, first, last = case
    (found,) = quantiles(values, first, last + 1, [q])
    expected = [np.quantile(values[a : b + 1], q) for a, b in zip(first, last, strict=True)]
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-9)


def test_presorted_ranges_give_the_same_quantiles():
    values = np.sort(np.random.default_rng(0).normal(size=100))
    begin, end = np.array([0, 10, 50]), np.array([10, 50, 100])
    for direct, general in zip(
        quantiles(values, begin, end, [0.1, 0.95], presorted=True),
        quantiles(values, begin, end, [0.1, 0.95]),
        strict=True,
    ):
        np.testing.assert_array_equal(direct, general)


def test_an_empty_range_has_no_quantile():
    (found,) = quantiles(np.array([1.0, 3.0]), np.array([0, 1]), np.array([2, 1]), [0.5])
    assert found[0] == 2.0
    assert math.isnan(found[1])


def blocks_of(size, length, first):
    place = np.arange(size)
    late = np.zeros(len(first), dtype=bool)
    return Blocks(first, first + length - 1, place // length, place % length, length, late)


@pytest.mark.parametrize("operation", [np.add, np.fmin, np.fmax])
@pytest.mark.parametrize("length", [1, 2, 3, 7, 40])
def test_blocks_reduce_every_window_of_an_array(operation, length):
    values = np.random.default_rng(length).integers(-100, 100, size=50).astype(float)
    first = np.arange(50 - length + 1)
    blocks = blocks_of(50, length, first)
    expected = [operation.reduce(values[a : a + length]) for a in first]
    np.testing.assert_array_equal(blocks.reduce(operation, values), expected)


def test_a_nan_or_infinity_stays_in_the_windows_that_hold_it():
    values = np.array([1.0, np.nan, 2.0, 3.0, np.inf, 4.0, 1e300, -1e300, 5.0])
    first = np.arange(8)
    blocks = blocks_of(9, 2, first)
    expected = [np.nan, np.nan, 5.0, np.inf, np.inf, 1e300, 0.0, -1e300]
    np.testing.assert_array_equal(blocks.reduce(np.add, values), expected)
