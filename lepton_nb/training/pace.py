"""How many ranks are quickest: passes over their shares are timed, and sums over all of them. No framework."""

from __future__ import annotations

import math
import socket
import statistics
import time
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import psutil

from lepton_nb.data.memory import available_bytes
from lepton_nb.training.batches import Batch, Source
from lepton_nb.training.engine import Engine
from lepton_nb.training.sharding import shard

# How long one thing is timed, where it is quick, and how often at the most.
TIMED_S = 0.1
MOST_TIMES = 30
# Fewer ranks are chosen where a step takes them at most so much longer: they leave workers to others.
ALIKE = 1.05
# A number that was given is doubted where another one is so many times quicker.
WORTH_SAYING = 1.2


@dataclass(frozen=True, slots=True)
class Pace:
    """A step over `rows` rows by number of ranks: seconds of the slowest rank's pass, and of the sum over the ranks.

    The optimizer's own step is left out: it is the same for any number.
    """

    rows: int
    pass_s: Mapping[int, float]
    sum_s: Mapping[int, float]

    def step_s(self, ranks: int) -> float:
        """Seconds of a step of so many ranks, one of those that were measured."""
        return self.pass_s[ranks] + self.sum_s[ranks]

    @property
    def best(self) -> int:
        """The smallest number whose step takes at most 1.05 times as long as the quickest."""
        quickest = min(map(self.step_s, self.pass_s))
        return min(ranks for ranks in self.pass_s if self.step_s(ranks) <= ALIKE * quickest)

    def gain(self, ranks: int) -> float:
        """How many times as many rows a second the best number does as `ranks`."""
        return self.step_s(ranks) / self.step_s(self.best)

    def told(self) -> dict[str, Any]:
        """As plain values."""
        measured = [[ranks, self.pass_s[ranks], self.sum_s[ranks]] for ranks in sorted(self.pass_s)]
        return {"rows": self.rows, "measured": measured}

    @classmethod
    def of(cls, told: Mapping[str, Any]) -> Pace:
        """From `told`."""
        measured = told["measured"]
        return cls(
            told["rows"], {ranks: seconds for ranks, seconds, _ in measured}, {ranks: s for ranks, _, s in measured}
        )

    def __str__(self) -> str:
        rates = [f"{workers(ranks)} {_rate(self.rows / self.step_s(ranks))}" for ranks in sorted(self.pass_s)]
        most = max(self.pass_s)
        sum_s, step_s = time_of(self.sum_s[most]), time_of(self.step_s(most))
        part = f"; of a step of {most}, {step_s}, adding up the gradients takes {sum_s}" if most > 1 else ""
        return f"at {self.rows:,} rows a step {', '.join(rates)} rows a second{part}"


def workers(count: int) -> str:
    """The number with its noun."""
    return f"{count} worker" + ("s" if count > 1 else "")


def counts_up_to(most: int) -> tuple[int, ...]:
    """The numbers of ranks that are tried: 1, 2, 4, ... and `most`."""
    return tuple(sorted({2**power for power in range(most.bit_length()) if 2**power < most} | {most}))


def measure(engine: Engine, source: Source, rows: int) -> Pace:
    """The pace of steps over `rows` rows for 1, 2, 4, ... and all ranks; every rank calls this and gets the same.

    For each number that many ranks do their shares at the same time, with as many threads as they would have, while
    the others wait. Numbers so small that a share may not fit into memory are left out. Sums are timed over all ranks,
    and of fewer estimated: a ring of p ranks takes 2 (p - 1) messages and moves 2 (p - 1) / p of the numbers (Thakur,
    Rabenseifner and Gropp, "Optimization of Collective Communication Operations in MPICH", 2005).
    """
    features, target = source.head(rows)
    rows = len(target)
    hosts = over_ranks(engine, zlib.crc32(socket.gethostname().encode()))
    mine = hosts[engine.rank]
    cores = engine.threads * hosts.count(mine)
    passes: dict[int, float] = {}
    for ranks in reversed(counts_up_to(engine.ranks)):
        took_s = 0.0
        # Shares grow from one number to the next; what they may not fit into ends it. All begin together.
        if passes and not all(over_ranks(engine, _has_room(min(passes) / ranks))):
            break
        if engine.rank < ranks:
            part = shard(rows, engine.rank, ranks)
            threads = max(1, cores // hosts[:ranks].count(mine))
            try:
                with engine.rehearsed(Batch(features[part], target[part], rows), threads) as act:
                    took_s = median_s(act)
            except Exception:
                # Out of the memory of a GPU, most likely: such a share cannot be done, and this run need not.
                if not passes:
                    raise
                took_s = math.inf
        took_s = max(over_ranks(engine, took_s))
        if took_s == math.inf:
            break
        passes[ranks] = took_s
    added = sums(engine)
    return Pace(rows, passes, {ranks: added[ranks] for ranks in passes})


def sums(engine: Engine) -> dict[int, float]:
    """Seconds of adding up all gradients, by number of ranks; every rank calls this."""
    most = engine.ranks
    if most == 1:
        return {1: 0.0}
    short, whole = (
        max(over_ranks(engine, median_s(engine.rehearsed_sum(count), times=MOST_TIMES // 3)))
        for count in (1, engine.gradients)
    )
    moved = max(0.0, whole - short)
    return {
        ranks: short * (ranks - 1) / (most - 1) + moved * ((ranks - 1) / ranks) / ((most - 1) / most)
        for ranks in counts_up_to(most)
    }


def _has_room(times: float) -> bool:
    """Whether this process may grow to so many times its size, and leave half of the memory that is left."""
    return psutil.Process().memory_info().rss * times < available_bytes() / 2


def median_s(act: Callable[[], None], times: int | None = None) -> float:
    """The median of several times, after a first one; `times` is for what all ranks must do equally often."""
    began_s = time.perf_counter()
    act()
    first_s = time.perf_counter() - began_s
    if times is None:
        # What takes long by itself is not done again to know it better.
        if first_s > 10 * TIMED_S:
            return first_s
        times = max(3, min(MOST_TIMES, math.ceil(TIMED_S / max(first_s, 1e-6))))
    found = []
    for _ in range(times):
        began_s = time.perf_counter()
        act()
        found.append(time.perf_counter() - began_s)
    return statistics.median(found)


def over_ranks(engine: Engine, value: float) -> list[float]:
    """The value of every rank."""
    found = np.zeros(engine.ranks)
    found[engine.rank] = value
    every: list[float] = engine.add_up(found).tolist()
    return every


def _rate(rows_per_s: float) -> str:
    if rows_per_s >= 1e6:
        return f"{rows_per_s / 1e6:.3g} million"
    return f"{float(f'{rows_per_s:.3g}'):,.0f}"


def time_of(seconds: float) -> str:
    """For people, with two figures."""
    return f"{seconds:.2g} s" if seconds >= 1 else f"{float(f'{seconds * 1e3:.2g}'):g} ms"
