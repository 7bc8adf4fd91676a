import gzip
import json
import os
import shutil
import uuid
from datetime import UTC, datetime, timedelta

import fsspec
import polars as pl
import pytest
from draining import drain, now, rows_between, steps

from lepton_nb.data import frames
from lepton_nb.errors import DataError, WindowError
from lepton_nb.windowing import sources
from lepton_nb.windowing.sources.file_source import FileSource

START = datetime(2013, 1, 31, tzinfo=UTC)
COLUMNS = ["ts", "key", "value"]
SCHEMA = {"ts": pl.Datetime("us", "UTC"), "key": pl.String(), "value": pl.Float64()}


def table(rows=1000, first=0):
    numbers = range(first, first + rows)
    return pl.DataFrame(
        {
            "unused": numbers,
            "ts": [START + timedelta(seconds=i) for i in numbers],
            "key": [f"k{i % 7}" for i in numbers],
            "value": [i / 4 for i in numbers],
        }
    )


def write(frame, path):
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".parquet":
        frame.write_parquet(path, row_group_size=100)
    elif path.suffix == ".csv":
        frame.write_csv(path)
    else:
        frame.with_columns(pl.col("ts").dt.strftime("%Y-%m-%dT%H:%M:%S%.fZ")).write_ndjson(path)


def halves(folder, ending):
    """1,000 rows in two files."""
    for i in range(2):
        write(table(500, 500 * i), folder / f"{i}.{ending}")


ENDINGS = ["parquet", "csv", "jsonl"]


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("rows", [1, 64, 333, 10_000])
@pytest.mark.parametrize("parallel", [1, 3])
def test_all_rows_come_in_order(tmp_path, ending, rows, parallel):
    halves(tmp_path, ending)
    if rows == 1:
        for path in tmp_path.iterdir():
            path.unlink()
        write(table(20), tmp_path / f"0.{ending}")
    found = drain(sources.files(tmp_path), COLUMNS, rows, parallel)
    expected = table(20 if rows == 1 else 1000).select(COLUMNS)
    assert found.frame.equals(expected)
    assert found.dead.height == 0


@pytest.mark.parametrize("ending", ENDINGS)
def test_batches_are_about_as_large_as_asked(tmp_path, ending):
    halves(tmp_path, ending)
    with sources.files(tmp_path) as source:
        source.open(COLUMNS, 2)
        heights = [read.frame.height for _, _, read in steps(source, 200)]
    assert all(100 <= height <= 300 for height in heights[:-1])
    assert sum(heights) == 1000


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_batch_is_cut_into_as_many_parts_as_can_be_read_at_a_time(tmp_path, ending):
    halves(tmp_path, ending)
    with sources.files(tmp_path) as source:
        source.open(COLUMNS, 4)
        after = source.plan(None, 1000, 0).after
        parts, read = rows_between(source, None, after)
    assert len(parts) == 4
    assert all(200 <= rows.frame.height <= 300 for rows in read)
    assert {part.channel for part in parts} == {"files"}


def test_parquet_is_cut_between_row_groups(tmp_path):
    write(table(), tmp_path / "t.parquet")
    with sources.files(tmp_path) as source:
        source.open(COLUMNS, 3)
        ends = [planned.after["t.parquet"] for planned, _, _ in steps(source, 270)]
        parts = source.parts(None, {"t.parquet": 1000})
    assert ends == [300, 600, 900, 1000]
    assert [part.slices[0][1:3] for part in parts] == [(0, 300), (300, 700), (700, 1000)]


def test_a_huge_row_group_is_cut_inside(tmp_path):
    table().write_parquet(tmp_path / "t.parquet", row_group_size=1000)
    with sources.files(tmp_path) as source:
        source.open(COLUMNS, 1)
        assert [planned.after["t.parquet"] for planned, _, _ in steps(source, 300)] == [300, 600, 1000]


def test_the_end_and_what_is_left_are_told(tmp_path):
    halves(tmp_path, "parquet")
    with sources.files(tmp_path) as source:
        source.open(COLUMNS, 1)
        told = [(planned.over, planned.lag, planned.finished) for planned, _, _ in steps(source, 500)]
        assert told == [(False, 500, frozenset()), (True, 0, {"files"})]
        assert source.plan({"0.parquet": 500, "1.parquet": 500}, 10, 0).over


@pytest.mark.parametrize("ending", ENDINGS)
def test_reading_goes_on_from_a_position(tmp_path, ending):
    halves(tmp_path, ending)
    with sources.files(tmp_path) as first:
        first.open(COLUMNS, 2)
        planned = first.plan(None, 700, 0)
        _, early = rows_between(first, None, planned.after)
    late = drain(sources.files(tmp_path), COLUMNS, position=planned.after)
    frames = [*(rows.frame for rows in early), late.frame]
    assert pl.concat(frames).equals(table().select(COLUMNS))


def test_the_position_holds_when_the_folder_moves(tmp_path):
    halves(tmp_path / "a", "csv")
    with sources.files(tmp_path / "a") as source:
        source.open(COLUMNS, 1)
        position = source.plan(None, 500, 0).after
    (tmp_path / "a").rename(tmp_path / "b")
    assert drain(sources.files(tmp_path / "b"), COLUMNS, position=position).frame["value"][-1] == 999 / 4


def test_paths_of_all_kinds(tmp_path, monkeypatch):
    halves(tmp_path, "parquet")
    monkeypatch.chdir(tmp_path)
    wanted = table().select(COLUMNS)
    one, two = tmp_path / "0.parquet", tmp_path / "1.parquet"
    for path in (
        tmp_path,
        str(tmp_path),
        ".",
        "*.parquet",
        f"file://{tmp_path}",
        [two, one],
        tmp_path / "[01].parquet",
    ):
        assert drain(sources.files(path), COLUMNS).frame.equals(wanted)
    assert drain(sources.files(one), COLUMNS).frame.height == 500


def test_files_of_the_same_name_in_two_folders(tmp_path):
    write(table(5), tmp_path / "a" / "t.csv")
    write(table(5, 5), tmp_path / "b" / "t.csv")
    assert drain(sources.files([tmp_path / "b", tmp_path / "a"]), COLUMNS).frame.equals(table(10).select(COLUMNS))


def test_hidden_files_are_not_read(tmp_path):
    halves(tmp_path, "csv")
    for name in (".2.csv", "_2.csv", "_temporary/2.csv", "notes.txt", ".hidden/2.csv"):
        write(table(3), tmp_path / name.replace(".txt", ".csv")) if name != "notes.txt" else None
    (tmp_path / "notes.txt").write_text("no data")
    assert drain(sources.files(tmp_path), COLUMNS).frame.height == 1000


@pytest.mark.parametrize("name", ["t.csv.gz", "t.csv.zst"])
def test_compressed_csv(tmp_path, name):
    text = table().write_csv().encode()
    if name.endswith("gz"):
        (tmp_path / name).write_bytes(gzip.compress(text))
    else:
        table().write_csv(tmp_path / name, compression="zstd")
    with sources.files(tmp_path / name) as source:
        source.open(COLUMNS, 2)
        found = list(steps(source, 10))
        assert len(found) == 1
        assert found[0][2].frame.equals(table().select(COLUMNS))
    with pytest.raises(DataError, match="cannot be followed.*unpack it"):
        sources.files(tmp_path / name, follow=True).open(COLUMNS, 1)


def test_a_broken_gzip_file_is_named(tmp_path):
    (tmp_path / "t.csv.gz").write_bytes(gzip.compress(table().write_csv().encode())[:-50])
    with pytest.raises(DataError, match=r"t\.csv\.gz cannot be read"):
        drain(sources.files(tmp_path, schema=SCHEMA), COLUMNS)


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("pattern", ["", "/*", "/1.{}"])
def test_other_filesystems(ending, pattern, tmp_path):
    halves(tmp_path, ending)
    root = f"/{uuid.uuid4().hex}"
    memory = fsspec.filesystem("memory")
    memory.put(f"{tmp_path}/", f"{root}/", recursive=True)
    memory.pipe(f"{root}/_hidden.{ending}", b"")
    try:
        found = drain(sources.files(f"memory:/{root}{pattern.format(ending)}"), COLUMNS, 150, 2).frame
        expected = table() if pattern != "/1.{}" else table(500, 500)
        assert found.equals(expected.select(COLUMNS))
        with pytest.raises(DataError, match="there is no file or folder memory:"):
            sources.files(f"memory:/{root}/none.csv").open(COLUMNS, 1)
    finally:
        memory.rm(root, recursive=True)


def test_storage_options_are_passed_on_and_never_shown(tmp_path):
    write(table(10), tmp_path / "t.parquet")
    source = sources.files(f"simplecache::file://{tmp_path}/t.parquet", storage_options={"file": {"secret": "hush"}})
    with source:
        source.open(COLUMNS, 1)
        part = source.parts(None, source.plan(None, 10, 0).after)[0]
        assert part.read().frame.height == 10
        assert "hush" not in repr(part) + repr(source)


def test_an_unknown_protocol_is_named():
    with pytest.raises(DataError, match="cannot read nowhere://a/b.csv"):
        sources.files("nowhere://a/b.csv").open(COLUMNS, 1)


def test_what_is_not_there_is_named(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no Parquet, CSV or JSON-lines file in .*empty.*follow=True"):
        sources.files(tmp_path / "empty").open(COLUMNS, 1)
    with pytest.raises(DataError, match="there is no file or folder .*none; check the name"):
        sources.files(tmp_path / "none").open(COLUMNS, 1)
    with pytest.raises(DataError, match="there is no file or folder .*none; check the name"):
        sources.files(tmp_path / "none", follow=True).open(COLUMNS, 1)
    with pytest.raises(DataError, match="no Parquet, CSV"):
        sources.files(tmp_path / "*.csv").open(COLUMNS, 1)


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_missing_column_is_named_with_the_closest(tmp_path, ending):
    halves(tmp_path, ending)
    with pytest.raises(DataError, match="unknown column 'valu'; did you mean 'value'"):
        sources.files(tmp_path).open(["ts", "valu"], 1)


@pytest.mark.parametrize("ending", ["parquet", "csv"])
def test_a_later_file_without_a_column_is_an_error(tmp_path, ending):
    write(table(5), tmp_path / f"0.{ending}")
    write(table(5).drop("value"), tmp_path / f"1.{ending}")
    with pytest.raises(DataError, match="unknown column 'value'"):
        drain(sources.files(tmp_path), COLUMNS)


def test_a_parquet_file_of_other_types_is_an_error(tmp_path):
    write(table(5), tmp_path / "0.parquet")
    write(table(5).with_columns(pl.col("value").cast(pl.Int64)), tmp_path / "1.parquet")
    with pytest.raises(DataError, match=r"column 'value' is Int64 in .*1\.parquet and Float64 in the other files"):
        drain(sources.files(tmp_path), COLUMNS)


def test_a_file_that_is_no_parquet_is_named(tmp_path):
    (tmp_path / "t.parquet").write_bytes(b"no parquet")
    with pytest.raises(DataError, match=r"t\.parquet cannot be read as Parquet"):
        drain(sources.files(tmp_path), COLUMNS)


def test_mixed_and_unknown_kinds(tmp_path):
    write(table(5), tmp_path / "0.parquet")
    write(table(5), tmp_path / "1.csv")
    with pytest.raises(DataError, match="cannot mix kinds of file.*pattern"):
        sources.files(tmp_path).open(COLUMNS, 1)
    (tmp_path / "t.txt").write_text("")
    with pytest.raises(DataError, match=r"cannot tell what .*t\.txt holds; the name should end in"):
        sources.files(tmp_path / "t.txt").open(COLUMNS, 1)


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_file_that_became_shorter_is_an_error(tmp_path, ending):
    write(table(100), tmp_path / f"t.{ending}")
    with sources.files(tmp_path) as source:
        source.open(COLUMNS, 1)
        position = source.plan(None, 1000, 0).after
    write(table(50), tmp_path / f"t.{ending}")
    with pytest.raises(DataError, match="has become shorter.*only be added to"):
        drain(sources.files(tmp_path), COLUMNS, position=position)


def test_a_file_that_is_gone_is_named(tmp_path):
    halves(tmp_path, "csv")
    (tmp_path / "1.csv").unlink()
    with sources.files(tmp_path) as source:
        source.open(COLUMNS, 1)
        with pytest.raises(DataError, match=r"1\.csv is gone before it was read"):
            source.parts({"0.csv": 10}, {"0.csv": 10, "1.csv": 10})


def test_arguments_are_checked(tmp_path):
    with pytest.raises(WindowError, match="unknown channels 'files'; did you mean 'file'"):
        sources.files(tmp_path, channels="files")
    with pytest.raises(WindowError, match="files\\(\\) takes a path"):
        sources.files(5)
    with pytest.raises(WindowError, match="schema says what column 'ts' is: a Polars type such as pl.Float64, not 'x'"):
        sources.files(tmp_path, schema={"ts": "x"})


@pytest.mark.parametrize("ending", ENDINGS)
def test_each_file_as_a_channel(tmp_path, ending):
    halves(tmp_path, ending)
    write(table(100, 2000), tmp_path / "sub" / f"2.{ending}")
    write(table(100, 3000), tmp_path / "sub" / f"3.{ending}")
    names = [f"0.{ending}", f"1.{ending}", "sub"]
    with sources.files(tmp_path, channels="file") as source:
        source.open(COLUMNS, 2)
        assert source.channels == tuple(names)
        batches = list(steps(source, 300))
    assert {part.channel for part in batches[0][1]} == set(names), "side by side"
    assert batches[-1][0].finished == set(names)
    found = {}
    for _, parts, _ in batches:
        for part in parts:
            found.setdefault(part.channel, []).append(part.read().frame)
    assert pl.concat(found[names[1]]).equals(table(500, 500).select(COLUMNS))
    assert pl.concat(found["sub"]).equals(pl.concat([table(100, 2000), table(100, 3000)]).select(COLUMNS))


def test_a_channel_at_its_end_does_not_hold_the_others_back(tmp_path):
    write(table(100), tmp_path / "a.parquet")
    write(table(1000), tmp_path / "b.parquet")
    with sources.files(tmp_path, channels="file") as source:
        source.open(COLUMNS, 1)
        told = [planned.finished for planned, _, _ in steps(source, 200)]
    assert told[0] == {"a.parquet"}
    assert told[-1] == {"a.parquet", "b.parquet"}


def test_folders_that_tell_a_column(tmp_path):
    for key, day, first in (
        ("1", "2013-01-31", 0),
        ("2", "2013-02-01", 5),
        ("__HIVE_DEFAULT_PARTITION__", "x%2Fy", 10),
    ):
        write(table(5, first), tmp_path / f"number={key}" / f"day={day}" / "t.parquet")
    columns = ["ts", "number", "day"]
    found = drain(sources.files(tmp_path), columns, rows=3)
    assert found.frame.columns == columns
    assert found.frame["number"].to_list() == [1] * 5 + [2] * 5 + [None] * 5
    assert found.frame["day"].to_list() == ["2013-01-31"] * 5 + ["2013-02-01"] * 5 + ["x/y"] * 5
    assert found.frame["ts"].equals(table(15)["ts"])
    shutil.rmtree(tmp_path / "number=__HIVE_DEFAULT_PARTITION__")
    same = drain(sources.files(tmp_path), columns).frame
    assert same.equals(frames.eager(tmp_path, columns))


# Files that grow.


class Clock:
    """A clock that only `sleep` moves; what is in `on_sleep` happens meanwhile."""

    def __init__(self, on_sleep=lambda: None):
        self.now_s = 0.0
        self.on_sleep = on_sleep

    def __call__(self):
        return self.now_s

    def sleep(self, seconds):
        self.now_s += seconds
        self.on_sleep()


def append(path, text):
    with open(path, "ab") as opened:
        opened.write(text.encode())


def json_line(i, end="\n"):
    return json.dumps({"ts": (START + timedelta(seconds=i)).isoformat(), "key": "k", "value": i / 4}) + end


def csv_line(i, end="\n"):
    return f"{(START + timedelta(seconds=i)).isoformat()},k,{i / 4}{end}"


@pytest.mark.parametrize(("ending", "line"), [("jsonl", json_line), ("csv", csv_line)])
def test_lines_that_are_added_are_read(tmp_path, ending, line):
    path = tmp_path / f"log.{ending}"
    append(path, ("ts,key,value\n" if ending == "csv" else "") + line(0) + line(1, end=""))
    with sources.files(tmp_path, follow=True) as source:
        source.open(COLUMNS, 2)
        found, position = now(source, None)
        assert found.frame["value"].to_list() == [0.0], "the last line is not finished"
        planned = source.plan(position, 100, 0)
        assert planned == type(planned)(position, lag=0), "nothing new, and no end"
        append(path, "\n" + line(2) + line(3)[:-5])
        found, position = now(source, position)
        assert found.frame["value"].to_list() == [0.25, 0.5]
        append(path, line(3)[-5:])
        append(tmp_path / f"later.{ending}", ("ts,key,value\n" if ending == "csv" else "") + line(4))
        found, position = now(source, position)
        assert found.frame["value"].to_list() == [1.0, 0.75] or found.frame["value"].to_list() == [0.75, 1.0]
        assert found.dead.height == 0


def test_new_parquet_files_are_read_once_they_are_whole(tmp_path):
    write(table(10), tmp_path / "b.parquet")
    with sources.files(tmp_path, follow=True) as source:
        source.open(COLUMNS, 1)
        found, position = now(source, None)
        assert found.frame.height == 10
        write(table(5, 10), tmp_path / "_c.parquet")
        whole = (tmp_path / "_c.parquet").read_bytes()
        (tmp_path / "c.parquet").write_bytes(whole[:-10])
        assert now(source, position)[0].frame.height == 0
        (tmp_path / "c.parquet").write_bytes(whole)
        # Also one whose name comes before those that were read.
        write(table(5, 100), tmp_path / "a.parquet")
        found, position = now(source, position)
        assert found.frame.equals(pl.concat([table(5, 100), table(5, 10)]).select(COLUMNS))
        assert position == {"a.parquet": 5, "b.parquet": 10, "c.parquet": 5}


def test_an_empty_folder_is_followed_until_the_first_rows_tell_the_types(tmp_path):
    with sources.files(tmp_path, follow=True) as source:
        source.open(COLUMNS, 1)
        assert source.schema is None
        assert source.channels == ("files",)
        assert now(source, None)[1] == {}
        append(tmp_path / "t.csv", "ts,key,value\n")
        assert now(source, None)[1] == {}
        append(tmp_path / "t.csv", csv_line(0))
        found, _ = now(source, None)
        assert dict(source.schema) == SCHEMA
        assert found.frame.height == 1


def test_a_plan_waits_for_rows_no_longer_than_asked(tmp_path):
    path = tmp_path / "log.jsonl"
    append(path, json_line(0))
    clock = Clock()
    with FileSource(path, follow=True, clock=clock, sleep=clock.sleep) as source:
        source.open(COLUMNS, 1)
        position = source.plan(None, 100, 5.0).after
        assert clock.now_s == 0, "there was something to read"
        assert source.plan(position, 100, 5.0).after == position
        assert clock.now_s == pytest.approx(5.0)
        clock.on_sleep = lambda: append(path, json_line(1))
        assert source.plan(position, 100, 5.0).after != position
        assert clock.now_s == pytest.approx(5.1), "it came with the first look"


def test_new_files_are_seen_while_an_old_one_has_much_to_read(tmp_path):
    write(table(1000), tmp_path / "a.csv")
    clock = Clock()
    with FileSource(tmp_path, follow=True, channels="file", clock=clock, sleep=clock.sleep) as source:
        source.open(COLUMNS, 1)
        position = source.plan(None, 100, 0).after
        write(table(100), tmp_path / "b.csv")
        clock.sleep(10)
        assert set(source.plan(position, 100, 0).after) == {"a.csv", "b.csv"}
        assert source.channels == ("a.csv", "b.csv")


def test_a_restart_while_following(tmp_path):
    path = tmp_path / "log.csv"
    append(path, "ts,key,value\n" + csv_line(0))
    with sources.files(path, follow=True) as source:
        source.open(COLUMNS, 1)
        _, position = now(source, None)
        append(path, csv_line(1) + csv_line(2))
        after = source.plan(position, 100, 0).after
    append(path, csv_line(3))
    with sources.files(path, follow=True) as source:
        source.open(COLUMNS, 2)
        _, read = rows_between(source, position, after)
        assert pl.concat([rows.frame for rows in read])["value"].to_list() == [0.25, 0.5]
        assert now(source, after)[0].frame["value"].to_list() == [0.75]


@pytest.mark.parametrize("ending", ENDINGS)
def test_columns_with_any_name(tmp_path, ending):
    names = ["ts", "^.*$", '"quoted", and a comma', "*", "line\\break"]
    frame = table(10).select("ts", *(pl.col("value").alias(name) for name in names[1:]))
    write(frame, tmp_path / f"t.{ending}")
    wanted = [names[0], names[3], names[1], names[2], names[4]]
    found = drain(sources.files(tmp_path), wanted).frame
    assert found.columns == wanted
    assert found.rows() == [(row[0], *[row[1]] * 4) for row in table(10).select("ts", "value").rows()]


def test_close_twice_and_open_again(tmp_path):
    halves(tmp_path, "parquet")
    source = sources.files(tmp_path)
    assert drain(source, COLUMNS).frame.height == 1000
    source.close()
    assert drain(source, COLUMNS).frame.height == 1000
    assert os.listdir(tmp_path)
