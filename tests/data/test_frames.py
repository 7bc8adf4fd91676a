import polars as pl
import pytest
from polars.testing import assert_frame_equal

from lepton_nb.data.frames import eager, lazy, partitions
from lepton_nb.errors import DataError

TABLE = pl.DataFrame({"key": ["a", "b", "a", "c", "b"], "value": [1, 2, 3, 4, 5]})


def as_pandas(folder):
    return TABLE.to_pandas()


def as_arrow(folder):
    return TABLE.to_arrow()


def as_dask(folder):
    import dask.dataframe

    return dask.dataframe.from_pandas(TABLE.to_pandas(), npartitions=2)


def as_parquet(folder):
    TABLE.write_parquet(folder / "t.parquet")
    return folder / "t.parquet"


def as_glob(folder):
    TABLE.head(2).write_parquet(folder / "1.parquet")
    TABLE.tail(3).write_parquet(folder / "2.parquet")
    return str(folder / "*.parquet")


def as_folder(folder):
    as_glob(folder)
    return str(folder)


def as_list(folder):
    as_glob(folder)
    return [folder / "1.parquet", folder / "2.parquet"]


def as_csv(folder):
    TABLE.write_csv(folder / "t.csv")
    return str(folder / "t.csv")


def as_json_lines(folder):
    TABLE.write_ndjson(folder / "t.jsonl")
    return folder / "t.jsonl"


def as_file_url(folder):
    return f"file://{as_parquet(folder)}"


KINDS = [
    lambda folder: TABLE,
    lambda folder: TABLE.lazy(),
    as_pandas,
    as_arrow,
    as_dask,
    as_parquet,
    as_glob,
    as_folder,
    as_list,
    as_csv,
    as_json_lines,
    as_file_url,
]


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_reads_as_the_same_table(kind, tmp_path):
    frame = kind(tmp_path)
    assert_frame_equal(lazy(frame).collect(), TABLE)
    assert_frame_equal(eager(frame), TABLE)
    assert_frame_equal(eager(frame, ["value"]), TABLE.select("value"))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("count", [1, 2, 3, 100])
def test_partitions_hold_every_row_once_in_order(kind, count, tmp_path):
    parts = partitions(kind(tmp_path), count)
    tables = [(part.compute() if hasattr(part, "compute") else part).collect() for part in parts]
    assert_frame_equal(pl.concat(tables), TABLE)


def test_one_parquet_file_is_split_by_rows(tmp_path):
    assert [part.collect().height for part in partitions(as_parquet(tmp_path), 2)] == [2, 3]


def test_a_pandas_index_with_a_name_is_a_column():
    frame = TABLE.to_pandas().set_index("key")
    assert eager(frame).columns == ["key", "value"]


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (42, "cannot read a int as a table; give a Polars"),
        ([], "cannot read a list"),
        ([1, 2], "cannot read a list"),
        ("nowhere/t.parquet", "there is no file nowhere/t.parquet"),
        ("nowhere/*.parquet", "no file matches"),
    ],
)
def test_what_is_no_table_is_refused(frame, message):
    with pytest.raises(DataError, match=message.replace("*", r"\*")):
        lazy(frame)


def test_files_of_unknown_mixed_or_broken_content_are_refused(tmp_path):
    (tmp_path / "t.xlsx").write_bytes(b"")
    with pytest.raises(DataError, match="cannot tell what .*t.xlsx holds"):
        lazy(tmp_path / "t.xlsx")
    with pytest.raises(DataError, match="holds no Parquet"):
        lazy(tmp_path)
    as_parquet(tmp_path)
    as_csv(tmp_path)
    with pytest.raises(DataError, match="cannot mix kinds of file"):
        lazy(tmp_path)
    (tmp_path / "bad.parquet").write_bytes(b"not parquet")
    with pytest.raises(DataError, match="cannot be read"):
        eager(tmp_path / "bad.parquet")
    (tmp_path / "empty.csv").write_bytes(b"")
    with pytest.raises(DataError, match="cannot be read"):
        eager(tmp_path / "empty.csv")


def test_a_missing_column_is_named_with_the_closest():
    with pytest.raises(DataError, match="unknown column 'valu'; did you mean 'value'"):
        eager(TABLE, ["valu"])
    with pytest.raises(DataError, match="unknown column 'valu'"):
        eager(TABLE.lazy(), ["valu"])


def test_no_parts_are_refused():
    with pytest.raises(DataError, match="0 parts"):
        partitions(TABLE, 0)


def test_pandas_columns_of_one_name_are_refused():
    frame = TABLE.to_pandas()
    frame.columns = ["x", "x"]
    with pytest.raises(DataError, match="two columns of the same name"):
        eager(frame)


def with_times_and_dates(folder):
    for number, day in enumerate(["2020-01-01T00:30:00", "2020-01-02", "2020-01-03"]):
        (folder / f"{number}.csv").write_text(f"t,v\n{day},{number}\n")
    return folder


def with_other_keys(folder):
    for number, line in enumerate(['{"t": "a", "v": 1}', '{"v": 2, "t": "b"}', '{"t": "c"}']):
        (folder / f"{number}.jsonl").write_text(line + "\n")
    return folder


@pytest.mark.parametrize("make", [with_times_and_dates, with_other_keys])
def test_a_part_reads_its_files_with_the_types_of_the_whole(make, tmp_path):
    frame = make(tmp_path)
    whole = lazy(frame).collect()
    parts = [part.collect() for part in partitions(frame, 3)]
    assert len(parts) == 3
    assert_frame_equal(pl.concat(parts), whole)


def test_parquet_files_of_two_types_are_refused_in_parts_as_in_the_whole(tmp_path):
    for unit in ("ms", "us"):
        pl.DataFrame({"t": [0]}).cast(pl.Datetime(unit)).write_parquet(tmp_path / f"{unit}.parquet")
    with pytest.raises(DataError, match="column t"):
        eager(tmp_path)
    _, other = partitions(tmp_path, 2)
    with pytest.raises(DataError, match="column t"):
        eager(other)


def test_parts_of_a_relative_path_do_not_depend_on_the_current_folder(tmp_path, monkeypatch):
    as_parquet(tmp_path)
    monkeypatch.chdir(tmp_path)
    (part,) = partitions("t.parquet", 1)
    monkeypatch.chdir("/")
    assert_frame_equal(part.collect(), TABLE)


def test_copies_and_notes_in_a_folder_are_no_data(tmp_path):
    as_glob(tmp_path)
    (tmp_path / ".ipynb_checkpoints").mkdir()
    TABLE.write_parquet(tmp_path / ".ipynb_checkpoints" / "1-checkpoint.parquet")
    TABLE.write_parquet(tmp_path / "_metadata.parquet")
    assert_frame_equal(eager(tmp_path), TABLE)


def test_folders_with_a_key_in_their_name_give_a_column(tmp_path):
    for year in (2013, 2014):
        (tmp_path / f"year={year}").mkdir()
        TABLE.write_parquet(tmp_path / f"year={year}" / "0.parquet")
    expected = pl.concat([TABLE.with_columns(year=pl.lit(year, pl.Int64)) for year in (2013, 2014)])
    assert_frame_equal(eager(tmp_path), expected)
    assert_frame_equal(pl.concat([part.collect() for part in partitions(tmp_path, 2)]), expected)
    assert_frame_equal(pl.concat([part.collect() for part in partitions(tmp_path, 5)]), expected)


def test_a_json_array_is_refused_with_what_is_expected(tmp_path):
    (tmp_path / "t.json").write_text('[{"x": 1}]')
    with pytest.raises(DataError, match="one object a line"):
        eager(tmp_path / "t.json")


def test_a_csv_column_that_becomes_fractional_later_is_read(tmp_path):
    (tmp_path / "t.csv").write_text("x\n" + "1\n" * 500 + "1.5\n")
    assert eager(tmp_path / "t.csv")["x"].dtype == pl.Float64
    (tmp_path / "late.csv").write_text("x\n" + "1\n" * 20_000 + "1.5\n")
    with pytest.raises(DataError, match=r"could not parse .1.5.* read the file with polars.read_csv"):
        eager(tmp_path / "late.csv")


def test_only_dates_with_the_year_first_are_taken_for_dates(tmp_path):
    (tmp_path / "t.csv").write_text("iso,both\n,1/2/2024\n2024-01-02,1/3/2024\n")
    table = eager(tmp_path / "t.csv")
    assert table.schema == {"iso": pl.Date, "both": pl.String}
    (part,) = partitions(tmp_path / "t.csv", 1)
    assert part.collect_schema() == table.schema
