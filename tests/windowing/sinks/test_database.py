import subprocess
import sys

import duckdb
import polars as pl
import pytest

from lepton_nb.errors import WindowError
from lepton_nb.windowing import sinks
from lepton_nb.windowing.sinks.database import DuckDBSink

ROWS = pl.DataFrame({"window_start": [0, 1], "window_end": [1, 2], "n": [2, 3]}).cast(
    {"window_start": pl.Datetime("us", "UTC"), "window_end": pl.Datetime("us", "UTC")}
)
NONE = ROWS.clear().drop("n")


def opened(sink):
    sink.open(ROWS.schema, [], refires=False)
    return sink


COUNT = """
import duckdb, sys
print(duckdb.connect(sys.argv[1], read_only=True).execute("SELECT count(*) FROM windows").fetchall())
"""


def test_others_read_the_file_while_the_stream_runs(tmp_path):
    path = tmp_path / "out.duckdb"
    sink = opened(sinks.duckdb(path))
    for batch in range(2):
        sink.write(batch, ROWS.slice(batch, 1), NONE)
        done = subprocess.run([sys.executable, "-c", COUNT, path], capture_output=True, text=True, timeout=60)
        assert done.stdout == f"[({batch + 1},)]\n", done.stderr
    with duckdb.connect(path, read_only=True) as connection:
        assert connection.execute("SELECT n FROM windows ORDER BY n").fetchall() == [(2,), (3,)]


HOLD = """
import duckdb, sys
connection = duckdb.connect(sys.argv[1], read_only=True)
print("held", flush=True)
sys.stdin.readline()
"""


@pytest.fixture
def holder(tmp_path):
    """Another process that has the file open."""
    opened(sinks.duckdb(tmp_path / "out.duckdb"))
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, tmp_path / "out.duckdb"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with process:
        assert process.stdout.readline() == "held\n"
        yield process
        if process.poll() is None:
            process.communicate("\n")


def test_a_reader_who_does_not_let_go_is_told_of(tmp_path, holder):
    now_s = [0.0]
    sink = opened_by_others(tmp_path, now_s, lambda seconds: now_s.__setitem__(0, now_s[0] + seconds))
    with pytest.raises(WindowError, match="cannot be opened: .*lock.*close it there"):
        sink.write(0, ROWS, NONE)
    assert now_s[0] == pytest.approx(2.0, abs=0.1)


def test_a_reader_is_waited_for(tmp_path, holder):
    sink = opened_by_others(tmp_path, [0.0], lambda seconds: holder.communicate("\n"))
    sink.write(0, ROWS, NONE)
    assert sink.table().height == 2


def opened_by_others(tmp_path, now_s, sleep):
    sink = DuckDBSink(tmp_path / "out.duckdb", patience_s=2.0, clock=lambda: now_s[0], sleep=sleep)
    sink._schema, sink._window = ROWS.schema, ["window_start", "window_end"]
    return sink


def test_a_reader_in_this_process_with_another_setting_is_told_of(tmp_path):
    sink = opened(DuckDBSink(tmp_path / "out.duckdb", patience_s=0.0))
    with duckdb.connect(tmp_path / "out.duckdb", read_only=True), pytest.raises(WindowError, match="close it there"):
        sink.write(0, ROWS, NONE)


def test_several_tables_in_one_file(tmp_path):
    path = tmp_path / "out.duckdb"
    names = ["one", 'odd "name"', "select"]
    for batch, name in enumerate(names):
        opened(sinks.duckdb(path, name)).write(batch, ROWS, NONE)
    assert all(opened(sinks.duckdb(path, name)).table().equals(ROWS) for name in names)


def test_a_table_of_others_is_refused(tmp_path):
    with duckdb.connect(tmp_path / "out.duckdb") as connection:
        connection.execute("CREATE TABLE windows (n INTEGER)").fetchall()
    with pytest.raises(WindowError, match="'windows' that no stream has written; give the sink another table"):
        opened(sinks.duckdb(tmp_path / "out.duckdb"))


def test_a_table_that_was_dropped_is_made_anew(tmp_path):
    opened(sinks.duckdb(tmp_path / "out.duckdb")).write(7, ROWS, NONE)
    with duckdb.connect(tmp_path / "out.duckdb") as connection:
        connection.execute("DROP TABLE windows").fetchall()
    sink = opened(sinks.duckdb(tmp_path / "out.duckdb"))
    assert sink.table().height == 0
    sink.write(0, ROWS, NONE)
    assert sink.table().equals(ROWS)


def test_a_failed_batch_leaves_nothing(tmp_path):
    sink = opened(sinks.duckdb(tmp_path / "out.duckdb"))
    sink.write(0, ROWS, NONE)
    with pytest.raises(WindowError, match="cannot be written"):
        sink.write(1, ROWS.with_columns(n=pl.lit("x")), NONE)
    assert sink.table().equals(ROWS)
    sink.write(1, ROWS.with_columns(pl.col("window_end") + pl.duration(hours=1)), NONE)
    assert sink.table().height == 4


def test_what_is_no_duckdb_file_is_named(tmp_path):
    (tmp_path / "out.duckdb").write_bytes(b"something else" * 1000)
    with pytest.raises(WindowError, match=r"out\.duckdb cannot be opened.*give a path of a DuckDB file"):
        opened(sinks.duckdb(tmp_path / "out.duckdb"))


@pytest.mark.parametrize("table", ["", "lepton_nb_sinks", None])
def test_a_table_needs_a_name(tmp_path, table):
    with pytest.raises(WindowError, match="needs a name of its own"):
        sinks.duckdb(tmp_path / "out.duckdb", table)


def test_what_duckdb_cannot_store_is_named(tmp_path):
    with pytest.raises(WindowError, match="cannot store column 'x', which is Null"):
        sinks.duckdb(tmp_path / "out.duckdb").open(pl.Schema({**ROWS.schema, "x": pl.Null()}), [], refires=False)


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        ({"K": pl.String, "k": pl.Int64}, "does not tell 'K' from 'k', as it ignores case; rename one"),
        ({"k": pl.String, "d": pl.List(pl.Duration("us"))}, "column 'd', which has Duration values in lists; cast"),
        ({"k": pl.String, "d": pl.List(pl.Struct({"x": pl.Int128}))}, "column 'd', which has Int128 values in lists"),
    ],
)
def test_what_cannot_be_read_back_is_refused_before_it_is_written(tmp_path, schema, message):
    times = {"window_start": pl.Datetime("us"), "window_end": pl.Datetime("us")}
    with pytest.raises(WindowError, match=message), sinks.duckdb(tmp_path / "a.duckdb") as sink:
        sink.open(pl.Schema({**schema, **times}), [next(iter(schema))], refires=False)
