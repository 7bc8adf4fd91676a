"""What a stream tells of itself, in words."""

from datetime import UTC, date, datetime, timedelta, timezone

import pytest

import lepton_nb as lnb
from lepton_nb.events import Progress
from lepton_nb.windowing.progress import bytes_text, moment_text, told

START = datetime(2020, 1, 1, tzinfo=UTC)


def test_a_streams_events_are_told_in_words():
    rows = [{"ts": START + timedelta(minutes=30 * n), "v": 1} for n in range(4)] + [{"ts": START, "v": 1}]
    stream = lnb.windows(time="ts").tumbling("1h").agg(n=lnb.count()).stream(rows, batch_rows=2)
    stream.wait()
    first, *_, last = [event for event in stream.events if isinstance(event, Progress)]
    words = dict(told(first.done, first.values))
    assert words["Watermark"] == "2020-01-01 00:29:59 UTC"
    assert words["Rows read"] == "2"
    assert words["Results given"] == "0"
    assert words["Open windows"].startswith("1 row, ")
    assert words["Throughput"].endswith(" rows/s")
    words = dict(told(last.done, last.values))
    assert words["Watermark"] == "the source has ended"
    assert words["Late"] == "1 row"
    assert words["Open windows"] == "0 rows, 0 bytes"
    assert "Unreadable" not in words


def test_what_is_not_known_is_not_made_up():
    values = {
        "rows_per_s": 12_345.6, "lag_rows": None, "watermark": None, "windows": 1, "late": 0, "aside": 2, "dead": 1,
        "state_rows": 3, "state_bytes": 12_345, "over": False,
    }  # fmt: skip
    assert told(0, values) == [
        ("Throughput", "12,346 rows/s"),
        ("Lag", "not known"),
        ("Watermark", "no rows yet"),
        ("Rows read", "0"),
        ("Results given", "1"),
        ("Late", "0 rows"),
        ("Open windows", "3 rows, 12.3 kB"),
        ("Without time or key", "2 rows"),
        ("Unreadable", "1 row"),
    ]


@pytest.mark.parametrize(
    ("time", "text"),
    [
        (date(2020, 1, 2), "2020-01-02"),
        (datetime(2020, 1, 2, 3, 4, 5, 999_999), "2020-01-02 03:04:05 UTC"),
        (datetime(2020, 1, 2, 3, tzinfo=timezone(timedelta(hours=2))), "2020-01-02 01:00:00 UTC"),
    ],
)
def test_times_are_told_in_utc(time, text):
    assert moment_text(time) == text


def test_bytes_have_the_unit_that_they_fill():
    assert [bytes_text(size) for size in (1, 999, 1_000, 2_500_000, 10**10)] == [
        "1 byte", "999 bytes", "1 kB", "2.5 MB", "10 GB",
    ]  # fmt: skip
