"""What a background run tells those who watch it: frozen values, no behaviour."""

from __future__ import annotations

import enum
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


class Status(enum.Enum):
    """Where a run stands. STOPPED means that somebody asked for it; FAILED means that it raised."""

    PENDING = "pending"
    RUNNING = "running"
    STOPPED = "stopped"
    FINISHED = "finished"
    FAILED = "failed"

    @property
    def over(self) -> bool:
        """True once nothing more will happen."""
        return self in (Status.STOPPED, Status.FINISHED, Status.FAILED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """`run` is the name of the run, `at_s` the wall-clock time in seconds since the epoch."""

    run: str
    at_s: float = field(default_factory=time.time)


@dataclass(frozen=True, slots=True, kw_only=True)
class Started(Event):
    """The run's thread began its work."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress(Event):
    """`done` of `total` units (`total` None: unknown), with figures such as `{"loss": 0.41}`."""

    done: int
    total: int | None = None
    values: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished(Event):
    """The run ended without an error; `stopped` says whether it was asked to."""

    stopped: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed(Event):
    """The run ended with `error`."""

    error: BaseException
