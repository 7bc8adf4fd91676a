"""Contenders that take turns, and targets that are met or missed."""

from __future__ import annotations

import contextlib
import multiprocessing
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import polars as pl
from polars.testing import assert_frame_equal

# What a turn leaves running (Java's compilers, the collection of garbage) must not take the next one's processor.
PAUSE_S = 1


@dataclass(frozen=True)
class Contender:
    """`run` is timed. `check` gives its whole result, before anything is timed; left out, `run` gives it.

    rounds: how many turns it takes; None for as many as there are. apart: in a process of its own, so that it does not
    tidy up memory that others have left; `run` is then a function of a module, or a partial of one.
    """

    run: Callable[[], Any]
    check: Callable[[], pl.DataFrame] | None = None
    rounds: int | None = None
    apart: bool = False

    def result(self) -> pl.DataFrame:
        """The result, as a table."""
        found: pl.DataFrame = (self.check or self.run)()
        return found


@dataclass
class Targets:
    """Lines that begin with "target:", and whether all were met."""

    missed: int = 0

    def at_most(self, what: str, value: float, limit: float) -> None:
        """A ratio or an amount that must not be larger."""
        self._say(f"{what} at most {limit:g}; seen {value:.3g}", value <= limit)

    def at_least(self, what: str, value: float, limit: float) -> None:
        """A ratio or an amount that must not be smaller."""
        self._say(f"{what} at least {limit:g}; seen {value:.3g}", value >= limit)

    def not_measured(self, what: str, why: str) -> None:
        """Left out on request; neither met nor missed."""
        print(f"not measured: {what}: {why}")

    def _say(self, text: str, met: bool) -> None:
        print(f"target: {text}: {'met' if met else 'MISSED'}")
        self.missed += not met

    @property
    def status(self) -> int:
        """The exit status."""
        return 1 if self.missed else 0


@dataclass
class Times:
    """Seconds of every turn, by contender."""

    taken: dict[str, list[float]] = field(default_factory=dict)

    def median(self, name: str) -> float:
        """The median of one contender's turns."""
        return statistics.median(self.taken[name])

    def ratio(self, name: str, other: str) -> float:
        """Median of one over median of the other."""
        return self.median(name) / self.median(other)


def same(results: Mapping[str, pl.DataFrame]) -> pl.DataFrame:
    """The result on which all agree, floats to 1e-9; AssertionError names the first that differs."""
    (_, expected), *others = results.items()
    for name, found in others:
        try:
            assert_frame_equal(found, expected, rel_tol=1e-9, abs_tol=1e-9)
        except AssertionError as error:
            raise AssertionError(f"{name} differs: {error}") from error
    return expected


def take_turns(contenders: Mapping[str, Contender], rounds: int) -> Times:
    """Time all, one after the other with a pause between, again and again.

    Giving back a result's memory is not counted.
    """
    times = Times({name: [] for name in contenders})
    with contextlib.ExitStack() as stack:
        timers: dict[str, Callable[[Callable[[], Any]], float]] = {}
        for name, contender in contenders.items():
            timers[name] = _timed
            if contender.apart:
                pool = ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn"))
                stack.enter_context(pool)
                timers[name] = _Elsewhere(pool)
                # The first run there is not counted, as here.
                timers[name](contender.run)
        for turn in range(rounds):
            for name, contender in contenders.items():
                if contender.rounds is None or turn < contender.rounds:
                    time.sleep(PAUSE_S)
                    times.taken[name].append(timers[name](contender.run))
    return times


def _timed(run: Callable[[], Any]) -> float:
    begin = time.perf_counter()
    result = run()
    taken_s = time.perf_counter() - begin
    del result
    return taken_s


@dataclass(frozen=True)
class _Elsewhere:
    """Times what runs in a process of its own."""

    pool: ProcessPoolExecutor

    def __call__(self, run: Callable[[], Any]) -> float:
        return self.pool.submit(_timed, run).result()


def show(times: Times, rows: Mapping[str, int] | int, ours: str = "ours") -> None:
    """Median, range, rate, and each contender's time per row over ours."""
    ours_s = times.median(ours) / _rows(rows, ours)
    print(f"  {'':34}{'median s':>9} {'min':>8} {'max':>8} {'rounds':>7} {'M rows/s':>9} {'it / ours':>10}")
    for name, taken in times.taken.items():
        count, median_s = _rows(rows, name), times.median(name)
        print(
            f"  {name:34}{median_s:9.3f} {min(taken):8.3f} {max(taken):8.3f} {len(taken):7} "
            f"{count / median_s / 1e6:9.3f} {median_s / count / ours_s:10.2f}"
        )


def _rows(rows: Mapping[str, int] | int, name: str) -> int:
    return rows if isinstance(rows, int) else rows[name]


def chosen(text: str | None, known: Sequence[str]) -> list[str]:
    """The parts that "--only a,b" names, all without it; SystemExit for an unknown one."""
    if text is None:
        return list(known)
    names = text.split(",")
    for name in names:
        if name not in known:
            raise SystemExit(f"--only knows {', '.join(known)}, not {name!r}")
    return names
