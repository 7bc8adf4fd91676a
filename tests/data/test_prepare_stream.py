import json
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import numpy as np
import polars as pl
import pytest

import lepton_nb as lnb
from lepton_nb.data.prepare import prepare
from lepton_nb.data.prepared_stream import PreparedStream
from lepton_nb.data.transform import NumberColumn
from lepton_nb.errors import DataError
from lepton_nb.training.batches import open_source
from lepton_nb.training.feeds import feed, later_feed

START = datetime(2020, 1, 1, tzinfo=UTC)
ROWS = 1_000


def table(rows=ROWS, **columns):
    rng = np.random.default_rng(0)
    size = rng.normal(10, 3, rows)
    size[rng.random(rows) < 0.1] = np.nan
    base = {
        "when": [START + timedelta(minutes=int(minute)) for minute in rng.integers(0, 700, rows)],
        "size": pl.Series(size, nan_to_null=True),
        "kind": [("red", "green", "blue", None)[i % 4] for i in range(rows)],
        "title": [f"word{i % 7} and word{i % 3}" for i in range(rows)],
        "number": range(rows),
        "late": pl.Series(rng.random(rows)).map_elements(lambda x: None if x < 0.05 else x < 0.3, pl.Boolean),
    }
    return pl.DataFrame(base | columns)


@pytest.fixture
def path(tmp_path):
    frame = table()
    frame[:430].write_parquet(tmp_path / "1.parquet", row_group_size=97)
    frame[430:].write_parquet(tmp_path / "2.parquet", row_group_size=200)
    return str(tmp_path / "*.parquet")


OPTIONS = {"target": "late", "features": ["size", "kind", "number"]}


@pytest.mark.parametrize(
    "split",
    [
        {},
        {"validation": 0.25, "test": 0.1},
        {"validation": START + timedelta(minutes=300), "test": START + timedelta(minutes=500)},
        {"validation": START + timedelta(minutes=300), "test": 0.2},
    ],
)
def test_a_split_by_time_gives_what_it_gives_in_memory(path, split):
    streamed = prepare(path, **OPTIONS, time="when", stream=True, **split)
    held = prepare(table(), **OPTIONS, time="when", **split)
    for column, other in zip(streamed.transform.columns, held.transform.columns, strict=True):
        if isinstance(column, NumberColumn):
            # Sums in another order differ in the last digit.
            np.testing.assert_allclose([column.mean, column.std], [other.mean, other.std], rtol=1e-14)
            column = replace(column, mean=other.mean, std=other.std)
        assert column == other
    for part, expected in zip(streamed, held, strict=True):
        found = part.collect()
        assert (len(part), part.left_out, part.feature_names) == (
            len(expected),
            expected.left_out,
            expected.feature_names,
        )
        # A part in memory is in the order of time, a streamed one in that of the files.
        order, other = (rows["number"].arg_sort() for rows in (found.rows, expected.rows))
        np.testing.assert_allclose(found.features[order], expected.features[other], rtol=1e-6)
        np.testing.assert_array_equal(found.target_values[order], expected.target_values[other])


@pytest.mark.parametrize("unit", ["ms", "us", "ns"])
def test_files_may_keep_time_in_other_units(tmp_path, unit):
    frame = table()
    frame[:430].write_parquet(tmp_path / "1.parquet")
    frame[430:].with_columns(pl.col("when").dt.cast_time_unit(unit)).write_parquet(tmp_path / "2.parquet")
    streamed = prepare([tmp_path / "1.parquet", tmp_path / "2.parquet"], **OPTIONS, time="when", stream=True)
    assert [len(part) for part in streamed] == [len(part) for part in prepare(frame, **OPTIONS, time="when")]


@pytest.mark.parametrize("times", [range(ROWS), [date(2020, 1, 1) + timedelta(days=i) for i in range(ROWS)]])
def test_numbers_and_dates_split_too(tmp_path, times):
    frame = table(when=times)
    frame.write_parquet(tmp_path / "rows.parquet", row_group_size=100)
    streamed = prepare(str(tmp_path / "rows.parquet"), **OPTIONS, time="when", stream=True)
    for part, expected in zip(streamed, prepare(frame, **OPTIONS, time="when"), strict=True):
        np.testing.assert_allclose(part.collect().features, expected.features, rtol=1e-5)


def test_a_random_split_follows_the_seed_and_loses_no_row(path):
    known = table().filter(pl.col("late").is_not_null())["number"].to_list()
    drawn = []
    for seed in (1, 1, 2):
        parts = prepare(path, **OPTIONS, seed=seed, stream=True)
        assert sum(map(len, parts)) == len(known) == ROWS - parts.train.left_out
        assert abs(len(parts.test) - 0.2 * len(known)) <= 1
        assert abs(len(parts.validation) - 0.1 * len(known)) <= 1
        rows = [part.collect().rows["number"].to_list() for part in parts]
        assert sorted(number for part in rows for number in part) == known
        assert [len(part) for part in rows] == [len(part) for part in parts]
        drawn.append(rows)
    assert drawn[0] == drawn[1] != drawn[2]


def test_a_random_split_is_fitted_on_its_training_part(path):
    streamed = prepare(path, **OPTIONS, stream=True, clip_sigmas=None)
    values = streamed.train.collect().rows["size"].drop_nulls()
    size = streamed.transform.columns[0]
    assert (size.median, size.flag_missing) == (values.median(), True)
    np.testing.assert_allclose([size.mean, size.std], [values.mean(), values.std(ddof=0)], rtol=1e-12)


def test_text_is_streamed_too(path):
    streamed = prepare(path, target="late", time="when", text="title", tokens=4, vocabulary=6, stream=True)
    held = prepare(table(), target="late", time="when", text="title", tokens=4, vocabulary=6)
    assert streamed.transform == held.transform
    assert streamed.train.collect().features.shape == (len(held.train), 4)


def test_row_groups_without_a_usable_row_are_passed_over(tmp_path):
    late = [None] * 100 + [True, False] * 50 + [None] * 100
    frame = table(rows=300, late=late)
    frame.write_parquet(tmp_path / "rows.parquet", row_group_size=50)
    for time in (None, "when"):
        parts = prepare(str(tmp_path / "rows.parquet"), **OPTIONS, time=time, stream=True)
        assert sum(map(len, parts)) == 100
        assert parts.train.left_out == 200


def test_a_part_comes_back_from_its_values(path):
    for time in (None, "when"):
        part = prepare(path, **OPTIONS, time=time, stream=True).validation
        back = PreparedStream.from_values(json.loads(json.dumps(part.values())))
        assert back == part
        np.testing.assert_array_equal(back.collect().features, part.collect().features)


@pytest.mark.parametrize("time", [None, "when"])
def test_ranks_prepare_the_rows_they_learn_from(path, tmp_path, time):
    parts = prepare(path, **OPTIONS, time=time, stream=True)
    train = feed(parts.train, None, "float32")
    assert train.note == f"streamed from Parquet, as it was prepared: {len(parts.train):,} rows"
    validation = later_feed(train.reader, parts.validation)
    for arrays in (train.arrays, validation.arrays):
        for name, array in arrays.items():
            np.save(tmp_path / f"{name}.npy", array)
    expected = parts.train.collect()
    source = open_source(tmp_path, "train")
    assert (len(source), source.shape) == (len(expected), (len(parts.transform.feature_names),))
    shares = [batch for rank in range(3) for batch in source.batches(0, 0, 64, 0, rank, 3)]
    features = np.concatenate([share.features for share in shares])
    assert sorted(map(tuple, features)) == sorted(map(tuple, expected.features))
    np.testing.assert_array_equal(source.head(len(source))[1], expected.target_values)
    pieces = [piece for piece, _ in open_source(tmp_path, "validation").pieces(0, 1, 50)]
    np.testing.assert_array_equal(np.concatenate(pieces), parts.validation.collect().features)


def test_later_rows_must_be_of_the_same_preparation(path):
    parts = prepare(path, **OPTIONS, stream=True)
    reader = feed(parts.train, "late", "float32").reader
    with pytest.raises(lnb.TrainingError, match="standardised with other figures"):
        later_feed(reader, prepare(path, **OPTIONS, seed=5, stream=True).validation)
    with pytest.raises(lnb.TrainingError, match="but the data was prepared for 'late'"):
        feed(parts.train, "size", "float32")
    for make in (lambda: feed(parts, None, "float32"), lambda: later_feed(reader, parts)):
        with pytest.raises(lnb.TrainingError, match=r"is all of what lnb.prepare returned"):
            make()
    test = reader.read(parts.test, need_target=True, what="the test data")
    np.testing.assert_array_equal(test.features, parts.test.collect().features)
    frame = reader.read(parts.test.collect().rows, need_target=True, what="the test data")
    np.testing.assert_array_equal(test.features, frame.features)


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        ({}, {"target": "lat"}, "did you mean 'late'"),
        ({}, {"features": ["sise"]}, "did you mean 'size'"),
        ({}, {"target": "kind", "features": ["size"]}, "the target 'kind' is String"),
        ({"late": pl.Series([None] * ROWS, dtype=pl.Boolean)}, {}, "no row has a value of the target 'late'"),
        ({"late": pl.Series([None] * ROWS, dtype=pl.Boolean)}, {"time": None}, "no row has a value of the target"),
        ({"size": pl.Series([None] * ROWS, dtype=pl.Float64)}, {}, "column 'size' has no value in the training part"),
        ({"size": [float("nan")] * ROWS}, {}, "column 'size' has no finite value"),
        ({"kind": pl.Series([None] * ROWS, dtype=pl.String)}, {}, "column 'kind' has no value in the training part"),
        ({"kind": [f"id {i}" for i in range(ROWS)]}, {}, "no value of column 'kind' is in 6 training rows or more"),
        ({}, {"features": ["when"], "time": None}, "column 'when' is Datetime"),
        ({}, {"validation": START, "test": 0.5}, "the training part has no rows"),
        ({}, {"time": "title"}, "the time column 'title' is String"),
        ({}, {"time": None, "test": START}, "name the column with time="),
    ],
)
def test_bad_input_is_refused_with_the_fix(tmp_path, change, options, message):
    table(**change).write_parquet(tmp_path / "rows.parquet", row_group_size=100)
    with pytest.raises(DataError, match=message):
        prepare(str(tmp_path / "rows.parquet"), **{**OPTIONS, "time": "when"} | options, stream=True)


def test_only_parquet_files_with_rows_are_streamed(tmp_path):
    with pytest.raises(DataError, match=r"this is a DataFrame; write it to Parquet"):
        prepare(table(), **OPTIONS, stream=True)
    table().head(0).write_parquet(tmp_path / "rows.parquet")
    with pytest.raises(DataError, match="the table has no rows"):
        prepare(str(tmp_path / "rows.parquet"), **OPTIONS, stream=True)
