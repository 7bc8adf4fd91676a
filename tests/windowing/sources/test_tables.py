import math
import pickle
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from draining import drain, steps

from lepton_nb.errors import DataError, WindowError
from lepton_nb.windowing import sources
from lepton_nb.windowing.sources.file_source import FileSource
from lepton_nb.windowing.sources.iterators import IterableSource
from lepton_nb.windowing.sources.tables import TableSource

TABLE = pl.DataFrame(
    {
        "ts": [datetime(2013, 1, 31, tzinfo=UTC) + timedelta(seconds=i) for i in range(100)],
        "v": range(100),
        "other": ["x"] * 100,
    }
)
WANTED = TABLE.select("ts", "v")


def as_dask():
    import dask.dataframe

    return dask.dataframe.from_pandas(TABLE.to_pandas(), npartitions=3)


@pytest.mark.parametrize("make", [lambda: TABLE, TABLE.lazy, TABLE.to_pandas, TABLE.to_arrow, as_dask])
def test_every_kind_of_frame(make):
    found = drain(sources.of(make(), "ts"), ["ts", "v"], 30)
    assert found.frame.with_columns(pl.col("ts").dt.cast_time_unit("us").dt.convert_time_zone("UTC")).equals(WANTED)


@pytest.mark.parametrize("rows", [1, 7, 100, 1000])
def test_batches_parts_and_the_end(rows):
    with sources.table(TABLE) as source:
        source.open(["ts", "v"], 3)
        assert dict(source.schema) == dict(WANTED.schema)
        assert source.channels == ("table",)
        batches = list(steps(source, rows))
    assert [read.frame.height for _, _, read in batches[:-1]] == [rows] * (len(batches) - 1)
    assert all(len(parts) == min(3, read.frame.height) for _, parts, read in batches)
    assert [planned.lag for planned, _, _ in batches] == [max(0, 100 - rows * (i + 1)) for i in range(len(batches))]


def test_columns_with_any_name():
    frame = TABLE.rename({"other": "^.*$", "v": "*"})
    for source in (sources.table(frame), sources.replay(frame, "ts", speed=math.inf), sources.iterate([frame])):
        assert drain(source, ["^.*$", "ts", "*"]).frame.columns == ["^.*$", "ts", "*"]


def test_an_empty_table_is_over_at_once():
    with sources.table(TABLE.clear()) as source:
        source.open(["ts"], 2)
        planned = source.plan(None, 10, 0)
        assert planned.over
        assert source.parts(None, planned.after) == []


def test_only_the_rows_of_a_part_travel():
    with sources.table(TABLE.sample(100_000, with_replacement=True)) as source:
        source.open(["v"], 100)
        part = source.parts(None, 100_000)[0]
    assert len(pickle.dumps(part)) < 20_000
    assert "frame" not in repr(part)


def test_a_shorter_table_than_before_is_an_error():
    with sources.table(TABLE) as source:
        source.open(["ts"], 1)
        with pytest.raises(DataError, match="has 100 rows, but 101 were read.*another checkpoint"):
            source.plan(101, 10, 0)


def test_a_missing_column_is_named():
    with pytest.raises(DataError, match="unknown column 'w'"):
        sources.table(TABLE).open(["w"], 1)


def test_a_source_that_is_not_open_says_so():
    with pytest.raises(DataError, match="not open; call open"):
        sources.table(TABLE).plan(None, 1, 0)


def test_what_a_stream_can_read(tmp_path):
    TABLE.write_parquet(tmp_path / "t.parquet")
    source = sources.table(TABLE)
    assert sources.of(source, "ts") is source
    assert isinstance(sources.of(TABLE, "ts"), TableSource)
    for path in (tmp_path, str(tmp_path), [tmp_path / "t.parquet"], Path("a/*.csv"), "s3://bucket/a.csv"):
        assert isinstance(sources.of(path, "ts"), FileSource)
    for rows in ([{"ts": 1}], iter([]), (x for x in []), list, [TABLE, TABLE]):
        assert isinstance(sources.of(rows, "ts"), IterableSource)


@pytest.mark.parametrize("thing", [None, 5, b"bytes", {"ts": [1]}])
def test_what_a_stream_cannot_read_is_refused_with_what_it_can(thing):
    with pytest.raises(WindowError, match="a stream reads a source such as .*Polars.*iterable of rows, not (a|None)"):
        sources.of(thing, "ts")
