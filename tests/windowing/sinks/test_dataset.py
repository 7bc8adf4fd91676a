from datetime import UTC, datetime, timedelta

import duckdb
import polars as pl
import pyarrow.dataset
import pyarrow.parquet
import pytest

from lepton_nb.data import frames
from lepton_nb.errors import WindowError
from lepton_nb.windowing import sinks

DAY = datetime(2013, 1, 31, tzinfo=UTC)


def rows(*hours, zone="UTC"):
    start = pl.Series([DAY + timedelta(hours=hour) for hour in hours], dtype=pl.Datetime("us", "UTC"))
    frame = pl.DataFrame({"window_start": start, "window_end": start + timedelta(hours=1), "n": pl.Series(hours)})
    frame = frame.cast({"n": pl.Int64})
    return frame.with_columns(pl.col("window_start", "window_end").dt.convert_time_zone(zone))


NONE = rows().drop("n")


def opened(path, refires=False, schema=None):
    sink = sinks.parquet(path)
    sink.open(schema or rows().schema, [], refires=refires)
    return sink


def files(path):
    return sorted(str(file.relative_to(path)) for file in path.rglob("*.parquet*"))


def test_one_file_a_batch_and_day(tmp_path):
    sink = opened(tmp_path)
    sink.write(12, rows(1, 23, 25, -1), NONE)
    sink.write(13, rows(2), NONE)
    assert files(tmp_path) == [
        "window_day=2013-01-30/batch-000000000012.parquet",
        "window_day=2013-01-31/batch-000000000012.parquet",
        "window_day=2013-01-31/batch-000000000013.parquet",
        "window_day=2013-02-01/batch-000000000012.parquet",
    ]
    metadata = pyarrow.parquet.read_metadata(tmp_path / files(tmp_path)[0])
    assert metadata.row_group(0).column(0).compression == "ZSTD"


def test_the_day_is_that_of_the_start_in_utc(tmp_path):
    late = rows(1, zone="America/New_York")
    opened(tmp_path, schema=late.schema).write(0, late, NONE)
    assert files(tmp_path) == ["window_day=2013-01-31/batch-000000000000.parquet"]


def test_final_results_can_be_read_by_any_tool(tmp_path):
    sink = opened(tmp_path)
    sink.write(0, rows(1, 23, 25), NONE)
    sink.write(1, rows(26), NONE)
    wanted = rows(1, 23, 25, 26)
    assert pl.read_parquet(tmp_path / "**/*.parquet", hive_partitioning=False).sort("n").equals(wanted)
    assert frames.eager(tmp_path).sort("n").drop("window_day").equals(wanted)
    assert pl.read_parquet(tmp_path).sort("n").drop("window_day").equals(wanted)
    table = pyarrow.dataset.dataset(tmp_path, partitioning="hive").to_table()
    assert set(table.column_names) == {*wanted.columns, "window_day"}
    query = f"SELECT count(*), min(window_day)::VARCHAR FROM read_parquet('{tmp_path}/*/*.parquet')"
    assert duckdb.connect().execute(query).fetchall() == [(4, "2013-01-31")]


def test_results_that_can_come_again_say_in_which_batch(tmp_path):
    sink = opened(tmp_path, refires=True)
    sink.write(3, rows(1), rows(2).drop("n"))
    found = pl.read_parquet(tmp_path / "**/*.parquet", hive_partitioning=False)
    assert found.rows() == [(*rows(2).row(0)[:2], None, 3, True), (*rows(1).row(0), 3, False)]
    assert found.columns == [*rows().columns, "batch", "retracted"]


def test_a_batch_that_is_written_again_replaces_all_its_files(tmp_path):
    # It had reached three days when the process was killed, and two of its files were in place.
    opened(tmp_path).write(0, rows(1), NONE)
    opened(tmp_path).write(1, rows(1, 25, 49), NONE)
    sink = opened(tmp_path)
    sink.write(1, rows(2, 26), NONE)
    assert sink.table().equals(rows(1, 2, 26))
    sink.write(1, rows(), NONE)
    assert sink.table().equals(rows(1))


def test_a_leftover_of_an_interrupted_write_is_never_read_and_goes(tmp_path):
    opened(tmp_path).write(0, rows(1), NONE)
    left = tmp_path / "window_day=2013-01-31" / "_batch-000000000001.parquet.tmp"
    left.write_bytes(b"PAR1 half a fi")
    assert pl.read_parquet(tmp_path / "**/*.parquet", hive_partitioning=False).height == 1
    sink = opened(tmp_path)
    assert not left.exists()
    assert sink.table().equals(rows(1))


@pytest.mark.parametrize(
    "name", ["notes.txt", "t.parquet", "window_day=2013-01-31/t.parquet", "other/batch-000000000001.parquet"]
)
def test_a_folder_with_files_of_others_is_refused(tmp_path, name):
    opened(tmp_path).write(0, rows(1), NONE)
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_bytes(b"")
    with pytest.raises(WindowError, match=f"holds {name.split('/')[0]}.*which a stream has not written.*of its own"):
        opened(tmp_path)


def test_parquet_files_of_others_are_refused_whatever_their_names(tmp_path):
    (tmp_path / "window_day=2013-01-31").mkdir()
    rows(1).write_parquet(tmp_path / "window_day=2013-01-31" / "batch-000000000000.parquet")
    with pytest.raises(WindowError, match="results of another query"):
        opened(tmp_path)
    (tmp_path / "window_day=2013-01-31" / "batch-000000000000.parquet").write_bytes(b"no parquet")
    with pytest.raises(WindowError, match=r"batch-000000000000\.parquet cannot be read"):
        opened(tmp_path)


def test_another_way_of_firing_is_another_query(tmp_path):
    opened(tmp_path).write(0, rows(1), NONE)
    with pytest.raises(WindowError, match="results of another query"):
        opened(tmp_path, refires=True)


def test_hidden_files_of_others_do_not_matter(tmp_path):
    for name in (".DS_Store", "_SUCCESS"):
        (tmp_path / name).write_bytes(b"")
    opened(tmp_path).write(0, rows(1), NONE)
    assert opened(tmp_path).table().height == 1


def test_taken_names_and_places(tmp_path):
    schema = pl.Schema({**rows().schema, "batch": pl.Int64()})
    with pytest.raises(WindowError, match="needs the name 'batch' for itself; rename"):
        opened(tmp_path, refires=True, schema=schema)
    opened(tmp_path, schema=schema)
    with pytest.raises(WindowError, match="writes to a local folder, not to s3://bucket"):
        sinks.parquet("s3://bucket/results")
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(WindowError, match="cannot be written to .*file.*another folder"):
        opened(tmp_path / "file")


def test_windows_taken_back_where_none_should_be_are_an_error(tmp_path):
    with pytest.raises(WindowError, match="opened for final ones"):
        opened(tmp_path).write(0, rows(1), rows(2).drop("n"))


def test_many_small_files_are_read_in_one_scan(tmp_path):
    sink = opened(tmp_path, refires=True)
    for batch in range(60):
        sink.write(batch, rows(batch, batch + 24), NONE)
    assert sink.table().height == 84
