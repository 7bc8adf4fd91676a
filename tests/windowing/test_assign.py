import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lepton_nb.errors import WindowError
from lepton_nb.windowing.assign import Grid

CONFORMANCE = json.loads(Path(__file__).with_name("conformance.json").read_text())


def grid_of(case):
    return Grid(case["size"], case.get("every", case["size"]), case.get("offset", 0))


@pytest.mark.parametrize("case", CONFORMANCE["assign"], ids=lambda case: case["source"])
def test_windows_start_where_other_systems_start_them(case):
    for time, expected in case["cases"]:
        starts = expected if isinstance(expected, list) else [expected]
        assert grid_of(case).starts(time) == starts


@pytest.mark.parametrize("case", CONFORMANCE["reject"], ids=lambda case: case["source"])
def test_what_other_systems_reject_is_rejected(case):
    with pytest.raises(WindowError, match=case["why"].split()[0]):
        grid_of(case)


def test_an_offset_too_long_names_the_equal_one():
    with pytest.raises(WindowError, match="offset='3' gives the same windows"):
        Grid(10, 10, 13)


@st.composite
def grids(draw):
    every = draw(st.integers(1, 20))
    return Grid(draw(st.integers(1, 60)), every, draw(st.integers(1 - every, every - 1)))


@given(grids(), st.integers(-200, 200))
def test_starts_are_all_windows_that_hold_the_time(grid, time):
    starts = range(grid.offset - 300 * grid.every, 250, grid.every)
    assert grid.starts(time) == [start for start in starts if start <= time < start + grid.size]


@given(grids(), st.integers(-200, 200))
def test_a_slice_belongs_to_the_windows_of_each_of_its_times(grid, time):
    starts = [grid.offset + k * grid.every for k in grid.windows_of(grid.slice_of(time))]
    assert starts == grid.starts(time)


@given(grids(), st.integers(-50, 50))
def test_a_window_is_a_run_of_adjacent_slices(grid, number):
    start = grid.offset + number * grid.every
    slices = sorted({grid.slice_of(time) for time in range(start, start + grid.size)})
    assert slices[0] == number * grid.slices_per_step
    # A second slice of a step that no window needs apart never occurs, so all numbers are there.
    assert slices == list(range(slices[0], slices[0] + grid.slices_per_window))
