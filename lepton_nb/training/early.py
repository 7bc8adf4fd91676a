"""A look at the first steps of a run: would fewer ranks be quicker, or compiled steps?"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from lepton_nb.errors import TrainingError
from lepton_nb.training.batches import Batch, Source
from lepton_nb.training.channel import Channel, Interrupted
from lepton_nb.training.engine import Engine
from lepton_nb.training.pace import Pace, measure, median_s, over_ranks, sums
from lepton_nb.training.sharding import shard
from lepton_nb.training.spec import TrainingSpec

# Steps between these are timed: the first ones are slower.
FIRST_STEP, LAST_STEP = 10, 30
# The number of ranks is doubted if the rest takes a while, and of long steps adding up is a part.
WORTH_LOOKING_S = 10.0
LONG_STEP_S = 0.5
SUM_PART = 0.05
# Compiling is tried if what is left takes so long: it takes half a minute, and may win a fifth of the time.
WORTH_COMPILING_S = 600.0
# Compiled passes are kept where they take at most so much of the time.
QUICKER = 0.97


@dataclass(frozen=True, slots=True)
class Found:
    """What was found: the pace by number of ranks, and what came of compiling (see `try_compiled`), if looked at."""

    pace: Pace | None
    compiled: dict[str, Any] | None


class EarlyLook:
    """Looks once, after some steps; every rank calls this after every step, and all take part in what follows."""

    def __init__(self, engine: Engine, source: Source, spec: TrainingSpec, channel: Channel) -> None:
        self._engine, self._source, self._spec, self._channel = engine, source, spec, channel
        self._doubts = isinstance(spec.workers, int) and engine.ranks > 1 and engine.can_rehearse
        self._compiles = spec.compile == "auto" and engine.can_compile and engine.can_rehearse
        self._left = LAST_STEP if self._doubts or self._compiles else 0
        self._taken = 0
        self._began_s = 0.0

    def after_step(self, steps_left: int, begin: Callable[[], None]) -> Found | None:
        """What was found, where it was worth a look; `begin` is called before one that may take long."""
        if self._taken == self._left:
            return None
        self._taken += 1
        if self._taken == FIRST_STEP:
            self._began_s = time.monotonic()
        if self._taken < self._left:
            return None
        step_s = (time.monotonic() - self._began_s) / (LAST_STEP - FIRST_STEP)
        # One answer for all, as all take part in what follows.
        step_s = max(over_ranks(self._engine, step_s))
        left_s = steps_left * step_s
        pace = None
        if self._doubts and left_s >= WORTH_LOOKING_S and self._adding_up_matters(step_s):
            pace = measure(self._engine, self._source, self._spec.batch_size)
        compiled = None
        if self._compiles and left_s >= WORTH_COMPILING_S:
            begin()
            compiled = try_compiled(self._engine, self._source, self._spec.batch_size, self._channel)
        return None if pace is None and compiled is None else Found(pace, compiled)

    def _adding_up_matters(self, step_s: float) -> bool:
        return step_s <= LONG_STEP_S or sums(self._engine)[self._engine.ranks] >= SUM_PART * step_s


def try_compiled(engine: Engine, source: Source, rows: int, channel: Channel) -> dict[str, Any] | None:
    """Compile the passes over batches of `rows` rows, and keep that where it is quicker; every rank calls this.

    None where the run is to stop or to pause meanwhile, which ends it at once. Otherwise kept; pass_s and
    compiled_pass_s: of the slowest rank, None where it could not be compiled; took_s: for compiling; reason: why it
    could not be, "" otherwise.
    """
    features, target = source.head(rows)
    part = shard(len(target), engine.rank, engine.ranks)
    batch = Batch(features[part], target[part], len(target))
    eager_s = compiled_s = 0.0
    reason = ""
    interrupted = False
    began_s = time.monotonic()
    try:
        with channel.interruptible(), engine.rehearsed(batch, engine.threads) as act:
            eager_s = median_s(act)
            began_s = time.monotonic()
            engine.compile(batch)
            act()
            took_s = time.monotonic() - began_s
            compiled_s = median_s(act)
    except Interrupted:
        interrupted, took_s = True, 0.0
    except Exception as error:
        # Whatever a compiler makes of a model; the run does not need it.
        reason = f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error).strip() else ''}"
        took_s = time.monotonic() - began_s
    if any(over_ranks(engine, interrupted)):
        engine.compile(None)
        return None
    failed = over_ranks(engine, bool(reason))
    eager_s, compiled_s, took_s = (max(over_ranks(engine, value)) for value in (eager_s, compiled_s, took_s))
    kept = not any(failed) and compiled_s <= QUICKER * eager_s
    if not kept:
        engine.compile(None)
    if any(failed):
        return {
            "kept": False,
            "pass_s": eager_s,
            "compiled_pass_s": None,
            "took_s": took_s,
            "reason": reason or f"rank {failed.index(1.0)} could not",
        }
    return {"kept": kept, "pass_s": eager_s, "compiled_pass_s": compiled_s, "took_s": took_s, "reason": ""}


def compile_at_once(engine: Engine, source: Source, rows: int) -> None:
    """What compile=True asks for. Raises TrainingError where it cannot be had."""
    if not engine.can_compile:
        raise TrainingError(
            "compile=True needs a C++ compiler where the ranks run (on a GPU: Triton), and a model that is no "
            "ScriptModule; install one (on Debian: apt install g++), or leave compile out"
        )
    features, target = source.head(rows)
    part = shard(len(target), engine.rank, engine.ranks)
    engine.compile(Batch(features[part], target[part], len(target)))
