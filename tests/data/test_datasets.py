from datetime import UTC, datetime

import polars as pl
import pytest

from lepton_nb.data import datasets
from lepton_nb.errors import DataError


def test_the_flights_are_all_there_with_a_utc_event_time():
    flights = datasets.flights()
    assert flights.height == 336_776
    assert flights.schema["scheduled_departure"] == pl.Datetime("us", "UTC")
    assert flights["scheduled_departure"].null_count() == 0
    # The first row of the source: scheduled at 5:15 on 1 January in New York, which is UTC-5 then.
    assert flights["scheduled_departure"][0] == datetime(2013, 1, 1, 10, 15, tzinfo=UTC)


def test_the_event_time_is_the_scheduled_time_in_new_york_on_every_row():
    local = pl.col("scheduled_departure").dt.convert_time_zone("America/New_York")
    wrong = datasets.flights().filter(
        (local.dt.hour().cast(pl.Int16) * 100 + local.dt.minute() != pl.col("sched_dep_time"))
        | (local.dt.month() != pl.col("month"))
        | (local.dt.day() != pl.col("day"))
    )
    assert wrong.height == 0


def test_known_figures_of_the_source():
    # Published with the data: 8,255 flights without a departure, a mean departure delay of 12.64 minutes.
    flights = datasets.flights()
    assert flights["dep_time"].null_count() == 8_255
    assert flights["dep_delay"].mean() == pytest.approx(12.639, abs=5e-4)
    assert flights["carrier"].n_unique() == 16
    assert set(flights["origin"].unique()) == {"EWR", "JFK", "LGA"}


def test_joins_add_columns_and_no_rows():
    flights = datasets.flights(join=("weather", "planes"))
    assert flights.height == 336_776
    assert flights.select(datasets.flights().columns).equals(datasets.flights())
    assert flights.filter(pl.col("weather_temp").is_null() & pl.col("weather_pressure").is_null()).height == 1_573
    assert flights["plane_type"].null_count() == 52_606
    first = flights.row(0, named=True)
    reading = datasets.weather().filter(
        (pl.col("origin") == first["origin"]) & (pl.col("time_hour") == first["time_hour"])
    )
    assert first["weather_wind_speed"] == reading["wind_speed"][0]


def test_an_unknown_join_or_dataset_is_named_with_the_closest():
    with pytest.raises(DataError, match="unknown table to join 'plane'; did you mean 'planes'"):
        datasets.flights(join=["plane"])
    with pytest.raises(DataError, match="unknown dataset 'flight'; did you mean 'flights'"):
        datasets.describe("flight")


@pytest.mark.parametrize("name", ["flights", "weather", "planes", "airports", "airlines"])
def test_every_column_is_described_with_the_type_that_it_has(name):
    table = getattr(datasets, name)()
    described = datasets.describe(name)
    assert described["column"].to_list() == table.columns
    assert described["dtype"].to_list() == [str(dtype) for dtype in table.dtypes]
    assert described["meaning"].str.len_chars().min() > 3


def test_what_a_user_does_to_a_table_stays_with_the_user():
    datasets.airlines().insert_column(0, pl.Series("mine", [0] * 16))
    assert datasets.airlines().columns == ["carrier", "name"]
