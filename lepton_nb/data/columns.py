"""The columns of the example tables: dtype, unit and meaning of each, in the order of the source."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

UTC_TIME = pl.Datetime("us", "UTC")


@dataclass(frozen=True, slots=True)
class Column:
    """One documented column; `unit` is "" where there is none."""

    name: str
    dtype: pl.DataType | type[pl.DataType]
    unit: str
    meaning: str


FLIGHTS = (
    Column("year", pl.Int16, "", "year of the scheduled departure, New York time"),
    Column("month", pl.Int8, "", "month of the scheduled departure, 1 to 12, New York time"),
    Column("day", pl.Int8, "", "day of the month of the scheduled departure, New York time"),
    Column("dep_time", pl.Int16, "hhmm", "actual departure, New York time; null if cancelled"),
    Column("sched_dep_time", pl.Int16, "hhmm", "scheduled departure, New York time"),
    Column("dep_delay", pl.Int16, "min", "departure delay, negative if early; null if cancelled"),
    Column("arr_time", pl.Int16, "hhmm", "actual arrival, time of the destination"),
    Column("sched_arr_time", pl.Int16, "hhmm", "scheduled arrival, time of the destination"),
    Column("arr_delay", pl.Int16, "min", "arrival delay, negative if early; null if cancelled or diverted"),
    Column("carrier", pl.String, "", "carrier, two-letter code; see airlines()"),
    Column("flight", pl.Int16, "", "flight number"),
    Column("tailnum", pl.String, "", "tail number of the aircraft; see planes()"),
    Column("origin", pl.String, "", "airport of departure: EWR, JFK or LGA"),
    Column("dest", pl.String, "", "airport of destination, FAA code; see airports()"),
    Column("air_time", pl.Int16, "min", "time in the air; null if cancelled or diverted"),
    Column("distance", pl.Int16, "mi", "distance between the airports"),
    Column("hour", pl.Int8, "h", "hour of the scheduled departure, New York time"),
    Column("minute", pl.Int8, "min", "minute of the scheduled departure"),
    Column("time_hour", UTC_TIME, "", "scheduled hour of departure, UTC; the key to weather()"),
)
SCHEDULED_DEPARTURE = Column("scheduled_departure", UTC_TIME, "", "scheduled departure, UTC: the event time")

WEATHER = (
    Column("origin", pl.String, "", "airport of the station: EWR, JFK or LGA"),
    Column("year", pl.Int16, "", "year of the reading, New York time"),
    Column("month", pl.Int8, "", "month of the reading, 1 to 12, New York time"),
    Column("day", pl.Int8, "", "day of the month of the reading, New York time"),
    Column("hour", pl.Int8, "h", "hour of the reading, New York time"),
    Column("temp", pl.Float64, "°F", "temperature"),
    Column("dewp", pl.Float64, "°F", "dew point"),
    Column("humid", pl.Float64, "%", "relative humidity"),
    Column("wind_dir", pl.Int16, "°", "direction that the wind comes from"),
    Column("wind_speed", pl.Float64, "mph", "wind speed"),
    Column("wind_gust", pl.Float64, "mph", "wind gust; null if there was none"),
    Column("precip", pl.Float64, "in", "precipitation in the hour"),
    Column("pressure", pl.Float64, "mbar", "pressure at sea level"),
    Column("visib", pl.Float64, "mi", "visibility"),
    Column("time_hour", UTC_TIME, "", "hour of the reading, UTC"),
)

PLANES = (
    Column("tailnum", pl.String, "", "tail number"),
    Column("year", pl.Int16, "", "year of manufacture"),
    Column("type", pl.String, "", "kind of aircraft"),
    Column("manufacturer", pl.String, "", "manufacturer"),
    Column("model", pl.String, "", "model"),
    Column("engines", pl.Int8, "", "number of engines"),
    Column("seats", pl.Int16, "", "number of seats"),
    Column("speed", pl.Int16, "mph", "average cruising speed"),
    Column("engine", pl.String, "", "kind of engine"),
)

AIRPORTS = (
    Column("faa", pl.String, "", "FAA code"),
    Column("name", pl.String, "", "name"),
    Column("lat", pl.Float64, "°", "latitude, north positive"),
    Column("lon", pl.Float64, "°", "longitude, east positive"),
    Column("alt", pl.Int32, "ft", "height above the sea"),
    Column("tz", pl.Float64, "h", "offset of the time zone from UTC, standard time"),
    Column("dst", pl.String, "", "rule of daylight saving: A as in the USA, N none, U unknown"),
    Column("tzone", pl.String, "", "time zone, IANA name"),
)

AIRLINES = (
    Column("carrier", pl.String, "", "carrier, two-letter code"),
    Column("name", pl.String, "", "name"),
)
