"""How long a run will still take, from what its events say of its pace. Pure."""

from __future__ import annotations

import itertools
from collections.abc import Iterable

from lepton_nb.events import Event, Failed, Finished, Progress

# The pace is that of the last minute of work, or of the last quarter of all of it where that is longer.
RECENT_S = 60.0
RECENT_SHARE = 0.25


def time_left_s(events: Iterable[Event], now_s: float) -> float | None:
    """Seconds of work that are left at `now_s` (since the epoch); None where nothing is known of it yet.

    events: those of one run, `BackgroundRun.events`. The pace is that of its last minute of work, or of the last
    quarter of its work; what goes before its first step, pauses, and starting again count as no work. While a run
    is paused, the answer stands still. Work that ends early, as with `patience`, is not foreseen.
    """
    progress: list[Progress] = []
    for event in events:
        if isinstance(event, Progress):
            progress.append(event)
        elif isinstance(event, Finished | Failed):
            return 0.0
    if not progress or progress[-1].total is None:
        return None
    total = progress[-1].total
    work = _work(progress)
    spent_s = sum(seconds for seconds, _ in work)
    recent_s, done = 0.0, 0
    for seconds, steps in reversed(work):
        if recent_s >= max(RECENT_S, RECENT_SHARE * spent_s):
            break
        recent_s, done = recent_s + seconds, done + steps
    if done == 0 or recent_s <= 0:
        return None
    last = progress[-1]
    left_s = (total - last.done) * recent_s / done
    since_s = now_s - last.at_s if _working(last) else 0.0
    return max(0.0, left_s - max(0.0, since_s))


def _work(progress: list[Progress]) -> list[tuple[float, int]]:
    """Seconds and steps between two events, where the run was at work in between."""
    return [
        (max(0.0, b.at_s - a.at_s), max(0, b.done - a.done)) for a, b in itertools.pairwise(progress) if _working(a)
    ]


def _working(event: Progress) -> bool:
    return bool(event.values.get("phase", "training") == "training")


def in_words(seconds: float) -> str:
    """A time for people: "less than 5 s", "40 s", "12 min", "3 h 20 min"."""
    if seconds < 5:
        return "less than 5 s"
    if seconds < 60:
        return f"{5 * round(seconds / 5)} s"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{minutes} min"
    return f"{minutes // 60} h" + (f" {minutes % 60} min" if minutes % 60 else "")
