"""Tables into files: whole or not at all, never over another file unasked."""

import polars as pl
import pytest
from polars.testing import assert_frame_equal

import lepton_nb as lnb
from lepton_nb.data.saving import save_table

TABLE = pl.DataFrame({"key": ["a", "b"], "n": [1, 2]})


@pytest.mark.parametrize(("ending", "read"), [("parquet", pl.read_parquet), ("CSV", pl.read_csv)])
def test_a_table_is_written_under_its_name_alone(tmp_path, monkeypatch, ending, read):
    monkeypatch.chdir(tmp_path)
    file = save_table(TABLE, f"windows.{ending}")
    assert file == tmp_path / f"windows.{ending}"
    assert_frame_equal(read(file), TABLE)
    assert list(tmp_path.iterdir()) == [file]


def test_a_file_is_only_replaced_when_asked(tmp_path):
    file = save_table(TABLE, tmp_path / "windows.csv")
    with pytest.raises(lnb.DataError, match=r"windows\.csv is there already; give another name"):
        save_table(TABLE[:1], file)
    assert pl.read_csv(file).height == 2
    save_table(TABLE[:1], file, replace=True)
    assert pl.read_csv(file).height == 1
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize(
    ("name", "table", "message"),
    [
        ("windows.xlsx", TABLE, "ends in .parquet or .csv, not "),
        ("", TABLE, "ends in .parquet or .csv"),
        ("folder.csv", TABLE, "is a folder; give a file name in it"),
        ("nowhere/windows.csv", TABLE, "there is no folder .*nowhere"),
        ("lists.csv", TABLE.group_by("key").agg("n"), "no place for column 'n', which is List.*; write Parquet"),
    ],
)
def test_what_cannot_be_written_leaves_nothing(tmp_path, name, table, message):
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(lnb.DataError, match=message):
        save_table(table, f"{tmp_path}/{name}" if name else "")
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
