"""The log of a worker as text for a person."""

from __future__ import annotations

import time
from collections.abc import Iterable

from lepton_nb.cluster.snapshot import WorkerLoss

LINES = 200


def as_text(entries: Iterable[tuple[float, str, str]], losses: Iterable[WorkerLoss], lines: int = LINES) -> str:
    """The last `lines` of both together, oldest first.

    entries: (seconds since the epoch, level, text) as Dask gives them, in any order; its rules of dashes are left out.
    """
    told = [(at_s, text.rstrip()) for at_s, _, text in entries if not text.endswith("-----")]
    told += [(loss.at_s, f"{_moment(loss.at_s)} - worker {loss.worker} was lost: {loss.reason}") for loss in losses]
    text = "\n".join(text for _, text in sorted(told, key=lambda line: line[0]))
    return "\n".join(text.splitlines()[-lines:])


def _moment(at_s: float) -> str:
    """As in the lines of Python's `logging`: local time, milliseconds after a comma."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at_s)) + f",{int(at_s % 1 * 1000):03d}"
