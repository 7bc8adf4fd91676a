"""`WindowState` against other systems' own test cases, and against the rules, case by case, without a clock."""

import json
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import polars as pl
import pytest
from polars.testing import assert_frame_equal
from scripted import Scripted

import lepton_nb as lnb
from lepton_nb.windowing import WindowState

CONFORMANCE = json.loads(Path(__file__).with_name("conformance.json").read_text())
UNITS = ("ms", "us", "ns")
PER_MS = {"ms": 1, "us": 1_000, "ns": 1_000_000}
COUNT = {"count": lnb.count()}
SUM = {"sum": lnb.sum("v")}


def frame_of(rows, unit="ms", zone=None):
    """Rows (key, milliseconds) or (key, milliseconds, value), 1 where there is none."""
    rows = [(*row, 1)[:3] for row in rows]
    frame = pl.DataFrame(rows, schema={"key": pl.String, "ts": pl.Int64, "v": pl.Int64}, orient="row")
    return frame.with_columns((pl.col("ts") * PER_MS[unit]).cast(pl.Datetime(unit, zone)))


def shaped(case, query):
    lengths = [f"{case[name]}ms" for name in ("size", "every", "gap") if name in case]
    offset = {"offset": f"{case['offset']}ms"} if "offset" in case else {}
    query = getattr(query, case["kind"])(*lengths, **offset).agg(**(COUNT if case.get("aggregate") == "count" else SUM))
    return query.lateness(allowed=f"{case.get('allowed_lateness', 0)}ms")


def emitted(table):
    """Rows with the bounds in whole milliseconds; a window that ends within one has a fraction."""
    flat = table.with_columns(pl.col("window_start", "window_end").dt.epoch("ns") / 1e6)
    return [list(row) for row in flat.rows()]


def late_of(state):
    return [list(row) for row in state.late.select("key", pl.col("ts").dt.epoch("ms")).rows()]


def play(case, unit="ms"):
    """Drive a state through a case's steps; every step says all that it emits, takes back and finds late."""
    query = shaped(case, lnb.windows(time="ts", key="key"))
    state = WindowState(query)
    state.ingest(frame_of([], unit))
    late = []
    for step in case["steps"]:
        if "snapshot_and_restore" in step:
            state = WindowState.restore(query, state.snapshot())
            continue
        if "ingest" in step:
            found = state.ingest(frame_of(step["ingest"], unit))
        elif "finish" in step:
            found = state.finish()
        else:
            found = state.advance(step["watermark"])
        late += step.get("late", [])
        assert emitted(found) == step["emits"], step
        assert emitted(state.retracted) == step.get("retracts", []), step
        assert late_of(state) == late, step
    return state


# Cases of other systems' published tests, beyond those of the file, and of the rules themselves.
MORE = [
    {
        "source": "Flink WindowOperatorTest.testSessionWindows",
        "kind": "session", "gap": 3000,
        "steps": [
            {"ingest": [["key2", 0, 1], ["key2", 1000, 2], ["key2", 2500, 3], ["key1", 10, 1], ["key1", 1000, 2]],
             "emits": []},
            {"snapshot_and_restore": True},
            {"ingest": [["key1", 2500, 3], ["key2", 5501, 4], ["key2", 6000, 5], ["key2", 6000, 5], ["key2", 6050, 6]],
             "emits": []},
            {"watermark": 12000,
             "emits": [["key1", 10, 5500, 6], ["key2", 0, 5500, 6], ["key2", 5501, 9050, 20]]},
            {"ingest": [["key2", 15000, 10], ["key2", 15000, 20]], "emits": []},
            {"watermark": 17999, "emits": [["key2", 15000, 18000, 30]]},
        ],
    },
    {
        "source": "Flink WindowOperatorTest.testDropDueToLatenessSessionZeroLateness",
        "kind": "session", "gap": 3000,
        "steps": [
            {"ingest": [["key2", 1000]], "emits": []},
            {"watermark": 1999, "emits": []},
            {"ingest": [["key2", 2000]], "emits": []},
            {"watermark": 4998, "emits": []},
            {"ingest": [["key2", 4500]], "emits": []},
            {"ingest": [["key2", 8500]], "emits": []},
            {"watermark": 7400, "emits": []},
            {"ingest": [["key2", 7000]], "emits": []},
            {"watermark": 11501, "emits": [["key2", 1000, 11500, 5]]},
            {"ingest": [["key2", 11600]], "emits": []},
            {"watermark": 14600, "emits": [["key2", 11600, 14600, 1]]},
            {"snapshot_and_restore": True},
            {"ingest": [["key2", 10000]], "emits": [], "late": [["key2", 10000]]},
            {"ingest": [["key2", 10100]], "emits": [], "late": [["key2", 10100]]},
            {"ingest": [["key2", 14500]], "emits": []},
            {"watermark": 20000, "emits": [["key2", 14500, 17500, 1]]},
            {"watermark": 100000, "emits": []},
        ],
    },
    {
        "source": "Flink WindowOperatorTest.testDropDueToLatenessSessionWithLateness, with what it takes back",
        "kind": "session", "gap": 3000, "allowed_lateness": 10,
        "steps": [
            {"ingest": [["key2", 1000]], "emits": []},
            {"watermark": 1999, "emits": []},
            {"ingest": [["key2", 2000], ["key2", 4500], ["key2", 8500]], "emits": []},
            {"watermark": 7400, "emits": []},
            {"ingest": [["key2", 7000]], "emits": []},
            {"watermark": 11501, "emits": [["key2", 1000, 11500, 5]]},
            {"ingest": [["key2", 11600]], "emits": []},
            {"watermark": 14600, "emits": [["key2", 11600, 14600, 1]]},
            {"ingest": [["key2", 10000]], "emits": [["key2", 10000, 14600, 2]], "retracts": [["key2", 11600, 14600]]},
            {"snapshot_and_restore": True},
            {"ingest": [["key2", 14500]], "emits": [], "retracts": [["key2", 10000, 14600]]},
            {"watermark": 20000, "emits": [["key2", 10000, 17500, 3]]},
            {"watermark": 100000, "emits": []},
        ],
    },
    {
        "source": "Flink WindowOperatorTest.testDropDueToLatenessSessionWithHugeLateness, with what it takes back",
        "kind": "session", "gap": 3000, "allowed_lateness": 10000,
        "steps": [
            {"ingest": [["key2", 1000], ["key2", 2000], ["key2", 4500], ["key2", 8500]], "emits": []},
            {"watermark": 7400, "emits": []},
            {"ingest": [["key2", 7000]], "emits": []},
            {"watermark": 11501, "emits": [["key2", 1000, 11500, 5]]},
            {"ingest": [["key2", 11600]], "emits": []},
            {"watermark": 14600, "emits": [["key2", 11600, 14600, 1]]},
            {"ingest": [["key2", 10000]], "emits": [["key2", 1000, 14600, 7]],
             "retracts": [["key2", 1000, 11500], ["key2", 11600, 14600]]},
            {"ingest": [["key2", 14500]], "emits": [], "retracts": [["key2", 1000, 14600]]},
            {"watermark": 20000, "emits": [["key2", 1000, 17500, 8]]},
            {"watermark": 100000, "emits": []},
        ],
    },
    {
        "source": "Flink WindowOperatorTest, sliding windows without allowed lateness: late for some windows, not all",
        "kind": "sliding", "size": 3000, "every": 1000,
        "steps": [
            {"ingest": [["key2", 1000]], "emits": []},
            {"watermark": 1999, "emits": [["key2", -1000, 2000, 1]]},
            {"ingest": [["key2", 2000]], "emits": []},
            {"watermark": 3000, "emits": [["key2", 0, 3000, 2]]},
            {"ingest": [["key1", 3001], ["key2", 2400], ["key2", 2400], ["key1", 3001], ["key2", 3900]], "emits": []},
            {"watermark": 6000, "emits": [
                ["key1", 1000, 4000, 2], ["key1", 2000, 5000, 2], ["key1", 3000, 6000, 2],
                ["key2", 1000, 4000, 5], ["key2", 2000, 5000, 4], ["key2", 3000, 6000, 1]]},
            {"ingest": [["key1", 3001]], "emits": [], "late": [["key1", 3001]]},
            {"watermark": 25000, "emits": []},
        ],
    },
    {
        "source": "the rule: fires at end - 1 tick, not one tick before",
        "kind": "tumbling", "size": 10,
        "steps": [
            {"ingest": [["a", 0], ["a", 9], ["a", 10]], "emits": []},
            {"watermark": 8, "emits": []},
            {"watermark": 9, "emits": [["a", 0, 10, 2]]},
            {"watermark": 9, "emits": []},
            {"watermark": 5, "emits": []},
            {"ingest": [["a", 9]], "emits": [], "late": [["a", 9]]},
            {"watermark": 18, "emits": []},
            {"watermark": 19, "emits": [["a", 10, 20, 1]]},
        ],
    },
    {
        "source": "the rule: late at end - 1 + allowed, not one tick before",
        "kind": "tumbling", "size": 10, "allowed_lateness": 5,
        "steps": [
            {"ingest": [["a", 3]], "emits": []},
            {"watermark": 13, "emits": [["a", 0, 10, 1]]},
            {"ingest": [["a", 4], ["b", 5]], "emits": [["a", 0, 10, 2], ["b", 0, 10, 1]]},
            {"snapshot_and_restore": True},
            {"ingest": [["a", 4]], "emits": [["a", 0, 10, 3]]},
            {"watermark": 14, "emits": []},
            {"ingest": [["a", 9], ["a", 10]], "emits": [], "late": [["a", 9]]},
            {"finish": True, "emits": [["a", 10, 20, 1]]},
        ],
    },
    {
        "source": "the rule: sliding, re-fired where it has fired, and late only past all of its windows",
        "kind": "sliding", "size": 10, "every": 5, "allowed_lateness": 3,
        "steps": [
            {"ingest": [["a", 6], ["b", 11]], "emits": []},
            {"watermark": 10, "emits": [["a", 0, 10, 1]]},
            {"ingest": [["a", 7]], "emits": [["a", 0, 10, 2]]},
            {"watermark": 12, "emits": []},
            # [0, 10) is past its allowed lateness, [5, 15) is open.
            {"ingest": [["a", 8]], "emits": []},
            {"watermark": 16, "emits": [["a", 5, 15, 3], ["b", 5, 15, 1]]},
            {"ingest": [["a", 9]], "emits": [["a", 5, 15, 4]]},
            {"watermark": 17, "emits": []},
            {"ingest": [["a", 9], ["b", 12]], "emits": [], "late": [["a", 9]]},
            {"finish": True, "emits": [["b", 10, 20, 2]]},
        ],
    },
    {
        "source": "the rule: between windows there is nothing to be late for",
        "kind": "sliding", "size": 3, "every": 10,
        "steps": [
            {"ingest": [["a", 1], ["a", 5], ["a", 11]], "emits": []},
            {"watermark": 20, "emits": [["a", 0, 3, 1], ["a", 10, 13, 1]]},
            {"ingest": [["a", 5], ["a", 11], ["a", 22]], "emits": [], "late": [["a", 11]]},
            {"finish": True, "emits": [["a", 20, 23, 1]]},
        ],
    },
    {
        "source": "the rule: a gap of exactly the gap still merges, one tick more does not",
        "kind": "session", "gap": 10,
        "steps": [
            {"ingest": [["a", 0], ["a", 10], ["a", 21]], "emits": []},
            {"watermark": 18, "emits": []},
            {"watermark": 19, "emits": [["a", 0, 20, 2]]},
            {"watermark": 30, "emits": [["a", 21, 31, 1]]},
        ],
    },
    {
        "source": "the rule: a row exactly the gap after a session that was just given takes it back",
        "kind": "session", "gap": 10,
        "steps": [
            {"ingest": [["a", 0], ["a", 10], ["b", 0], ["b", 10]], "emits": []},
            {"watermark": 19, "emits": [["a", 0, 20, 2], ["b", 0, 20, 2]]},
            {"snapshot_and_restore": True},
            {"ingest": [["a", 20]], "emits": [], "retracts": [["a", 0, 20]]},
            {"ingest": [["b", 5]], "emits": [], "late": [["b", 5]]},
            {"watermark": 20, "emits": []},
            {"ingest": [["b", 20]], "emits": []},
            {"watermark": 29, "emits": [["a", 0, 30, 3], ["b", 20, 30, 1]]},
        ],
    },
    {
        "source": "the rule: two sessions that were given become one",
        "kind": "session", "gap": 5, "allowed_lateness": 20,
        "steps": [
            {"ingest": [["a", 0, 1], ["a", 8, 2], ["b", 0, 7]], "emits": []},
            {"watermark": 15, "emits": [["a", 0, 5, 1], ["a", 8, 13, 2], ["b", 0, 5, 7]]},
            {"ingest": [["a", 4, 4]], "emits": [["a", 0, 13, 7]], "retracts": [["a", 0, 5], ["a", 8, 13]]},
            {"snapshot_and_restore": True},
            # Inside of it: the same bounds, new values.
            {"ingest": [["a", 6, 8]], "emits": [["a", 0, 13, 15]]},
            # Reaches beyond the watermark: taken back, and given when it ends.
            {"ingest": [["a", 12, 16]], "emits": [], "retracts": [["a", 0, 13]]},
            {"watermark": 16, "emits": [["a", 0, 17, 31]]},
            # A late session of its own.
            {"ingest": [["c", 1, 5]], "emits": [["c", 1, 6, 5]]},
            {"watermark": 24, "emits": []},
            {"ingest": [["b", 0, 1], ["c", 0, 1]], "emits": [["c", 0, 6, 6]], "retracts": [["c", 1, 6]],
             "late": [["b", 0]]},
        ],
    },
    {
        "source": "the rule: rows of one batch merge before they are tested",
        "kind": "session", "gap": 5,
        "steps": [
            {"ingest": [["a", 30]], "emits": []},
            {"watermark": 20, "emits": []},
            {"ingest": [["a", 14], ["a", 18]], "emits": []},
            {"ingest": [["b", 15], ["b", 10], ["b", 21]], "emits": [], "late": [["b", 15], ["b", 10]]},
            {"watermark": 22, "emits": [["a", 14, 23, 2]]},
            {"finish": True, "emits": [["a", 30, 35, 1], ["b", 21, 26, 1]]},
        ],
    },
    {
        "source": "the rule: a cumulating window comes from the first one on that holds a row",
        "kind": "cumulating", "size": 10, "every": 5, "allowed_lateness": 2,
        "steps": [
            {"ingest": [["a", 1], ["b", 6]], "emits": []},
            {"watermark": 4, "emits": [["a", 0, 5, 1]]},
            {"ingest": [["b", 2]], "emits": [["b", 0, 5, 1]]},
            {"watermark": 6, "emits": []},
            # Late for [0, 5), in time for [0, 10).
            {"ingest": [["a", 3]], "emits": []},
            {"watermark": 9, "emits": [["a", 0, 10, 2], ["b", 0, 10, 2]]},
            {"ingest": [["b", 0]], "emits": [["b", 0, 10, 3]]},
            {"watermark": 11, "emits": []},
            {"ingest": [["b", 9]], "emits": [], "late": [["b", 9]]},
        ],
    },
    {
        "source": "the rule: times before 1970",
        "kind": "tumbling", "size": 10, "offset": 3,
        "steps": [
            {"ingest": [["a", -1], ["a", -8], ["a", -7], ["a", 2]], "emits": []},
            {"watermark": -9, "emits": []},
            {"watermark": -8, "emits": [["a", -17, -7, 1]]},
            {"watermark": 2, "emits": [["a", -7, 3, 3]]},
            {"ingest": [["a", -100]], "emits": [], "late": [["a", -100]]},
        ],
    },
]  # fmt: skip


@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize("case", [*CONFORMANCE["stream"], *MORE], ids=lambda case: case["source"].partition(",")[0])
def test_a_state_emits_what_others_do(case, unit):
    play(case, unit)


MERGED_ONE_BY_ONE = [
    {"ingest": [["a", 30]]},
    {"watermark": 20},
    {"ingest": [["a", 14], ["a", 18]], "late": [["a", 14]]},
    {"ingest": [["b", 15], ["b", 10], ["b", 21]], "late": [["b", 15], ["b", 10]]},
    {"watermark": 22, "emits": [["a", 18, 23, 1]]},
    {"finish": True, "emits": [["a", 30, 35, 1], ["b", 21, 26, 1]]},
]


def script_of(case, unit):
    """The case as batches of a source: a watermark is a row of a channel and key of its own, one tick after it."""
    batches, late, windows = [], [], {}
    for step in case["steps"]:
        if "ingest" in step:
            batches.append([("rows", frame_of(step["ingest"], unit))])
        if "watermark" in step:
            # Of sessions the stream's watermark is a tick further behind: a row a gap after one still joins it.
            tick = (step["watermark"] + 1) * PER_MS[unit] + (case["kind"] == "session")
            clock = pl.DataFrame({"key": ["~"], "ts": [tick], "v": [0]}, schema_overrides={"v": pl.Int64})
            batches.append([("clock", clock.with_columns(pl.col("ts").cast(pl.Datetime(unit))))])
        late += step.get("late", [])
        for row in step.get("retracts", []):
            del windows[tuple(row)]
        for row in step.get("emits", []):
            windows[tuple(row[:3])] = row[3]
    return batches, late, windows


@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize("case", [*CONFORMANCE["stream"], *MORE], ids=lambda case: case["source"].partition(",")[0])
def test_a_stream_gives_what_the_steps_give(case, unit):
    if "one batch" in case["source"]:
        # A stream takes its rows one by one, wherever batches end.
        case = {**case, "steps": MERGED_ONE_BY_ONE}
    batches, late, windows = script_of(case, unit)
    query = shaped(case, lnb.windows(time="ts", key="key"))
    # The channel of the rows does not hold back the watermark, nor move it.
    run = query.stream(Scripted(batches, channels=("rows", "clock"), finished={"rows": 0}))
    run.wait()
    found = {tuple(row[:3]): row[3] for row in emitted(run.table().filter(pl.col("key") != "~"))}
    # What is open at the end is then given too.
    assert {window: found[window] for window in windows} == windows
    found_late = run.late().filter(pl.col("key") != "~").select("key", pl.col("ts").dt.epoch("ms"))
    assert [list(row) for row in found_late.rows()] == late


@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize("case", CONFORMANCE["assign"], ids=lambda case: case["source"])
def test_windows_hold_what_others_assign(case, unit):
    for time, expected in case["cases"]:
        starts = expected if isinstance(expected, list) else [expected]
        data = frame_of([("a", time)], unit)
        right = [["a", start, start + case["size"], 1] for start in starts]
        assert emitted(shaped(case, lnb.windows(data, time="ts", key="key")).collect()) == right
        state = WindowState(shaped(case, lnb.windows(time="ts", key="key")))
        assert emitted(state.ingest(data)) == []
        assert emitted(state.advance(starts[0] + case["size"] - 2)) == []
        given = [row for start in starts for row in emitted(state.advance(start + case["size"] - 1))]
        assert given == right


@pytest.mark.parametrize("case", CONFORMANCE["reject"], ids=lambda case: case["source"])
def test_what_others_reject_is_rejected(case):
    with pytest.raises(lnb.WindowError, match="offset"):
        shaped(case, lnb.windows(time="ts", key="key"))


@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize("way", ["table", "state", "stream"])
@pytest.mark.parametrize("case", CONFORMANCE["batch"], ids=lambda case: case["source"].partition(",")[0])
def test_published_tables(case, way, unit):
    minute = 60_000
    data = frame_of([("a", at * minute, price) for at, price in case["rows"]], unit).drop("key")
    for kind in ("tumbling", "sliding", "cumulating"):
        shape = {"kind": kind, **{name: case[kind][name] * minute for name in ("size", "every") if name in case[kind]}}
        query = shaped(shape, lnb.windows(data, time="ts"))
        if way == "table":
            table = query.collect()
        elif way == "stream":
            run = query.stream(batch_rows=2)
            run.wait()
            table = run.table()
        else:
            state = WindowState(query)
            given = [state.ingest(data[at : at + 1]) for at in range(data.height)]
            table = pl.concat([*given, state.finish()])
        found = [[start // minute, end // minute, total] for start, end, total in emitted(table)]
        if "result" in case[kind]:
            assert found == case[kind]["result"]
        else:
            assert found[: len(case[kind]["starts_with"])] == case[kind]["starts_with"]


def test_a_watermark_is_a_time_or_whole_milliseconds():
    data = frame_of([("a", 0)], "us")
    query = lnb.windows(time="ts", key="key").tumbling("10s").agg(**COUNT)
    end = datetime(1970, 1, 1, 0, 0, 10)

    def fires(watermark):
        state = WindowState(query)
        state.ingest(data)
        return state.advance(watermark).height == 1

    tick = timedelta(microseconds=1)
    assert fires(end - tick)
    assert not fires(end - 2 * tick)
    # Milliseconds stand for all of themselves: the last microsecond of 9.999 is the window's last tick.
    assert fires(9_999)
    assert not fires(9_998)
    assert fires((end - tick).replace(tzinfo=UTC))
    assert fires(end.replace(tzinfo=UTC).astimezone(ZoneInfo("Asia/Tokyo")))
    assert not fires(end.replace(tzinfo=ZoneInfo("Asia/Tokyo")))
    assert fires(date(1970, 1, 2))
    assert not fires(date(1970, 1, 1))
    for wrong in ("10s", 9.5, True, None):
        with pytest.raises(lnb.WindowError, match="a watermark is a datetime or a whole number of milliseconds"):
            fires(wrong)


@pytest.mark.parametrize("unit", UNITS)
def test_a_microsecond_watermark_meets_every_unit(unit):
    data = frame_of([("a", 0)], unit)
    state = WindowState(lnb.windows(time="ts", key="key").tumbling("1s").agg(**COUNT))
    state.ingest(data)
    # Within the last millisecond, before its end: on a millisecond column its tick has begun, and is not over.
    assert state.advance(datetime(1970, 1, 1, 0, 0, 0, 998_999)).height == 0
    assert state.advance(datetime(1970, 1, 1, 0, 0, 0, 999_999)).height == 1


def test_date_columns():
    days = [date(2024, 2, 28), date(2024, 2, 29), date(2024, 3, 1), None]
    data = pl.DataFrame({"day": days, "v": [1, 2, 4, 8]})
    state = WindowState(lnb.windows(time="day").tumbling("2d").agg(v=lnb.sum("v")))
    assert state.ingest(data).height == 0
    assert state.aside["v"].to_list() == [8]
    # Windows of two days, from the epoch on: the 27th and 28th of February, the 29th and 1st of March.
    assert state.advance(date(2024, 2, 27)).height == 0
    assert state.advance(date(2024, 2, 28)).rows() == [(date(2024, 2, 27), date(2024, 2, 29), 1)]
    assert state.advance(datetime(2024, 2, 29, 23)).height == 0
    assert state.advance(datetime(2024, 3, 1)).rows() == [(date(2024, 2, 29), date(2024, 3, 2), 6)]
    state.ingest(data)
    assert state.late["v"].to_list() == [1, 2, 4]
    months = WindowState(lnb.windows(time="day").tumbling("1mo").agg(v=lnb.sum("v")))
    months.ingest(data)
    assert months.advance(date(2024, 2, 28)).height == 0
    assert months.advance(date(2024, 2, 29)).rows() == [(date(2024, 2, 1), date(2024, 3, 1), 3)]
    assert months.finish().rows() == [(date(2024, 3, 1), date(2024, 4, 1), 4)]


CLOCKS = [
    # zone, a civil day, when it begins and ends in UTC
    ("America/New_York", "2024-03-10T05:00", "2024-03-11T04:00"),
    ("America/New_York", "2024-11-03T04:00", "2024-11-04T05:00"),
    # The clocks jumped over midnight: the day began at one.
    ("America/Sao_Paulo", "2018-11-04T03:00", "2018-11-05T02:00"),
    # Set back at midnight: the day before had its last hour twice.
    ("America/Sao_Paulo", "2018-02-17T02:00", "2018-02-18T03:00"),
    # 29 December ended, and 31 December began.
    ("Pacific/Apia", "2011-12-29T10:00", "2011-12-30T10:00"),
    ("Pacific/Apia", "2011-12-30T10:00", "2011-12-31T10:00"),
    # Set back from 0:01 to 23:01: a minute of 7 November, then 59 minutes that clocks showed as the 6th.
    ("America/St_Johns", "2010-11-06T02:30", "2010-11-07T02:30"),
    ("America/St_Johns", "2010-11-07T02:30", "2010-11-08T03:30"),
]


def instant(text):
    return datetime.fromisoformat(text)


@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize(("zone", "begin", "end"), CLOCKS)
def test_days_of_a_zone_close_with_their_last_tick(zone, begin, end, unit):
    """Every half hour of the days around it: one day's rows, no more, are given as the watermark reaches its end."""
    start, stop = instant(begin), instant(end)
    times = [start + timedelta(minutes=15 * n) for n in range(-200, 300)]
    data = pl.DataFrame({"ts": times}, schema={"ts": pl.Datetime(unit)})
    query = lnb.windows(time="ts").tumbling("1d", tz=zone).agg(**COUNT)
    state = WindowState(query)
    state.ingest(data)
    tick = timedelta(milliseconds=1) if unit == "ms" else timedelta(microseconds=1)
    before = state.advance(stop - 2 * tick)
    given = state.advance(stop - tick)
    inside = sum(start <= time < stop for time in times)
    assert given.rows() == [(start, stop, inside)]
    assert before.filter(pl.col("window_end") >= stop).height == 0
    assert before["window_end"].to_list()[-1] == start
    # A late row of that day, and one of the day after, tell the days apart as well.
    state = WindowState.restore(query, state.snapshot())
    state.ingest(pl.DataFrame({"ts": [stop - tick, stop]}, schema={"ts": pl.Datetime(unit)}))
    assert state.late["ts"].to_list() == [stop - tick]
    whole = lnb.windows(data, time="ts").tumbling("1d", tz=zone).agg(**COUNT).collect()
    state = WindowState(query)
    state.ingest(data)
    assert_frame_equal(state.finish(), whole)


@pytest.mark.parametrize(
    ("zone", "middle"),
    [
        ("America/New_York", datetime(2024, 3, 10)),
        ("America/New_York", datetime(2024, 11, 3)),
        ("America/Sao_Paulo", datetime(2018, 11, 4)),
        ("Pacific/Apia", datetime(2011, 12, 30)),
        ("America/St_Johns", datetime(2010, 11, 7)),
    ],
)
def test_days_and_months_of_a_zone_as_the_clock_goes_on(zone, middle):
    """A watermark that walks on closes days, weeks and months as `collect` cuts them, none too early or too late."""
    times = [middle + timedelta(hours=7 * n) for n in range(-120, 120)]
    data = pl.DataFrame({"ts": times}, schema={"ts": pl.Datetime("ms", "UTC")})
    for size, every in (("1d", "1d"), ("3d", "1d"), ("1mo", "1mo"), ("2w", "1w")):
        query = lnb.windows(data, time="ts").sliding(size, every, tz=zone).agg(**COUNT)
        state = WindowState(query)
        state.ingest(data)
        given = []
        for n in range(0, 240, 9):
            some = state.advance(times[n])
            latest = times[n].replace(tzinfo=UTC) + timedelta(milliseconds=1)
            assert (some["window_end"] <= latest).all()
            given.append(some)
            assert (state.early()["window_end"] > latest).all()
        given.append(state.finish())
        assert_frame_equal(pl.concat(given), query.collect())


def test_allowed_lateness_of_a_day_with_25_hours():
    zone = "America/New_York"
    query = lnb.windows(time="ts").tumbling("1d", tz=zone).agg(**COUNT).lateness(allowed="30m")
    end = datetime(2024, 11, 4, 5, tzinfo=UTC)
    one = pl.DataFrame({"ts": [end - timedelta(hours=24, minutes=30)]}, schema={"ts": pl.Datetime("us", "UTC")})
    state = WindowState(query)
    state.ingest(one)
    assert state.advance(end).height == 1
    assert state.ingest(one)["count"].to_list() == [2]
    state.advance(end + timedelta(minutes=30, microseconds=-2))
    assert state.ingest(one)["count"].to_list() == [3]
    state.advance(end + timedelta(minutes=30, microseconds=-1))
    assert state.ingest(one).height == 0
    assert state.late.height == 1


def test_rolling_windows_come_again_for_rows_within_their_reach():
    query = lnb.windows(time="ts", key="key").rolling("5ms").agg(**COUNT).lateness(allowed="3ms")
    state = WindowState(query)
    state.ingest(frame_of([("a", 10), ("a", 12), ("a", 12), ("b", 12)]))
    assert emitted(state.advance(13)) == [["a", 6, 11, 1], ["a", 8, 13, 3], ["a", 8, 13, 3], ["b", 8, 13, 1]]
    # A row at 11 has a result of its own, and changes those of 12.
    assert emitted(state.ingest(frame_of([("a", 11)]))) == [["a", 7, 12, 2], ["a", 8, 13, 4], ["a", 8, 13, 4]]
    # Its own result would be past what is allowed.
    assert state.ingest(frame_of([("a", 10)])).height == 0
    assert late_of(state) == [["a", 10]]
    state = WindowState.restore(query, state.snapshot())
    state.ingest(frame_of([("a", 15)]))
    # (10, 15]: 11, 12, 12, 15.
    assert emitted(state.finish()) == [["a", 11, 16, 4]]


@pytest.mark.parametrize(
    ("shape", "first", "second"),
    [
        (lambda query: query.counting(2), [["a", 1, 5, 3]], [["a", 6, 9, 12]]),
        (
            lambda query: query.rolling(rows=2),
            [["a", 1, 2, 1], ["a", 1, 5, 3]],
            [["a", 4, 7, 6], ["a", 6, 9, 12]],
        ),
        (lambda query: query.counting(2, 1), [["a", 1, 5, 3]], [["a", 4, 7, 6], ["a", 6, 9, 12]]),
    ],
)
def test_windows_of_rows_wait_for_their_order(shape, first, second):
    query = shape(lnb.windows(time="ts", key="key")).agg(**SUM)
    state = WindowState(query)
    assert state.ingest(frame_of([("a", 6, 4), ("a", 1, 1), ("a", 8, 8), ("a", 4, 2)])).height == 0
    assert emitted(state.advance(5)) == first
    state = WindowState.restore(query, state.snapshot())
    state.ingest(frame_of([("a", 5, 100), ("a", 2, 100)]))
    assert late_of(state) == [["a", 5], ["a", 2]]
    assert emitted(state.finish()) == second


def test_early_changes_nothing():
    for shape in (
        lambda q: q.tumbling("10ms"), lambda q: q.session("5ms"), lambda q: q.rolling("5ms"),
        lambda q: q.counting(2), lambda q: q.cumulating("10ms", "5ms"), lambda q: q.sliding("10ms", "5ms"),
    ):  # fmt: skip
        query = shape(lnb.windows(time="ts", key="key")).agg(**SUM)
        state, twin = WindowState(query), WindowState(query)
        rows = frame_of([("a", 1, 1), ("a", 4, 2), ("b", 17, 4), ("a", 12, 8), ("b", 18, 8)])
        for each in (state, twin):
            each.ingest(rows)
            each.advance(11)
        open_now = state.early()
        assert_frame_equal(state.early(), open_now)
        assert_frame_equal(state.finish(), twin.finish())
        assert state.early().height == 0
        # Nothing came after, so what was open is what is given.
        assert_frame_equal(open_now, WindowState.restore(query, twin.snapshot()).early().vstack(open_now))


def test_after_the_end_all_is_late():
    for shape in (lambda q: q.tumbling("10ms"), lambda q: q.session("5ms"), lambda q: q.counting(2)):
        state = WindowState(shape(lnb.windows(time="ts", key="key")).agg(**SUM))
        state.ingest(frame_of([("a", 1), ("a", 2)]))
        assert state.finish().height == 1
        assert state.finish().height == 0
        assert state.ingest(frame_of([("a", 10**12)])).height == 0
        assert late_of(state) == [["a", 10**12]]


def test_empty_frames_change_nothing():
    for shape in (lambda q: q.tumbling("10ms"), lambda q: q.session("5ms"), lambda q: q.rolling(rows=3)):
        query = shape(lnb.windows(time="ts", key="key")).agg(**SUM)
        state = WindowState(query)
        assert state.ingest(frame_of([])).height == 0
        assert state.advance(100).height == 0
        state = WindowState.restore(query, state.snapshot())
        assert state.ingest(frame_of([])).columns == ["key", "window_start", "window_end", "sum"]
        assert state.retracted.height == state.late.height == state.aside.height == 0
        assert state.finish().schema == state.early().schema


@pytest.mark.parametrize("kind", ["tumbling", "session"])
def test_without_a_key(kind):
    query = getattr(lnb.windows(time="ts"), kind)("10ms").agg(**SUM).lateness(allowed="5ms")
    state = WindowState(query)
    state.ingest(frame_of([("a", 1, 1), ("b", 2, 2), ("a", None, 4), (None, 3, 8)]))
    assert state.aside["v"].to_list() == [4]
    end = 10 if kind == "tumbling" else 13
    start = 0 if kind == "tumbling" else 1
    assert emitted(state.advance(end - 1)) == [[start, end, 11]]
    state = WindowState.restore(query, state.snapshot())
    assert emitted(state.ingest(frame_of([("c", 2, 16)]))) == [[start, end, 27]]
    state.advance(50)
    state.ingest(frame_of([("c", 3, 1)]))
    assert late_of(state) == [["c", 3]]


def test_what_has_no_time_or_key_is_kept_aside():
    query = lnb.windows(time="ts", key=["key", "v"]).tumbling("10ms").agg(n=lnb.count())
    state = WindowState(query)
    state.ingest(frame_of([("a", 1, 1), (None, 1, 1), ("a", None, 1), ("a", 1, None), (None, None, None)]))
    # Neither does a row without a key come late.
    state.advance(100)
    state.ingest(frame_of([(None, 2, 1)]))
    at = datetime(1970, 1, 1, 0, 0, 0, 1000)
    assert state.aside.rows() == [
        (None, at, 1),
        ("a", None, 1),
        ("a", at, None),
        (None, None, None),
        (None, at + timedelta(milliseconds=1), 1),
    ]
    assert state.late.height == 0
    restored = WindowState.restore(query, state.snapshot())
    assert_frame_equal(restored.aside, state.aside)


def test_columns_that_the_query_does_not_read_may_come_and_go():
    state = WindowState(lnb.windows(time="ts", key="key").tumbling("10ms").agg(n=lnb.count()))
    state.ingest(frame_of([(None, 1)]))
    state.ingest(frame_of([(None, 2)]).with_columns(x=1))
    state.ingest(frame_of([(None, 3)]).select("ts", "key", pl.lit("text").alias("v")))
    assert state.aside["ts"].dt.epoch("ms").to_list() == [1, 2, 3]
    assert state.aside["x"].to_list() == [None, 1, None]
    assert WindowState.restore(state._query, state.snapshot()).aside.height == 3


def test_types_that_change_are_refused_and_change_nothing():
    query = lnb.windows(time="ts", key="key").tumbling("10ms").agg(s=lnb.sum("v"))
    state = WindowState(query)
    state.ingest(frame_of([("a", 1)]))
    for other in (
        frame_of([("a", 1)], "us"),
        frame_of([("a", 1)], zone="UTC"),
        frame_of([("a", 1)]).with_columns(pl.col("v").cast(pl.Float64)),
        frame_of([("a", 1)]).with_columns(pl.col("key").cast(pl.Categorical)),
    ):
        with pytest.raises(lnb.DataError, match=r"in one part of the table and .* in another; cast it to one type"):
            state.ingest(other)
    with pytest.raises(lnb.DataError, match="'v'"):
        state.ingest(frame_of([("a", 1)]).drop("v"))
    assert emitted(state.finish()) == [["a", 0, 10, 1]]


def test_a_state_that_knows_no_types_says_what_to_do():
    state = WindowState(lnb.windows(time="ts", key="key").tumbling("10ms").agg(n=lnb.count()))
    for call in (lambda: state.advance(1), state.finish, state.early, state.snapshot, lambda: state.late):
        with pytest.raises(lnb.WindowError, match=r"call ingest\(frame\) first, an empty frame will do"):
            call()
    # A query's own data tells them, and is not read.
    bound = WindowState(lnb.windows(frame_of([("a", 1)]), time="ts", key="key").tumbling("10ms").agg(n=lnb.count()))
    assert bound.finish().height == 0


def test_damaged_and_foreign_snapshots():
    query = lnb.windows(time="ts", key="key").tumbling("10ms").agg(n=lnb.count())
    state = WindowState(query)
    state.ingest(frame_of([("a", 1), ("b", 2)]))
    blob = state.snapshot()
    for at in range(0, len(blob), 37):
        damaged = blob[:at] + bytes([blob[at] ^ 1]) + blob[at + 1 :]
        with pytest.raises(lnb.WindowError, match="take an older one, or start anew"):
            WindowState.restore(query, damaged)
    for cut in (0, 10, len(blob) // 2, len(blob) - 1):
        with pytest.raises(lnb.WindowError, match="not a snapshot of window state, or it is damaged"):
            WindowState.restore(query, blob[:cut])
    base = lnb.windows(time="ts", key="key")
    for other in (
        base.tumbling("20ms").agg(n=lnb.count()),
        base.tumbling("10ms").agg(m=lnb.count()),
        base.tumbling("10ms").agg(n=lnb.count("v")),
        base.tumbling("10ms").agg(n=lnb.count()).lateness(allowed="1ms"),
        lnb.windows(time="ts").tumbling("10ms").agg(n=lnb.count()),
        base.session("10ms").agg(n=lnb.count()),
    ):
        with pytest.raises(lnb.WindowError, match="made by another query"):
            WindowState.restore(other, blob)


@pytest.mark.parametrize(
    "shape",
    [
        lambda q: q.tumbling("10ms"),
        lambda q: q.sliding("10ms", "3ms"),
        lambda q: q.session("4ms"),
        lambda q: q.rolling("6ms"),
        lambda q: q.counting(3, 2),
    ],
)
def test_every_aggregate_survives_a_snapshot(shape):
    aggregates = {
        "n": lnb.count(), "s": lnb.sum("v"), "m": lnb.mean("v"), "sd": lnb.std("v"), "low": lnb.min("v"),
        "high": lnb.max("v"), "one": lnb.first("v"), "end": lnb.last("v"), "q": lnb.quantile("v", 0.5),
        "kll": lnb.quantile("v", 0.5, error=0.01), "d": lnb.distinct("v"),
        "hll": lnb.distinct("v", error=0.02), "top": lnb.top_k("v", 2),
    }  # fmt: skip
    rows = frame_of([(f"k{n % 3}", (n * 7) % 40, n % 5) for n in range(60)])
    query = shape(lnb.windows(time="ts", key="key")).agg(**aggregates)
    state, twin = WindowState(query), WindowState(query)
    given, expected = [], []
    for at in range(0, 60, 10):
        given.append(state.ingest(rows[at : at + 10]))
        expected.append(twin.ingest(rows[at : at + 10]))
        state = WindowState.restore(query, state.snapshot())
    given.append(state.finish())
    expected.append(twin.finish())
    assert_frame_equal(pl.concat(given), pl.concat(expected))
