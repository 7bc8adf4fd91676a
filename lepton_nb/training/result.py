"""How one rank ended, as its supervisor tells the client."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

# What rank 0 leaves in its folder.
WEIGHTS, STATE = "weights", "state"


@dataclass
class RankResult:
    """How a rank ended. `error` is None for a rank that did its work; `weights` come from rank 0 alone, and its
    `state`, from which the run can go on, where it was stopped.

    `error` has the keys of the rank's "failed" message: kind_of ("data", "lost", "crash", "late" or "peer"), message,
    traceback, and perhaps facts.
    """

    rank: int
    exit_code: int | None
    messages: list[dict[str, Any]] = field(default_factory=list)
    error: dict[str, Any] | None = None
    output: str = ""
    weights: bytes | None = None
    state: bytes | None = None
