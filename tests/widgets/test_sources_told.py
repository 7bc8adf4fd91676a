"""A source that has nothing for a window panel is told plainly, with what to do."""

import contextlib
import threading
from datetime import UTC, datetime

import polars as pl
import pytest

from lepton_nb.widgets.window_form import FILES, KAFKA
from lepton_nb.widgets.window_panel import WindowPanel

MOMENT = pl.Datetime("us", "UTC")
SOURCES = {
    "empty": pl.DataFrame(schema={"ts": MOMENT, "v": pl.Float64}),
    "nothing": pl.DataFrame(),
    "numbers": pl.DataFrame({"a": [1.0]}),
    "text": pl.DataFrame({"a": [1.0], "when": ["2020-01-01"]}),
    "epoch": pl.DataFrame({"ts": [1_577_836_800_000]}),
    "nulls": pl.DataFrame({"ts": pl.Series([None, None], dtype=MOMENT), "v": [1, 2]}),
    "number": 5,
    "none": None,
    "file": "no such file",
    "rows": [1, 2],
    "no rows": [],
    "other rows": lambda: iter([{"v": 1}]),
}
NO_TIMES = "Time column: no column of the source holds times"


@pytest.fixture
def panel():
    made = WindowPanel(sources=SOURCES)
    yield made
    made.close()


def settled(panel):
    while panel.busy:
        threading.Event().wait(0.01)
    return panel


def started(panel):
    """What the panel tells once Start was clicked: its only fault, or else its status."""
    settled(panel).clear_faults()
    panel._start.click()
    settled(panel)
    if panel.stream is not None:
        with contextlib.suppress(Exception):
            panel.stream.wait(60)
        panel.refresh()
    (fault,) = panel._faults.texts or ("",)
    return fault or panel._status.value


@pytest.mark.parametrize("pace", ["once", "table", 60.0])
@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("empty", "The source holds no rows, so there is nothing to compute: choose another source, or fill it."),
        ("nothing", "the source has no columns; give a table with a column of times"),
        ("numbers", f"{NO_TIMES}, Datetime or Date; add one, and give that table"),
        ("text", "if 'when' is one, parse it: frame.with_columns(pl.col('when').str.to_datetime(time_zone='UTC'))"),
        ("epoch", "if 'ts' is one, say its unit: frame.with_columns(pl.from_epoch('ts', time_unit='ms'))"),
    ],
)
def test_a_table_that_gives_no_windows(panel, name, told, pace):
    panel.choose(name, pace=pace)
    assert told in started(panel)
    # What has no time is told at its field before anything is started.
    mark = panel.form.query._entries["time"].fault.value
    assert ("alert" in mark) is (name != "empty")


@pytest.mark.parametrize(
    ("name", "choices", "told"),
    [
        ("nulls", {"pace": "once"}, "Each of the 2 rows lacks a time or a key"),
        ("nulls", {"pace": 60.0}, "column 'ts' holds nothing but nulls; choose another column, or read all at once"),
        ("number", {}, "Source: a stream reads a source such as sources.files"),
        ("none", {}, "or an iterable of rows, not None"),
        ("file", {}, "there is no file no such file; check the name"),
        ("rows", {}, "rows of an iterable are dicts, frames, or tuples with"),
        ("no rows", {}, "the source ended without a row"),
        ("other rows", {}, "unknown column 'ts'; known: v"),
    ],
)
def test_what_holds_no_usable_rows(panel, name, choices, told):
    panel.choose(name, **choices)
    if name in ("number", "none", "file"):
        # As soon as it is chosen.
        assert told in settled(panel)._faults.texts[-1]
    if not settled(panel).form.query.value("time"):
        panel.form.query.set(time_text="ts")
    assert told in started(panel)


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("empty.csv", "", "Path: the table cannot be read: a file is empty; give one with rows"),
        ("empty.jsonl", "", "Path: the table cannot be read: a file is empty; give one with rows"),
        ("some.csv", "a,b\n1,x\n", f"{NO_TIMES}, Datetime or Date; if 'b' is one"),
        ("bad.parquet", "this is none", "look whether the file is whole, and what its name says"),
        ("list.json", "[1]", "a .json file holds one object a line"),
        ("table.xlsx", "x", "Path: cannot tell what"),
        (".", None, "holds no Parquet, CSV or JSON-lines file"),
    ],
)
def test_files_without_usable_rows(panel, tmp_path, name, content, told):
    if content is not None:
        (tmp_path / name).write_text(content)
    panel.choose(FILES, path=str(tmp_path / name))
    panel.form.read_columns()
    assert told in started(panel)


@pytest.mark.parametrize(
    ("choices", "told"),
    [
        ({"topic": "events"}, "Columns: name the columns of a message"),
        ({"topic": "events", "columns": "v float"}, "Columns: none of them is a time; give one that holds it the type"),
        ({"columns": "ts datetime"}, "Topic: this is needed; for example events"),
        ({"topic": "events", "columns": "ts datetime", "servers": ""}, "Servers: this is needed"),
    ],
)
def test_a_topic_without_what_it_needs(panel, choices, told):
    panel.choose(KAFKA, **choices)
    panel.form.query.set(time_text="ts")
    assert told in started(panel)


def test_columns_that_are_read_while_the_pace_is_changed_are_known():
    asked, go_on = threading.Event(), threading.Event()

    class Slow(dict):
        def __getitem__(self, name):
            asked.set()
            assert go_on.wait(60)
            return super().__getitem__(name)

    panel = WindowPanel(sources=Slow(numbers=SOURCES["numbers"]))
    try:
        assert asked.wait(60)
        panel.choose(pace="once")
        go_on.set()
        settled(panel)
        assert "no column of the source holds times" in panel.form.query._entries["time"].fault.value
    finally:
        go_on.set()
        panel.close()


def test_a_stream_of_rows_says_that_nothing_has_come_yet():
    waiting, done = threading.Event(), threading.Event()

    def rows():
        waiting.set()
        done.wait(60)
        yield {"ts": datetime(2020, 1, 1, tzinfo=UTC)}

    panel = WindowPanel(sources={"slow": rows})
    try:
        settled(panel).form.query.set(time_text="ts")
        panel._start.click()
        settled(panel)
        assert waiting.wait(60)
        panel.refresh()
        assert "Running." in panel._status.value
        assert "Nothing has come yet." in panel._status.value
        done.set()
        panel.wait()
        assert "Nothing has come yet" not in panel._status.value
    finally:
        done.set()
        panel.close()
