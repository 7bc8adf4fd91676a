"""Limits, dates and durations of parameters: read from the cell's text, and held before anything runs."""

from datetime import UTC, date, datetime, timedelta
from typing import Annotated, get_args

import pytest

import lepton_nb as lnb
from lepton_nb.errors import ReportError
from lepton_nb.reports.parameters import check, read_source


def given(annotation, value, *, text=True):
    return check(read_source(f"x: {annotation}"), {"x": value}, text=text)["x"]


def refusal(annotation, value, *, text=True):
    with pytest.raises(ReportError) as caught:
        given(annotation, value, text=text)
    (problem,) = caught.value.problems
    return problem.removeprefix("parameter 'x' ")


@pytest.mark.parametrize(
    ("annotation", "within", "without", "wanted"),
    [
        ("Annotated[int, lnb.Between(1, 31)]", "1", "0", "must be int from 1 to 31, not '0'"),
        ("Annotated[int, lnb.Between(1, 31)]", "31", "32", "must be int from 1 to 31, not '32'"),
        ("Annotated[float, lnb.Between(0, below=1)]", "0", "1", "must be float, at least 0 and below 1, not '1'"),
        ("Annotated[float, lnb.Between(0, below=1)]", "0.9", "nan", "must be float, at least 0 and below 1, not 'nan'"),
        ("Annotated[float, lnb.Between(above=0)]", "inf", "-0.0", "must be float, above 0, not '-0.0'"),
        ("t.Annotated[int, Ge(1), annotated_types.Le(3)]", "3", "4", "must be int, at least 1, at most 3, not '4'"),
        ("Annotated[int, Interval(gt=1, le=3)]", "2", "1", "must be int, above 1 and at most 3, not '1'"),
        ("Annotated[int, Gt(-1), Lt(2)]", "0", "2", "must be int, above -1, below 2, not '2'"),
        ("Annotated[int, MultipleOf(5)]", "-10", "7", "must be int, a multiple of 5, not '7'"),
        ("Annotated[float, MultipleOf(0.1)]", "0.3", "0.35", "must be float, a multiple of 0.1, not '0.35'"),
        ("Annotated[int, Field(ge=1, multiple_of=2, title='x')]", "2", "3", "at least 1, a multiple of 2, not '3'"),
        ("Annotated[int, Field(ge=1), 'days', Doc(x)]", "1", "0", "must be int, at least 1, not '0'"),
        ("Annotated[str, Len(1, 3)]", "abc", "abcd", "must be str, with a length of 1 to 3, not 'abcd'"),
        ("Annotated[str, StringConstraints(pattern='^[A-Z]{2}$')]", "UA", "U", "the pattern ^[A-Z]{2}$, not 'U'"),
        ("Annotated[list[int], MinLen(1)]", "[1]", "[]", "with a length of at least 1, not '[]'"),
        ("list[Annotated[int, Le(3)]]", "[3]", "[3, 4]", "item 1 must be int, at most 3, not 4 (int)"),
        ("PositiveInt", "1", "0", "must be int, above 0, not '0'"),
        ("pydantic.NonNegativeFloat | None", "0", "-1", "must be float, at least 0 or None, not '-1'"),
        ("Annotated[int | None, Between(1)]", "null", "0", "must be int, at least 1 or None, not '0'"),
        ("'Annotated[int, Between(1)]'", "1", "0", "must be int, at least 1, not '0'"),
        ("date", "2013-06-24", "2013-02-30", "must be date such as 2013-06-24, not '2013-02-30' (day"),
        ("datetime.date", "2013-06-24", "soon", "must be date such as 2013-06-24, not 'soon'"),
        ("Annotated[date, Between('2013-01-01', date(2013, 12, 31))]", "2013-12-31", "2014-01-01",
         "must be date from 2013-01-01 to 2013-12-31, not '2014-01-01'"),
        ("datetime", "2013-06-24 06:00", "six", "must be datetime such as 2013-06-24 06:00, not 'six'"),
        ("Annotated[datetime, Ge(datetime(2013, 1, 1, tzinfo=UTC))]", "2013-01-01T00:00", "2013-01-01T00:00+01:00",
         "must be datetime, at least 2013-01-01 00:00+00:00, not"),
        ("timedelta", "1h30m", "1mo", "must be timedelta such as 6h, not '1mo'; write whole numbers with a unit"),
        ("Annotated[timedelta, Le(timedelta(hours=6))]", "6h", "7h", "must be timedelta, at most 6:00:00, not '7h'"),
        ("lnb.Duration", "1mo", "six", "must be duration such as 6h, not 'six'; write whole numbers with a unit"),
        ("Annotated[lnb.Duration, lnb.Between('1h', '7d')]", "60m", "59m", "must be duration from 1h to 7d, not '59m'"),
        ("Annotated[lnb.Duration, lnb.Between(above='0s')]", "6h", "1mo", "must be in weeks, days or less"),
        ("lnb.Duration | None", "none", "six", "must be duration such as 6h or None, not 'six'"),
    ],
)  # fmt: skip
def test_text_within_limits_is_taken_and_other_text_refused_with_what_is_wanted(annotation, within, without, wanted):
    given(annotation, within)
    assert wanted in refusal(annotation, without)


@pytest.mark.parametrize(
    ("annotation", "value", "expected"),
    [
        ("date", "2013-06-24", date(2013, 6, 24)),
        ("date", date(2013, 6, 24), date(2013, 6, 24)),
        ("datetime", "2013-06-24 06:00+00:00", datetime(2013, 6, 24, 6, tzinfo=UTC)),
        ("timedelta", timedelta(hours=6), timedelta(hours=6)),
        ("timedelta", "90m", timedelta(minutes=90)),
        ("lnb.Duration", timedelta(hours=6), "6h"),
        ("lnb.Duration", " 6h ", "6h"),
        ("list[date]", ["2013-06-24"], [date(2013, 6, 24)]),
        ("Annotated[float, Between(0, 1)]", 1, 1.0),
    ],
)
def test_values_of_python(annotation, value, expected):
    found = given(annotation, value, text=False)
    assert found == expected
    assert type(found) is type(expected)


@pytest.mark.parametrize(
    ("annotation", "value", "wanted"),
    [
        ("date", datetime(2013, 6, 24), "must be date"),
        ("datetime", date(2013, 6, 24), "must be datetime"),
        ("lnb.Duration", 6, "must be duration such as 6h, not 6 (int)"),
        ("timedelta", 6, "must be timedelta such as 6h, not 6 (int)"),
        ("timedelta", "1ns", "must be whole microseconds"),
        ("Annotated[int, Between(1, 2)]", 3, "must be int from 1 to 2, not 3 (int)"),
    ],
)
def test_other_values_of_python(annotation, value, wanted):
    assert wanted in refusal(annotation, value, text=False)


@pytest.mark.parametrize(
    ("annotation", "fault"),
    [
        (
            "Annotated[int, Between(1, MOST)]",
            "the limits of Between(1, MOST) are not written out; write numbers or text",
        ),
        ("Annotated[int, Between(3, 1)]", "no value is from 3 to 1: the first end must be the smaller one"),
        ("Annotated[int, Between(above=1, below=1)]", "no value is above 1 and below 1"),
        ("Annotated[int, Between()]", "Between needs an end: lnb.Between(1, 31)"),
        ("Annotated[int, Between(1, above=1)]", "Between has two ends for one side; give least= or above="),
        ("Annotated[int, Between(1, 2, 3)]", "cannot be read as limits; write lnb.Between(1, 31)"),
        ("Annotated[int, Between('a')]", "the limit 'a' must be int"),
        ("Annotated[str, Between(1, 2)]", "str cannot be from 1 to 2; int, float, date"),
        ("Annotated[bool, Between(0, 1)]", "bool cannot be from 0 to 1"),
        ("Annotated[lnb.Duration, Between('1mo')]", "must be in weeks, days or less"),
        ("Annotated[date, Between(date(2013, 2, 30))]", "are not written out"),
        ("Annotated[int, Len(1)]", "int has no length; text, lists and dicts have"),
        ("Annotated[str, MultipleOf(2)]", "str cannot be a multiple of 2; numbers can"),
        ("Annotated[str, Field(pattern='(')]", "'(' is no pattern"),
        ("Annotated[Path, Between(1)]", "annotation Path is none of int, float"),
    ],
)
def test_limits_that_cannot_be_are_told(annotation, fault):
    problem = refusal(annotation, "1")
    assert fault in problem
    assert "change the annotation in the parameters cell" in problem


def test_a_default_outside_of_its_own_limits_is_told_unless_another_value_is_given():
    declared = read_source("x: Annotated[int, Between(1, 3)] = 5")
    assert check(declared, {"x": 2}) == {"x": 2}
    with pytest.raises(ReportError, match="'x' default must be int from 1 to 3, not 5 .int.; correct it in the"):
        check(declared, {})


def test_defaults_that_are_dates_are_read_without_running():
    source = "a: date = date(2013, 6, 24)\nb: timedelta = datetime.timedelta(hours=6)\nc: date = date.today()"
    assert [one.default for one in read_source(source)] == [date(2013, 6, 24), timedelta(hours=6), None]


def test_the_cell_runs_as_python():
    names = {"Annotated": Annotated, "lnb": lnb, "date": date}
    exec(
        "days: Annotated[int, lnb.Between(1, 31)] = 5\nlong: Annotated[lnb.Duration | None, lnb.Between('1h')] = '6h'",
        names,
    )
    assert get_args(names["__annotations__"]["days"]) == (int, lnb.Between(1, 31))
    assert isinstance("6h", lnb.Duration)


@pytest.mark.parametrize("ends", [{}, {"least": 1, "above": 1}, {"most": 1, "below": 1}])
def test_ends_that_cannot_be(ends):
    with pytest.raises(ReportError, match="lnb.Between|give "):
        lnb.Between(**ends)
