"""Streams that are killed with SIGKILL, at every call that changes a file, and started again: every result once."""

import json
import os
import random
import shutil
import subprocess
from datetime import UTC, datetime

import duckdb
import polars as pl
import pytest
from crashing import QUERIES, Crasher
from polars.testing import assert_frame_equal

import lepton_nb as lnb

START = datetime(2024, 1, 1, 23, 59, 30, tzinfo=UTC)
KILLED, DONE = -9, 0
BATCH_ROWS = 27


@pytest.fixture(scope="module")
def crasher():
    with Crasher() as program:
        yield program


def rows_of(name):
    """Rows over two days; for the queries with allowed lateness some come late, and some too late."""
    rng = random.Random(5)
    rows = []
    for n in range(80):
        second = n + rng.randrange(4) + 30 * (n // 27)
        if name in ("allowed", "sessions", "rolling") and n % 9 == 8:
            second -= rng.choice([6, 9, 12, 40])
        rows.append((f"k{n % 3}" if n % 17 else None, second, n))
    frame = pl.DataFrame(rows, schema={"key": pl.String, "ts": pl.Int64, "v": pl.Int64}, orient="row")
    return frame.with_columns((pl.lit(START) + pl.duration(seconds=pl.col("ts"))).alias("ts"))


class Case:
    """A query and a sink, with what an uninterrupted run gives."""

    def __init__(self, crasher, folder, query, sink, batch_rows=BATCH_ROWS):
        self.crasher, self.query, self.sink, self.batch_rows = crasher, query, sink, batch_rows
        self.source = folder / "rows.parquet"
        self.root = folder
        rows_of(query).write_parquet(self.source, row_group_size=7)
        assert self.run("whole") == DONE
        self.calls = json.loads((folder / "whole" / "calls.json").read_text())
        self.expected = self.found("whole")
        self.check_batch()

    def order(self, name):
        folder = self.root / name
        folder.mkdir(exist_ok=True)
        order = {"query": self.query, "sink": self.sink, "folder": folder, "source": self.source}
        return order | {"batch_rows": self.batch_rows}

    def run(self, name, **more):
        return self.crasher.run(**(self.order(name) | more))

    def found(self, name):
        return {kind: pl.read_parquet(self.root / name / f"{kind}.parquet") for kind in ("table", "late", "aside")}

    def check_batch(self):
        """The uninterrupted run against the table, where no row was late."""
        query = QUERIES[self.query](lnb)
        on_time = rows_of(self.query).join(self.expected["late"], on=["ts", "v"], how="anti")
        on_time = on_time.filter(pl.col("key").is_not_null())
        again = lnb.windows(on_time, time="ts", key="key").agg(**dict(query.spec.aggregates))._shaped(query.spec.shape)
        if self.query in ("sliding", "counting"):
            assert not self.expected["late"].height
            assert_frame_equal(self.expected["table"], again.collect())
        else:
            assert self.expected["late"].height > 0
            if self.query != "allowed":  # a row that is late for one of its windows is still in the others
                assert_frame_equal(self.expected["table"], again.collect())

    def check(self, name):
        for kind, table in self.found(name).items():
            assert_frame_equal(table, self.expected[kind])
        if self.sink == "parquet" and not (self.root / name / "results").exists():
            raise AssertionError("no results")
        if self.query in ("sliding", "counting"):
            # Nothing comes again: what lies there is the result, read by any other program.
            there = self.stored(name).select(self.expected["table"].columns)
            keys = ["key", "window_start", "window_end"]
            assert_frame_equal(there.sort(keys), self.expected["table"].sort(keys))
        shutil.rmtree(self.root / name)

    def stored(self, name):
        if self.sink == "duckdb":
            with duckdb.connect(str(self.root / name / "results.duckdb"), read_only=True) as connection:
                found = pl.from_arrow(connection.table("windows").to_arrow_table())
            return found.with_columns(pl.col("window_start", "window_end").dt.convert_time_zone("UTC"))
        inside = "results" if self.sink == "parquet" else "checkpoint/results"
        return pl.read_parquet(self.root / name / inside / "*/*.parquet", hive_partitioning=False)

    def killed_at(self, place):
        name = f"killed-{place}"
        assert self.run(name, kill_at=place) == KILLED
        # Batches may be of another size from then on; the one under way is not.
        more = {"batch_rows": self.batch_rows // 2} if place % 2 else {}
        assert self.run(name, **more) == DONE, (self.root / name / "error.txt").read_text()
        self.check(name)


@pytest.mark.slow
def test_killed_at_every_call_that_changes_a_file(crasher, tmp_path):
    case = Case(crasher, tmp_path, "allowed", "parquet", batch_rows=40)
    assert case.calls > 60
    for place in range(1, case.calls + 1):
        case.killed_at(place)


@pytest.mark.parametrize(
    ("query", "sink"),
    [("sliding", "duckdb"), ("sliding", "own"), ("allowed", "duckdb"), ("sessions", "parquet"), ("sessions", "duckdb"),
     ("counting", "own"), ("counting", "duckdb"), ("rolling", "parquet")],
)  # fmt: skip
def test_killed_here_and_there(crasher, tmp_path, query, sink):
    case = Case(crasher, tmp_path, query, sink)
    chance = random.Random(query + sink)
    for place in sorted(chance.sample(range(1, case.calls + 1), 5)):
        case.killed_at(place)


@pytest.mark.parametrize(("query", "sink"), [("allowed", "duckdb"), ("sessions", "own"), ("counting", "parquet")])
def test_killed_again_and_again_ever_later(crasher, tmp_path, query, sink):
    case = Case(crasher, tmp_path, query, sink)
    place = 1
    while (ended := case.run("again", kill_at=place)) == KILLED:
        place += 1 + place // 8
    assert ended == DONE
    assert place > 20
    case.check("again")


@pytest.mark.parametrize(("query", "sink"), [("allowed", "parquet"), ("sliding", "duckdb"), ("sessions", "duckdb")])
def test_killed_at_any_time(crasher, tmp_path, query, sink):
    case = Case(crasher, tmp_path, query, sink)
    chance = random.Random(query + sink)
    for repeat in range(3):
        name, longest_s, kills = f"any-{repeat}", 0.3, 0
        while (ended := case.run(name, kill_after_s=chance.random() * longest_s)) == KILLED:
            kills += 1
            longest_s *= 1.1
        assert ended == DONE, (case.root / name / "error.txt").read_text()
        case.check(name)


def test_killed_while_its_state_is_divided_anew(crasher, cluster, tmp_path):
    """From the shards of a cluster to the one of a process: another number of shards is taken over whole or not."""
    case = Case(crasher, tmp_path, "sessions", "own")
    stream = QUERIES["sessions"](lnb).stream(
        case.source, checkpoint=tmp_path / "begun" / "checkpoint", cluster=cluster, batch_rows=BATCH_ROWS
    )
    stream.watch(lambda event: stream.stop() if getattr(event, "done", 0) >= 40 else None)
    stream.start().wait()
    states = list((tmp_path / "begun" / "checkpoint" / "state").iterdir())
    assert len(states) > 1
    for place in range(1, 100):
        name = f"divided-{place}"
        shutil.copytree(tmp_path / "begun", tmp_path / name)
        ended = case.run(name, kill_at=place)
        # Long enough to reach into the next batch.
        if ended == DONE or place > 25:
            break
        assert case.run(name) == DONE, (tmp_path / name / "error.txt").read_text()
        case.check(name)


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 1 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("only root can mount a small file system")
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder], capture_output=True, text=True)
    if made.returncode:
        pytest.skip(f"a small file system cannot be mounted: {made.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", folder], check=True)


@pytest.mark.parametrize("query", ["allowed", "counting"])
def test_a_full_disk_stops_a_stream_which_goes_on_once_there_is_room(small_disk, tmp_path, query):
    source = tmp_path / "rows.parquet"
    rows_of(query).write_parquet(source, row_group_size=7)

    def make(folder):
        return QUERIES[query](lnb).stream(source, checkpoint=folder, batch_rows=BATCH_ROWS)

    whole = make(tmp_path / "whole")
    whole.wait()
    failures = []
    for room in [0, *range(4, 120, 12)]:
        ballast = small_disk / "ballast"
        folder = small_disk / f"checkpoint-{room}"
        free = os.statvfs(small_disk)
        ballast.write_bytes(b"x" * max(0, free.f_bavail * free.f_frsize - room * 1024))
        run = make(folder)
        try:
            run.wait()
        except lnb.WindowError as error:
            failures.append(str(error))
        ballast.unlink()
        run = make(folder)
        run.wait()
        assert_frame_equal(run.table(), whole.table())
        assert_frame_equal(run.late(), whole.late())
        assert_frame_equal(run.aside(), whole.aside())
        shutil.rmtree(folder)
    assert len(failures) > 5
    assert all("the disk is full" in text or "No space left" in text for text in failures)
    assert all("make room" in text for text in failures)
