from datetime import UTC, datetime

import pytest

from lepton_nb.errors import ReportError
from lepton_nb.reports.schedule_times import Cron

NEW_YORK = "America/New_York"


def utc(text):
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def between(expression, after, until, zone="UTC"):
    return [f"{one:%m-%d %H:%M}" for one in Cron(expression, zone).between(utc(after), utc(until))]


def test_a_fixed_hour_that_clocks_skip_is_made_up_for():
    assert between("30 2 * * *", "2026-03-07T00:00", "2026-03-10T00:00", NEW_YORK) == [
        "03-07 07:30", "03-08 07:30", "03-09 06:30",
    ]  # fmt: skip


def test_a_fixed_hour_that_clocks_show_twice_counts_once():
    assert between("30 1 * * *", "2026-10-31T00:00", "2026-11-03T00:00", NEW_YORK) == [
        "10-31 05:30", "11-01 05:30", "11-02 06:30",
    ]  # fmt: skip


def test_half_hours_go_on_in_real_time_while_clocks_change():
    cron = Cron("*/30 * * * *", NEW_YORK)
    assert len(cron.between(utc("2026-11-01T04:00"), utc("2026-11-02T05:00"))) == 50
    assert len(cron.between(utc("2026-03-08T05:00"), utc("2026-03-09T04:00"))) == 46


@pytest.mark.parametrize("day", ["0", "7", "sun", "6-7/7,0", "SUN"])
def test_days_of_the_week_are_crons(day):
    found = Cron(f"0 0 * * {day}").following(utc("2026-11-23T12:00"), 7)
    assert utc("2026-11-29T00:00") in found


def test_where_both_days_are_restricted_either_will_do():
    assert between("0 0 13 * fri", "2026-12-01T00:00", "2026-12-14T00:00") == [
        "12-04 00:00",
        "12-11 00:00",
        "12-13 00:00",
    ]


def test_slots_that_are_rare_are_found_and_old_ones_cost_nothing():
    assert Cron("0 0 29 2 *").following(utc("2096-03-01T00:00")) == [utc("2104-02-29T00:00")]
    assert Cron("0 0 30 2 *").following(utc("2026-01-01T00:00")) == []
    assert Cron("* * * * *").latest(utc("2000-01-01T00:00"), utc("2026-01-01T00:00"), 2) == [
        utc("2025-12-31T23:59"), utc("2026-01-01T00:00"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "expression", ["", "* * *", "60 * * * *", "* * * * fru", "* * * * 5-1", "x * * * *", "*/0 * * * *"]
)
def test_an_expression_that_is_not_valid_is_refused(expression):
    with pytest.raises(ReportError, match="cron expression"):
        Cron(expression)
