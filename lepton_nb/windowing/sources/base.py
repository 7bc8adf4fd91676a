"""What a stream reads: a source is cut into parts, and every part can be read again.

A position is any JSON value that says how far a source has been read. `plan` looks ahead and says up to which
position the next batch goes; `parts` says what lies between two positions. A stream writes the two positions down
before it reads, so that a batch that was interrupted is read again with exactly the same rows.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Self

import polars as pl

# A JSON value; None is the beginning.
Position = Any

# What could not be read as a row, and why. `offset` is where it stands in its channel, as text.
DEAD_SCHEMA = {"channel": pl.String, "offset": pl.String, "reason": pl.String, "value": pl.String}


def no_dead() -> pl.DataFrame:
    """An empty dead-letter table."""
    return pl.DataFrame(schema=DEAD_SCHEMA)


@dataclass(frozen=True)
class Rows:
    """What a part holds: the rows that could be read, and the dead letters (`DEAD_SCHEMA`)."""

    frame: pl.DataFrame
    dead: pl.DataFrame = field(default_factory=no_dead)


@dataclass(frozen=True)
class Part(ABC):
    """Some consecutive rows of one channel. It travels to a worker, and reads the same rows each time."""

    channel: str

    @abstractmethod
    def read(self) -> Rows:
        """Read the rows. Raises DataError where the whole part cannot be read."""


@dataclass(frozen=True)
class Planned:
    """How far the next batch goes.

    after: position at its end; equal to the position before where nothing is there now.
    over: nothing will ever come after `after`.
    finished: channels that bring nothing after `after` and need not hold back the watermark.
    lag: rows that are there and lie behind `after`; None where the source cannot tell.
    """

    after: Position
    over: bool = False
    finished: frozenset[str] = frozenset()
    lag: int | None = None


class Source(ABC):
    """Where rows come from. `channels` have a watermark each; the stream's is the smallest of them."""

    name: ClassVar[str]
    # Whether `plan` may be asked for the next batch while one is under way; not where asking can take for ever.
    lookahead: ClassVar[bool] = True

    @abstractmethod
    def open(self, columns: Sequence[str], parallel: int) -> None:
        """Get ready: `columns` are those that the query needs, the time column first; `parallel` is how many parts can
        be read at a time.

        Raises DataError (a missing file, column or topic), naming the fix.
        """

    @property
    @abstractmethod
    def schema(self) -> pl.Schema | None:
        """Types of the rows, once open; None where only the first rows tell."""

    @property
    @abstractmethod
    def channels(self) -> tuple[str, ...]:
        """The channels that are known now, once open."""

    @abstractmethod
    def plan(self, before: Position, rows: int, wait_s: float) -> Planned:
        """Up to where the next batch goes: about `rows` rows from `before` on, fewer where fewer are there.

        May wait up to `wait_s` for new rows, and returns at once where there are some.
        """

    @abstractmethod
    def parts(self, before: Position, after: Position) -> Sequence[Part]:
        """What lies between two positions, in order; the same rows whenever it is asked."""

    def committed(self, position: Position) -> None:  # noqa: B027 (not every one wants to know)
        """All up to `position` has been processed and stored, for good."""

    def close(self) -> None:  # noqa: B027 (not every one has something to give back)
        """Give back what `open` took. Safe to call twice."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
