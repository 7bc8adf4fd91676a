import json
import math
from datetime import UTC, date, datetime, timedelta

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

import lepton_nb as lnb
from lepton_nb.reports.record import INLINE_CELLS, MOST_VALUES, RECORD_VARIABLE
from lepton_nb.reports.recorded import collect, in_text, of_manifest


@pytest.fixture
def records(tmp_path, monkeypatch):
    path = tmp_path / "records"
    monkeypatch.setenv(RECORD_VARIABLE, str(path))
    return path


def test_values_are_kept_and_returned(records):
    assert lnb.record("auc", 0.75) == 0.75
    lnb.record("rows", np.int64(12))
    lnb.record("good", True)
    lnb.record('name\n"', "two\nlines")
    assert collect(records).metrics == {"auc": 0.75, "rows": 12, "good": True, 'name\n"': "two\nlines"}


def test_last_value_of_a_name_counts(records):
    lnb.record("auc", 0.5)
    lnb.record("auc", 0.75)
    assert collect(records).metrics == {"auc": 0.75}


def test_nan_survives(records):
    lnb.record("loss", float("nan"))
    assert math.isnan(collect(records).metrics["loss"])


def test_outside_of_a_report_nothing_is_printed_or_kept(monkeypatch, capsys):
    monkeypatch.delenv(RECORD_VARIABLE, raising=False)
    assert lnb.record("auc", 0.75) == 0.75
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("value", [None, {"a": 1}, object(), np.zeros((2, 2)), 1j])
def test_other_types_are_refused_also_outside_of_a_report(value, monkeypatch):
    monkeypatch.delenv(RECORD_VARIABLE, raising=False)
    with pytest.raises(lnb.ReportError, match="record a bool, int, float or str"):
        lnb.record("auc", value)


@pytest.mark.parametrize("name", ["", " ", 3])
def test_a_metric_needs_a_name(name):
    with pytest.raises(lnb.ReportError, match="needs a name"):
        lnb.record(name, 1)


def test_a_line_that_was_cut_off_is_left_out(tmp_path):
    path = tmp_path / "records"
    path.write_text('{"name": "a", "value": 1}\n{"name": "b", "va')
    assert collect(path).metrics == {"a": 1}


TYPED = {
    "day": (date(2013, 6, 24), {"type": "date", "value": "2013-06-24"}),
    "time": (datetime(2013, 6, 24, 6, tzinfo=UTC), {"type": "datetime", "value": "2013-06-24T06:00:00+00:00"}),
    "took": (timedelta(minutes=1.5), {"type": "duration", "value": 90.0}),
    "folds": ([0.5, float("inf")], {"type": "list", "value": [0.5, "Infinity"]}),
    "auc": (0.5, 0.5),
}


def test_what_json_has_no_type_for_keeps_its_type(records):
    for name, (value, _) in TYPED.items():
        assert lnb.record(name, value) is value
    found = collect(records)
    assert found.metrics == {name: value for name, (value, _) in TYPED.items()}
    assert found.typed == {name: typed for name, (_, typed) in TYPED.items()}
    json.dumps(found.typed, allow_nan=False)


def test_units_stand_beside_their_values(records):
    lnb.record("speed", 3, unit="rows/s")
    assert collect(records).typed == {"speed": {"type": "int", "value": 3, "unit": "rows/s"}}
    assert in_text({"type": "int", "value": 3, "unit": "rows/s"}) == "3 rows/s"
    assert in_text({"type": "duration", "value": 90.0}) == "90 s"
    assert in_text({"type": "list", "value": list(range(22))}).endswith("18, 19 and 2 more")


@pytest.mark.parametrize("make", [np.array, pd.Series, pl.Series, tuple])
def test_rows_of_numbers_are_lists(make, records):
    lnb.record("loss", make([1.5, 2.5]))
    assert collect(records).metrics == {"loss": [1.5, 2.5]}


@pytest.mark.parametrize(
    ("value", "fault"),
    [
        ([0] * (MOST_VALUES + 1), "has 10,001 values; record at most 10,000"),
        ([1, None], "holds NoneType; record a list of"),
        ([[1]], "holds list; record a list of"),
    ],
)
def test_lists_have_limits(value, fault):
    with pytest.raises(lnb.ReportError, match=fault):
        lnb.record("loss", value)


FRAME = pl.DataFrame({"carrier": ["UA", None], "day": [date(2013, 1, 1)] * 2, "delay": [1.5, float("nan")]})


@pytest.mark.parametrize("frame", [FRAME, FRAME.lazy(), FRAME.to_arrow(), FRAME.to_pandas()])
def test_small_tables_stand_in_the_manifest(frame, records):
    lnb.record("delays", frame)
    found = collect(records)
    assert found.metrics == {}
    assert found.files() == []
    table = found.tables["delays"]
    assert [column["name"] for column in table["columns"]] == ["carrier", "day", "delay"]
    assert table["rows"] == 2
    assert table["values"][0][0::2] == ["UA", 1.5]
    assert table["values"][0][1].startswith("2013-01-01")
    json.dumps(found.tables, allow_nan=False)


@pytest.mark.parametrize("frame", [pl.DataFrame({"n": range(INLINE_CELLS + 1)}), pl.DataFrame({"n": [[1], [2]]})])
def test_large_and_nested_tables_lie_beside_it(frame, records):
    lnb.record("The Table!", pl.DataFrame({"n": range(INLINE_CELLS + 2)}))
    lnb.record("The Table!", frame)
    lnb.record("the-table", frame)
    lnb.record("other", frame)
    lnb.record("other", 1)
    found = collect(records)
    assert found.files() == ["table-the-table.parquet", "table-the-table-2.parquet"]
    assert sorted(path.name for path in records.parent.iterdir()) == sorted(found.files())
    facts = found.tables["The Table!"]
    written = records.with_name(facts["file"])
    assert pl.read_parquet(written).equals(frame)
    assert facts["bytes"] == written.stat().st_size
    assert len(facts["head"]) == min(20, frame.height)
    (shown, *_) = of_manifest({"tables": found.tables}).tables
    assert (shown.rest, shown.file) == (max(0, frame.height - 20), "table-the-table.parquet")


def test_tables_that_cannot_be_kept_are_told(monkeypatch):
    with pytest.raises(lnb.ReportError, match="a table, which has no unit"):
        lnb.record("t", pl.DataFrame(), unit="s")
    with pytest.raises(lnb.ReportError, match="column of Python objects"):
        lnb.record("t", pl.DataFrame({"a": pl.Series([object()], dtype=pl.Object)}))
    monkeypatch.setattr("lepton_nb.reports.record.MOST_TABLE_BYTES", 7)
    with pytest.raises(lnb.ReportError, match="has 8 bytes; record at most 7"):
        lnb.record("t", pa.table({"a": [1]}))


def test_a_record_cannot_name_a_file_of_somebody_else(records):
    mine = records.with_name("mine.parquet")
    mine.write_bytes(b"1")
    line = {"name": "t", "table": {"columns": [], "rows": 0, "head": [], "part": "../" + mine.name}}
    records.write_text(json.dumps(line) + "\n")
    assert collect(records).files() == []
    assert mine.exists()
