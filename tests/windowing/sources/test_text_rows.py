import json
import random
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest
from draining import drain

from lepton_nb.errors import DataError
from lepton_nb.windowing import sources
from lepton_nb.windowing.sources.text_rows import Block, csv_rows, json_rows

COLUMNS = ["ts", "k", "v"]
SCHEMA = {"ts": pl.Datetime("us", "UTC"), "k": pl.String(), "v": pl.Float64()}
HEADER = ("ts", "k", "v")
NOON = datetime(2013, 1, 31, 12, tzinfo=UTC)

GOOD_JSON = b'{"ts": "2013-01-31T12:00:00Z", "k": "a", "v": 1}'
BAD_JSON = {
    b"{": "not a JSON object",
    b"no json": "not a JSON object",
    b"null": "not a JSON object",
    b"[1, 2]": "not a JSON object",
    GOOD_JSON + GOOD_JSON: "not a JSON object",
    b'{"ts": 0, "k": "\xff"}': "not a JSON object",
    b"[" * 100_000: "not a JSON object",
    b'{"k": "a", "v": 1}': "no 'ts'",
    b'{"ts": null}': "no 'ts'",
    b'{"ts": "noon"}': "column 'ts' is Datetime(time_unit='us', time_zone='UTC'), not 'noon'",
    b'{"ts": 1.5}': "column 'ts' is Datetime(time_unit='us', time_zone='UTC'), not 1.5",
    b'{"ts": true}': "column 'ts' is Datetime(time_unit='us', time_zone='UTC'), not True",
    b'{"ts": 0, "v": "abc"}': "column 'v' is Float64, not 'abc'",
    b'{"ts": 0, "v": true}': "column 'v' is Float64, not True",
    b'{"ts": 0, "k": 3}': "column 'k' is String, not 3",
    b'{"ts": 0, "k" : {"a": 1}}': "column 'k' is String, not {'a': 1}",
}
GOOD_CSV = b"2013-01-31T12:00:00Z,a,1"
BAD_CSV = {
    b"0,a": "2 cells, where the header has 3",
    b"0,a,1,2": "4 cells, where the header has 3",
    b"0,a,1,": "4 cells, where the header has 3",
    b'0,"a,1': "a quote is not closed, or text follows it; a row must be one line",
    b'0,"a"b,1': "a quote is not closed, or text follows it; a row must be one line",
    b"0,\xff,1": "not UTF-8 text",
    b",a,1": "no 'ts'",
    b"noon,a,1": "column 'ts' is Datetime(time_unit='us', time_zone='UTC'), not 'noon'",
    b"0,a,abc": "column 'v' is Float64, not 'abc'",
}


def json_block(*lines, schema=SCHEMA, required=("ts",), start=0):
    return json_rows(Block(b"".join(line + b"\n" for line in lines), start, "log", "files", schema, required))


def csv_block(*lines, schema=SCHEMA, header=HEADER, required=("ts",), start=0):
    return csv_rows(Block(b"".join(line + b"\n" for line in lines), start, "log", "files", schema, required), header)


KINDS = [(json_block, GOOD_JSON, BAD_JSON), (csv_block, GOOD_CSV, BAD_CSV)]


@pytest.mark.parametrize(
    ("read", "good", "bad", "reason"),
    [(read, good, bad, reason) for read, good, all_bad in KINDS for bad, reason in all_bad.items()],
)
def test_a_bad_line_costs_only_itself(read, good, bad, reason):
    rows = read(good, bad, good, start=1000)
    assert rows.frame.rows() == [(NOON, "a", 1.0)] * 2
    at = f"log byte {1000 + len(good) + 1}"
    assert rows.dead.rows() == [("files", at, reason, bad.decode(errors="replace"))]


@pytest.mark.parametrize(("read", "good", "all_bad"), KINDS)
def test_many_lines_with_bad_ones_among_them(read, good, all_bad):
    bad = [line for line in all_bad if len(line) < 1000]
    lines = [good] * 5000
    random.Random(0).shuffle(bad)
    places = [17, 18, 700, 701, 1500, 1501, 1502, 2999, 3000, 4998, 4999, 0, 250, 251, 252]
    for place, line in zip(places, bad, strict=False):
        lines[place] = line
    rows = read(*lines)
    assert rows.frame.height == 5000 - len(bad)
    assert rows.dead["value"].to_list() == [line.decode(errors="replace") for line in lines if line != good]
    starts, at = {}, 0
    for line in lines:
        starts[f"log byte {at}"] = line.decode(errors="replace")
        at += len(line) + 1
    assert [starts[offset] for offset in rows.dead["offset"]] == rows.dead["value"].to_list()


UNUSUAL_JSON = [
    b'{"ts": "0", "v": -0.0, "k": ""}',
    b'{"ts": 5, "v": 1e3, "k": "a\\u00e9\\n", "other": [1, {"k": 3}]}',
    b'{"ts": "2013-01-31", "v": null, "k": "\\"k\\": 3"}',
    b' {"v": 12345678901234567890, "ts": -1}',
]
UNUSUAL_CSV = [
    b'0,"say ""hi""",1',
    b'0,"",1',
    b"0,,",
    b'0,"a,b",1.5',
    b"5,' ,-0.0",
    b"0, a ,1e3",
    b"0,a,NaN",
]


@pytest.mark.parametrize(
    ("read", "lines", "bad"), [(json_block, UNUSUAL_JSON, b"no json"), (csv_block, UNUSUAL_CSV, b"no csv")]
)
def test_a_row_does_not_depend_on_its_neighbours(read, lines, bad):
    alone = [read(line) for line in lines]
    together = read(*lines)
    beside_a_bad_one = read(*lines, bad)
    expected = pl.concat([rows.frame for rows in alone])
    assert together.dead.height == 0
    assert expected.height == len(lines)
    assert together.frame.equals(expected)
    assert beside_a_bad_one.frame.equals(expected)


def test_whole_floats_are_integers_in_json():
    schema = {"ts": pl.Int64(), "n": pl.Int16()}
    rows = json_block(b'{"ts": 1, "n": 2.0}', b'{"ts": 1, "n": 2.5}', b'{"ts": 1, "n": 70000}', schema=schema)
    assert rows.frame.rows() == [(1, 2)]
    assert rows.dead["reason"].to_list() == ["column 'n' is Int16, not 2.5", "column 'n' is Int16, not 70000"]


def test_nested_json():
    schema = {"ts": pl.Int64(), "l": pl.List(pl.Int64()), "s": pl.Struct({"a": pl.String})}
    rows = json_block(b'{"ts": 1, "l": [1, 2], "s": {"a": "x", "b": 1}}', b'{"ts": 1, "l": 3}', schema=schema)
    assert rows.frame.rows() == [(1, [1, 2], {"a": "x"})]
    assert rows.dead["reason"].to_list() == ["column 'l' is List(Int64), not 3"]


@pytest.mark.parametrize(("read", "good", "all_bad"), KINDS)
def test_blank_lines_and_line_ends_of_windows(read, good, all_bad):
    rows = read(good + b"\r", b"", b"\r", good + b"\r", b"  ")
    assert rows.frame.rows() == [(NOON, "a", 1.0)] * 2
    assert rows.dead.height == 0
    assert read(b"").frame.height == 0
    assert read(good + b"\r", next(iter(all_bad)) + b"\r").dead["value"][0] == next(iter(all_bad)).decode()


def test_the_last_line_of_a_finished_file_needs_no_end(tmp_path):
    (tmp_path / "t.csv").write_bytes(b"ts,k,v\n" + GOOD_CSV + b"\n" + GOOD_CSV)
    (tmp_path / "t.jsonl").write_bytes(GOOD_JSON + b"\n" + GOOD_JSON)
    for name in ("t.csv", "t.jsonl"):
        assert drain(sources.files(tmp_path / name), COLUMNS).frame.rows() == [(NOON, "a", 1.0)] * 2


@pytest.mark.parametrize("rows", [5, 100, 10_000])
@pytest.mark.parametrize("ending", ["csv", "jsonl"])
def test_any_split_gives_the_same_rows_and_dead_letters(tmp_path, rows, ending):
    good, bad = (GOOD_CSV, BAD_CSV) if ending == "csv" else (GOOD_JSON, BAD_JSON)
    bad = [line for line in bad if len(line) < 1000]
    lines = [bad[i // 10 % len(bad)] if i % 10 == 0 else good for i in range(500)]
    data = b"\n".join(lines) + b"\n"
    (tmp_path / f"t.{ending}").write_bytes((b"ts,k,v\n" if ending == "csv" else b"") + data)
    found = drain(sources.files(tmp_path, schema=SCHEMA), COLUMNS, rows, 3)
    assert found.frame.height == 450
    assert found.dead["value"].to_list() == [line.decode(errors="replace") for line in lines if line != good]
    whole = drain(sources.files(tmp_path, schema=SCHEMA), COLUMNS, 10**6, 1)
    assert whole.dead.equals(found.dead)


def test_types_are_told_from_the_start_of_the_first_file(tmp_path):
    (tmp_path / "t.csv").write_text('k,ts,v,n\na,2013-01-31 12:00:00,1.5,1\nb,x,2,2\n1,2,3,4,5\n"b,1,2,3\n')
    (tmp_path / "t.jsonl").write_bytes(b'poison\n{"ts": null}\n' + GOOD_JSON + b"\n")
    (tmp_path / "zoneless.jsonl").write_bytes(GOOD_JSON.replace(b"Z", b"") + b"\n")
    with sources.files(tmp_path / "t.jsonl") as source:
        source.open(COLUMNS, 1)
        assert dict(source.schema) == {**SCHEMA, "v": pl.Int64()}
    with sources.files(tmp_path / "zoneless.jsonl") as source:
        source.open(["ts"], 1)
        assert dict(source.schema) == {"ts": pl.Datetime("us")}
    with sources.files(tmp_path / "t.csv", schema={"ts": pl.Datetime("ms")}) as source:
        source.open(["ts", "n", "v"], 1)
        assert dict(source.schema) == {"ts": pl.Datetime("ms"), "n": pl.Int64(), "v": pl.Float64()}


def test_the_schema_of_the_user_holds(tmp_path):
    (tmp_path / "t.csv").write_bytes(b"v,ts,k\n1,1359633600000,a\n")
    assert drain(sources.files(tmp_path, schema=SCHEMA), COLUMNS).frame.rows() == [(NOON, "a", 1.0)]


def test_columns_of_csv_are_found_by_name_in_each_file(tmp_path):
    (tmp_path / "1.csv").write_bytes(b"\xef\xbb\xbfts,k,v\r\n" + GOOD_CSV + b"\r\n")
    (tmp_path / "2.csv").write_bytes(b'more,v,"k",ts\nx,2,b,2013-01-31T12:00:00Z\n')
    found = drain(sources.files(tmp_path, schema=SCHEMA), COLUMNS)
    assert found.frame.rows() == [(NOON, "a", 1.0), (NOON, "b", 2.0)]


def test_faulty_headers(tmp_path):
    (tmp_path / "t.csv").write_text("ts,v,v\n0,1,2\n")
    with pytest.raises(DataError, match="two columns named 'v'; rename one"):
        sources.files(tmp_path).open(["ts", "v"], 1)
    (tmp_path / "t.csv").write_text("")
    with pytest.raises(DataError, match=r"t\.csv is empty: say what its columns hold, schema="):
        sources.files(tmp_path).open(["ts", "v"], 1)


def test_long_lines(tmp_path):
    times = [NOON + timedelta(seconds=i) for i in range(20)]
    with open(tmp_path / "t.jsonl", "w") as file:
        file.writelines(json.dumps({"ts": t.isoformat(), "k": "x" * 200_000, "v": 1.0}) + "\n" for t in times)
    found = drain(sources.files(tmp_path), COLUMNS, rows=3, parallel=2)
    assert found.frame["ts"].to_list() == times
