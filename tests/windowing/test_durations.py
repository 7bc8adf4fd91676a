from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lepton_nb.errors import WindowError
from lepton_nb.windowing.durations import nanoseconds, text

SECOND_NS = 1_000_000_000


@pytest.mark.parametrize(
    ("written", "seconds"),
    [("10m", 600), ("90s", 90), ("1d", 86_400), ("1h30m", 5_400), ("2w", 1_209_600), ("-8h", -28_800), ("0", 0)],
)
def test_strings(written, seconds):
    assert nanoseconds(written, "size") == seconds * SECOND_NS


def test_small_units_are_not_taken_for_minutes_and_seconds():
    assert nanoseconds("1m", "size") == 60 * SECOND_NS
    assert nanoseconds("1ms", "size") == 1_000_000
    assert nanoseconds("1ms1us1ns", "size") == 1_001_001
    assert nanoseconds("1s1ms", "size") == 1_001_000_000


def test_timedelta_is_exact():
    assert nanoseconds(timedelta(days=-1, microseconds=1), "offset") == -86_400 * SECOND_NS + 1_000


def test_zero_needs_no_unit():
    assert nanoseconds(0, "offset") == 0


@pytest.mark.parametrize(
    "bad", [10, 1.5, "10", "m", "10 minutes", "1.5h", "", "1h-30m", True, None, "10M", "9" * 5000 + "s"]
)
def test_what_is_not_a_duration_is_refused_with_an_example(bad):
    with pytest.raises(WindowError, match=r"size .* is not a duration.*'10m'"):
        nanoseconds(bad, "size")


def test_months_are_refused_with_what_to_use():
    with pytest.raises(WindowError, match="no fixed length; use days"):
        nanoseconds("1mo", "size")


@given(st.integers(-(10**18), 10**18))
def test_text_reads_back(value_ns):
    assert nanoseconds(text(value_ns), "size") == value_ns
