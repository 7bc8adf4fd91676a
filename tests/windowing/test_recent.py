"""What a stream gave last: each window once, bounded, whatever was given again or taken back."""

from datetime import UTC, datetime, timedelta

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

import lepton_nb as lnb
from lepton_nb.windowing.recent import Recent

START = datetime(2020, 1, 1, tzinfo=UTC)
TIME = pl.Datetime("us", "UTC")
SCHEMA = pl.Schema({"key": pl.String, "window_start": TIME, "window_end": TIME, "n": pl.Int64})


def given_out(*windows):
    """Rows (key, hour, n)."""
    rows = [(k, START + timedelta(hours=h), START + timedelta(hours=h + 1), n) for k, h, n in windows]
    return pl.DataFrame(rows, schema=SCHEMA, orient="row")


def back(*windows):
    return given_out(*[(*window, 0) for window in windows]).drop("n")


def kept(recent):
    table = recent.table()
    return [(k, int((s - START) / timedelta(hours=1)), n) for k, s, _, n in table.rows()]


def test_a_window_given_again_has_its_latest_values_and_one_taken_back_is_gone():
    recent = Recent(["key"], SCHEMA)
    assert kept(recent) == []
    recent.add(given_out(("a", 0, 1), ("b", 0, 1)), back())
    recent.add(given_out(("a", 0, 2), ("a", 1, 5)), back(("b", 0)))
    assert kept(recent) == [("a", 0, 2), ("a", 1, 5)]
    # Taken back first, then given anew in the same batch.
    recent.add(given_out(("a", 1, 6)), back(("a", 1), ("a", 0)))
    assert kept(recent) == [("a", 1, 6)]


def test_only_the_last_windows_are_kept():
    recent = Recent(["key"], SCHEMA, most=3)
    for hour in range(10):
        recent.add(given_out(("b", hour, hour), ("a", hour, hour)), back())
    assert kept(recent) == [("a", 8, 8), ("a", 9, 9), ("b", 9, 9)] or kept(recent) == [
        ("a", 9, 9), ("b", 8, 8), ("b", 9, 9),
    ]  # fmt: skip
    recent.add(given_out(*[("c", hour, 1) for hour in range(100)]), back())
    assert kept(recent) == [("c", 97, 1), ("c", 98, 1), ("c", 99, 1)]


@given(
    st.lists(
        st.tuples(
            st.dictionaries(st.tuples(st.sampled_from("ab"), st.integers(0, 3)), st.integers(0, 9), max_size=4),
            st.sets(st.tuples(st.sampled_from("ab"), st.integers(0, 3)), max_size=2),
        ),
        max_size=6,
    )
)
def test_it_stands_where_a_dict_of_windows_would(batches):
    recent, expected = Recent(["key"], SCHEMA, most=100), {}
    for windows, taken in batches:
        recent.add(given_out(*[(*window, n) for window, n in windows.items()]), back(*taken))
        for window in taken:
            expected.pop(window, None)
        expected |= windows
    assert kept(recent) == sorted((*window, n) for window, n in expected.items())


def test_a_stream_tells_what_it_gave_last_wherever_it_goes():
    times = [START + timedelta(minutes=m) for m in (10, 70, 20, 130, 200, 80)]
    frame = pl.DataFrame({"ts": times, "key": ["a", "a", "a", "b", "a", "b"]})
    query = lnb.windows(frame, time="ts", key="key").tumbling("1h").lateness(allowed="1d").agg(n=lnb.count())
    seen = []
    stream = query.stream(sink=seen.append, batch_rows=1)
    with pytest.raises(lnb.WindowError, match="has read nothing yet"):
        stream.recent()
    assert stream.specs == (query.spec,)
    stream.wait()
    assert len(seen) > 1
    assert_frame_equal(stream.recent(), query.collect())
