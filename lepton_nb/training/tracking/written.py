"""What a tracker has written already, so that it writes nothing twice: pure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lepton_nb.training.tracking.scalars import Kind, scalars

# Apart from the rounding of 32 bits, a run that goes on with the same options comes to the same numbers.
SAME = 1e-6
_DECIDING = ("train/loss", "train/learning_rate", "epoch/loss")


@dataclass(frozen=True, slots=True)
class News:
    """Something of a row that is not written yet: `figures` by tag.

    `again`: from this step on, what an earlier session wrote does not hold any more; the run took another way.
    """

    kind: Kind
    step: int
    figures: Mapping[str, float]
    row: Mapping[str, Any]
    again: bool = False


class Written:
    """Which figures of which steps are written: by this session, and by those that it goes on with (`earlier`).

    A session is what one `lnb.train` does. Within it a figure of a step is written once, whatever number it has when
    it comes again. A figure that an earlier session wrote is not written again either, unless it has another number
    now, because the run went on from an older checkpoint with other options: then all that the earlier sessions wrote
    from that step on is written anew.
    """

    def __init__(self, earlier: Mapping[int, Mapping[str, float]] | None = None) -> None:
        self._earlier = dict(earlier or {})
        self._mine: dict[int, frozenset[str]] = {}
        self._sets: dict[frozenset[str], frozenset[str]] = {}
        self._last: tuple[Kind, Mapping[str, Any]] | None = None

    def take(self, kind: Kind, row: Mapping[str, Any]) -> list[News]:
        """What is to be written now that `row` came; it counts as written from now on."""
        step = row["step"]
        mine = self._mine.get(step, frozenset())
        fresh = {tag: value for tag, value in scalars(kind, row).items() if tag not in mine}
        tags = mine.union(fresh)
        self._mine[step] = self._sets.setdefault(tags, tags)
        before = self._earlier.get(step, {})
        last, self._last = self._last, (kind, row)
        if any(_differ(tag, before[tag], value) for tag, value in fresh.items() if tag in before):
            self._earlier = {number: known for number, known in self._earlier.items() if number < step}
            again = [last] if last is not None and last[1]["step"] == step and last[0] != kind else []
            news = [News(k, step, scalars(k, r), r) for k, r in [*again, (kind, row)]]
            return [News(news[0].kind, step, news[0].figures, news[0].row, again=True), *news[1:]]
        figures = {tag: value for tag, value in fresh.items() if tag not in before}
        return [News(kind, step, figures, row)] if figures else []


def _differ(tag: str, before: float, now: float) -> bool:
    deciding = tag in _DECIDING or tag.startswith("validation/")
    return deciding and not math.isclose(before, now, rel_tol=SAME, abs_tol=1e-12)
