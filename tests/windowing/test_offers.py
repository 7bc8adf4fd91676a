"""Sources out of plain values, their columns, and the code that makes them."""

import math
from datetime import UTC, date, datetime, timedelta

import polars as pl
import pytest
from polars.testing import assert_frame_equal

import lepton_nb as lnb
from lepton_nb.windowing.choices import AggregateRow, QueryChoices
from lepton_nb.windowing.offers import (
    Example,
    FilesChoice,
    KafkaChoice,
    NamedChoice,
    examples,
    paced,
    program,
    speed_for,
)
from lepton_nb.windowing.sources.file_source import FileSource
from lepton_nb.windowing.sources.kafka_source import KafkaSource
from lepton_nb.windowing.sources.replays import ReplaySource
from lepton_nb.windowing.sources.tables import TableSource
from lepton_nb.windowing.written import query_code

START = datetime(2020, 1, 1, tzinfo=UTC)
FRAME = pl.DataFrame({"ts": [START + timedelta(minutes=20 * n) for n in range(10)], "key": ["a", "b"] * 5})
QUERY = QueryChoices("ts", ["key"], "tumbling", {"size": "1h"}, aggregates=[AggregateRow(), AggregateRow("max", "ts")])


def run_code(code, **names):
    """What the code's variables hold in the end; its stream is over."""
    exec(code, names)
    names["stream"].wait()
    return names


def test_a_table_given_by_name_is_read_at_once_or_replayed():
    given = {"events": FRAME, "my events": FRAME.to_arrow(), "class": FRAME}
    at_once, replayed = NamedChoice("events", given), NamedChoice("my events", given, 60.0, "ts")
    assert isinstance(at_once.source("ts"), TableSource)
    assert isinstance(replayed.source("ts"), ReplaySource)
    assert replayed.schema().names() == ["ts", "key"]
    assert at_once.code("ts") == "events"
    assert replayed.code("ts") == 'lnb.sources.replay(sources["my events"], time="ts", speed=60)'
    assert (
        NamedChoice("class", given, 1e6).code("ts")
        == 'lnb.sources.replay(sources["class"], time="ts", speed=1_000_000)'
    )


@pytest.mark.parametrize("speed", [None, 1e9, math.inf])
def test_the_code_computes_what_the_choices_do(speed):
    choice = NamedChoice("events", {"events": FRAME}, speed)
    query = QUERY.query(choice.schema())
    code = program(choice, "ts", query_code(query.spec), batch_rows="4")
    ran = run_code(code, events=FRAME)
    assert_frame_equal(ran["stream"].table(), lnb.windows(FRAME, time="ts", key="key").tumbling("1h").agg(
        rows=lnb.count(), max_ts=lnb.max("ts")).collect())  # fmt: skip


def test_files_are_chosen_by_path(tmp_path):
    FRAME.write_parquet(tmp_path / "a.parquet")
    choice = FilesChoice(f" {tmp_path}/*.parquet ")
    assert choice.schema() == FRAME.schema
    assert isinstance(choice.source("ts"), FileSource)
    assert run_code(program(choice, "ts", query_code(QUERY.query().spec)))["stream"].table()["rows"].sum() == 10
    assert FilesChoice("a.csv", follow=True).code("ts") == 'lnb.sources.files("a.csv", follow=True)'
    # A path may also be among what is given by name, and be replayed.
    named = NamedChoice("old", {"old": str(tmp_path)}, 1e9)
    assert named.schema() == FRAME.schema
    assert named.code("ts").startswith(f'lnb.sources.replay("{tmp_path}"')


def test_a_kafka_topic_is_chosen_with_the_types_of_its_columns():
    choice = KafkaChoice("events", "localhost:9092", "ts datetime, key: text ,v float", "latest")
    assert choice.schema() == {"ts": pl.Datetime("us", "UTC"), "key": pl.String, "v": pl.Float64}
    assert isinstance(choice.source("ts"), KafkaSource)
    code = program(choice, "ts", "lnb")
    assert code.startswith("import polars as pl\n\nimport lepton_nb as lnb\n")
    made = eval(choice.code("ts"), {"lnb": lnb, "pl": pl})
    assert isinstance(made, KafkaSource)
    assert repr(made) == repr(choice.source("ts"))


def test_sources_and_rows_keep_their_own_pace():
    source = lnb.sources.table(FRAME)
    given = {"mine": source, "rows": lambda: FRAME.to_dicts()}
    assert NamedChoice("mine", given).source("ts") is source
    assert NamedChoice("mine", given).schema() is None
    assert NamedChoice("rows", given).source("ts").name == "iterate"
    for name in given:
        with pytest.raises(lnb.WindowError, match=f"Source: '{name}' brings its rows at its own pace"):
            NamedChoice(name, given, 10.0).source("ts")


def test_an_example_is_loaded_when_it_is_wanted():
    loaded = []
    given = {"made": Example(lambda: loaded.append(1) or FRAME, "make()")}
    choice = NamedChoice("made", given)
    assert (choice.code("ts"), choice.replayable, loaded) == ("make()", True, [])
    assert choice.schema() == FRAME.schema
    assert loaded
    assert "flights" in examples()


def test_a_replay_takes_about_as_long_as_asked():
    assert speed_for(FRAME, "ts", 60.0) == 180.0
    assert speed_for(FRAME.lazy(), "ts", 7.0) == 1500.0
    days = pl.DataFrame({"day": [date(2020, 1, 1), date(2020, 1, 3)]})
    assert speed_for(days, "day", 3600.0) == 48.0
    assert speed_for(FRAME[:1], "ts", 60.0) > 0
    with pytest.raises(lnb.WindowError, match="'key' is String; choose another column"):
        speed_for(FRAME, "key", 60.0)
    assert paced(NamedChoice("events", {"events": FRAME}), "ts", 60.0).speed == 180.0
    for choice in (NamedChoice("events", {"events": FRAME}, by="key"), NamedChoice("rows", {"rows": FRAME.to_dicts})):
        with pytest.raises(lnb.WindowError, match="Pace: ") as caught:
            paced(choice, "ts", 60.0)
        assert caught.value.field == "pace"


WRONG = {
    "no such name": (NamedChoice("evnts", {"events": FRAME}), "source", "Source: unknown .*; did you mean 'events'?"),
    "no frame": (NamedChoice("five", {"five": 5}), "source", "Source: a stream reads .*not an int"),
    "no pace": (NamedChoice("events", {"events": FRAME}, -1.0), "pace", "Pace: speed is"),
    "no path": (FilesChoice("  "), "path", "Path: give a path"),
    "no topic": (KafkaChoice("", "localhost:9092", "ts datetime"), "topic", "Topic: this is needed"),
    "no servers": (KafkaChoice("events", " ", "ts datetime"), "servers", "Servers: this is needed"),
    "no columns": (KafkaChoice("events", "localhost:9092", " "), "columns", "Columns: name the columns"),
    "no such type": (KafkaChoice("e", "localhost:9092", "ts datetme"), "columns", "Columns: .*mean 'datetime'?"),
    "no time": (KafkaChoice("e", "localhost:9092", "v float"), "columns", "Columns: none of them is a time; give"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_an_error_names_its_field(name):
    choice, field, message = WRONG[name]
    with pytest.raises(lnb.LeptonError, match=message.replace("?", "\\?")) as caught:
        choice.source("ts")
    assert caught.value.field == field


def test_a_missing_file_is_found_when_its_columns_are_asked_for(tmp_path):
    with pytest.raises(lnb.DataError, match="Path: there is no file"):
        FilesChoice(str(tmp_path / "none.parquet")).schema()
