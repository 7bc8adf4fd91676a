"""What every sink that stores its rows must do; each test runs over all of them."""

import subprocess
import sys
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import polars as pl
import pytest

from lepton_nb.errors import WindowError
from lepton_nb.windowing import sinks

DAY = datetime(2013, 1, 31, tzinfo=UTC)
WINDOW = ["key", "window_start", "window_end"]


def rows(*windows):
    """Rows from (key, hour, value)."""
    start = [DAY + timedelta(hours=hour) for _, hour, _ in windows]
    return pl.DataFrame(
        {
            "key": [key for key, _, _ in windows],
            "window_start": start,
            "window_end": [time + timedelta(hours=1) for time in start],
            "value": [value for _, _, value in windows],
        },
        schema={
            "key": pl.String,
            "window_start": pl.Datetime("us", "UTC"),
            "window_end": pl.Datetime("us", "UTC"),
            "value": pl.Int64,
        },
    )


NONE = rows().select(WINDOW)
SCHEMA = rows().schema


@pytest.fixture(params=["parquet", "duckdb"])
def make(request, tmp_path):
    """A function that makes the sink anew, on the same place."""
    return lambda: sinks.of(tmp_path / ("out" if request.param == "parquet" else "out.duckdb"))


def opened(sink, schema=SCHEMA, keys=("key",), refires=False):
    sink.open(schema, list(keys), refires=refires)
    return sink


@pytest.mark.parametrize("refires", [False, True])
def test_what_is_written_is_read_back_in_order(make, refires):
    with opened(make(), refires=refires) as sink:
        assert sink.table().equals(rows())
        sink.write(0, rows(("b", 1, 1), ("a", 30, 2)), NONE)
        sink.write(5, rows(("a", 2, 3), ("a", -30, 4)), NONE)
        sink.write(6, rows(), NONE)
        expected = rows(("a", -30, 4), ("a", 2, 3), ("a", 30, 2), ("b", 1, 1))
        assert sink.table().equals(expected)
    with opened(make(), refires=refires) as again:
        assert again.table().equals(expected)


@pytest.mark.parametrize("refires", [False, True])
def test_the_last_batch_can_come_again(make, refires):
    with opened(make(), refires=refires) as sink:
        sink.write(0, rows(("a", 1, 1)), NONE)
        sink.write(1, rows(("a", 2, 2), ("b", 30, 3)), NONE)
        sink.write(1, rows(("a", 2, 2), ("b", 30, 3)), NONE)
        expected = sink.table()
        assert expected.height == 3
    with opened(make(), refires=refires) as sink:
        sink.write(1, rows(("a", 2, 2), ("b", 30, 3)), NONE)
        sink.write(2, rows(("c", 2, 2)), NONE)
        assert sink.table().equals(pl.concat([expected, rows(("c", 2, 2))]))


def test_a_window_that_comes_again_replaces_the_old(make):
    with opened(make(), refires=True) as sink:
        sink.write(0, rows(("a", 1, 1), ("b", 1, 1)), NONE)
        sink.write(1, rows(("a", 1, 2)), NONE)
        sink.write(10, rows(("a", 1, 3)), NONE)
        assert sink.table().equals(rows(("a", 1, 3), ("b", 1, 1)))


def test_windows_are_taken_back_before_the_batch_is_added(make):
    with opened(make(), refires=True) as sink:
        sink.write(0, rows(("a", 1, 1), ("b", 1, 1), ("c", 1, 1)), NONE)
        sink.write(1, rows(("b", 1, 2)), rows(("a", 1, 0), ("b", 1, 0)).select(WINDOW))
        assert sink.table().equals(rows(("b", 1, 2), ("c", 1, 1)))
        sink.write(2, rows(), rows(("c", 1, 0), ("d", 1, 0)).select(WINDOW))
        assert sink.table().equals(rows(("b", 1, 2)))
        sink.write(3, rows(("c", 1, 9)), NONE)
        assert sink.table().equals(rows(("b", 1, 2), ("c", 1, 9)))


def test_results_of_another_run_are_not_mixed_in(make):
    with opened(make()) as sink:
        sink.write(5, rows(("a", 1, 1)), NONE)
    with opened(make()) as sink, pytest.raises(WindowError, match="holds batches up to 5, and batch 0 .*another run"):
        sink.write(0, rows(("a", 1, 1)), NONE)


def test_results_of_another_query_are_refused(make):
    with opened(make()) as sink:
        sink.write(0, rows(("a", 1, 1)), NONE)
    with pytest.raises(WindowError, match="results of another query; give"):
        opened(make(), schema=pl.Schema({**SCHEMA, "value": pl.Float64()}))
    with pytest.raises(WindowError, match="results of another query; give"):
        opened(make(), keys=[])


def test_without_keys(make):
    frame = rows(("a", 1, 1), ("b", 2, 2)).drop("key")
    with opened(make(), schema=frame.schema, keys=[], refires=True) as sink:
        sink.write(0, frame, frame.clear().drop("value"))
        sink.write(1, frame.head(1).with_columns(value=pl.lit(5, pl.Int64)), frame.tail(1).drop("value"))
        assert sink.table()["value"].to_list() == [5]


def test_a_sink_that_is_not_open_says_so(make):
    with pytest.raises(WindowError, match="is not open; call open"):
        make().table()
    with pytest.raises(WindowError, match="is not open; call open"):
        make().write(0, rows(), NONE)


def test_close_twice(make):
    sink = opened(make())
    sink.close()
    sink.close()


@pytest.mark.parametrize("zone", [None, "UTC", "America/New_York"])
@pytest.mark.parametrize("unit", ["ms", "us", "ns"])
def test_times_keep_unit_and_zone(make, unit, zone):
    times = pl.Series([1359586800_123456789, -1], dtype=pl.Int64) if unit == "ns" else pl.Series([1359586800_123, -1])
    start = times.cast(pl.Datetime(unit, zone))
    frame = pl.DataFrame({"window_start": start, "window_end": start, "last": start}).sort("window_start")
    with opened(make(), schema=frame.schema, keys=[], refires=True) as sink:
        sink.write(0, frame, frame.clear().drop("last"))
        sink.write(1, frame, frame.clear().drop("last"))
        assert sink.table().equals(frame)
        assert sink.table().schema == frame.schema


VALUES = {
    "date": pl.Series([date(2013, 1, 31), None]),
    "duration": pl.Series([timedelta(days=400, microseconds=1), None], dtype=pl.Duration("us")),
    "categorical": pl.Series(["a", None], dtype=pl.Categorical),
    "enum": pl.Series(["a", None], dtype=pl.Enum(["b", "a"])),
    "list": pl.Series([[1, None], None], dtype=pl.List(pl.Int32)),
    "struct": pl.Series([{"a": 1, "b": ["x"]}, None], dtype=pl.Struct({"a": pl.Int64, "b": pl.List(pl.String)})),
    "float": pl.Series([float("nan"), None], dtype=pl.Float32),
    "unsigned": pl.Series([2**64 - 1, None], dtype=pl.UInt64),
    "large": pl.Series([2**70, None], dtype=pl.Int128),
    "decimal": pl.Series([Decimal("1.25"), None], dtype=pl.Decimal(10, 2)),
    "boolean": pl.Series([True, None]),
    "binary": pl.Series([b"\x00a", None], dtype=pl.Binary),
    "time": pl.Series([3_723_000_000_001, None]).cast(pl.Time),
    'odd "name"; DROP TABLE windows --': pl.Series([1, 2]),
    "order": pl.Series([1, 2]),
    "^.*$": pl.Series([1, 2]),
    "*": pl.Series([1, 2]),
}


def test_values_of_all_types_come_back_as_they_were(make):
    frame = rows(("a", 1, 1), ("b", 30, 2)).with_columns(**VALUES)
    with opened(make(), schema=frame.schema) as sink:
        sink.write(0, frame, NONE)
        assert sink.table().schema == frame.schema
        assert sink.table().equals(frame)


def test_keys_of_all_types_are_told_apart(make):
    keys = [name for name in VALUES if name not in ("list", "struct", "float")]
    frame = rows(("a", 1, 1), ("b", 1, 2)).with_columns(**VALUES)
    with opened(make(), schema=frame.schema, keys=keys, refires=True) as sink:
        windows = frame.drop("key", "value", "list", "struct", "float")
        sink.write(0, frame, windows.clear())
        sink.write(1, frame.head(1), windows.tail(1))
        assert sink.table().equals(frame.head(1))


LIMITED = """
import resource, signal, sys
import polars as pl
from lepton_nb.errors import WindowError
from lepton_nb.windowing import sinks

rows = pl.read_ipc(sys.argv[2])
windows = rows.clear().select("key", "window_start", "window_end")
sink = sinks.of(sys.argv[1])
sink.open(rows.schema, ["key"], refires=True)
sink.write(0, rows.head(10), windows)
# A full disk, for one process: no file may grow beyond this. A write beyond it fails as one on a full disk does.
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (2_000_000, 2_000_000))
try:
    sink.write(1, rows, windows)
except WindowError as error:
    print("refused:", error)
"""


def test_a_full_disk(make, tmp_path):
    import numpy as np

    count = 500_000
    start = pl.Series([DAY]).extend_constant(DAY, count - 1)
    frame = pl.DataFrame(
        {
            "key": pl.Series(range(count)).cast(pl.String),
            "window_start": start,
            "window_end": start,
            "value": np.random.default_rng(0).integers(0, 2**62, count),
        },
        schema=SCHEMA,
    )
    frame.write_ipc(tmp_path / "rows.arrow")
    sink = make()
    place = next(str(tmp_path / name) for name in ("out.duckdb", "out") if (sink.name == "duckdb") == ("." in name))
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, place, str(tmp_path / "rows.arrow")],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert "refused: the results cannot be written to" in done.stdout, done.stdout + done.stderr
    assert "make room or give another folder" in done.stdout or "make room or give another file" in done.stdout
    with opened(make(), refires=True) as sink:
        assert sink.table().height == 10, "nothing of the batch is there"
        assert not list(tmp_path.glob("out/*/_*"))
        sink.write(1, frame, NONE)
        assert sink.table().height == count
