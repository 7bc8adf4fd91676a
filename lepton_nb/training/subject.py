"""What a run learns, and from which rows: whether its figures say something beside those of another run."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from lepton_nb.training.feeds import Feed
from lepton_nb.training.spec import LOSS_OF_TASK, Task

Likeness = Literal["same", "other rows", "other target"]


@dataclass(frozen=True, slots=True)
class Subject:
    """target: the column that is learnt, None of arrays; loss: which, None while that is open.

    rows: of each part ("train", "validation"), how many and a checksum of their targets.
    """

    target: str | None
    loss: str | None
    rows: Mapping[str, tuple[int, int]]

    @classmethod
    def of(cls, feeds: Mapping[str, Feed]) -> Subject:
        """What a run with these rows learns; its loss is open."""
        rows = {part: (len(feed), _checksum(feed)) for part, feed in feeds.items()}
        return cls(feeds["train"].reader.target_name, None, rows)

    def with_loss(self, loss: str, task: Task | None) -> Subject:
        """The same, with the loss that the option `loss` means for this task."""
        settled = loss if loss != "auto" else None if task is None else LOSS_OF_TASK[task]
        return Subject(self.target, settled, self.rows)

    def like(self, other: Subject) -> Likeness:
        """How the two compare: figures of "other target" do not, those of "other rows" with care.

        Arrays have no name of what is learnt: those with other targets to learn from are taken for another thing.
        """
        open_loss = self.loss is None or other.loss is None
        unnamed = self.target is None and self.rows["train"] != other.rows["train"]
        if self.target != other.target or unnamed or not (open_loss or self.loss == other.loss):
            return "other target"
        return "same" if self.rows == other.rows else "other rows"

    def __str__(self) -> str:
        words = {"mse": "mean squared error"}
        loss = "" if self.loss is None else f" by {words.get(self.loss, self.loss.replace('_', ' '))}"
        return (self.target or "its target") + loss


def _checksum(feed: Feed) -> int:
    """Of the targets, whatever their precision, or of the files that they are read from; 0 where neither is here."""
    for name, array in feed.arrays.items():
        if name.endswith("_target"):
            with np.errstate(over="ignore", invalid="ignore"):
                return zlib.crc32(np.ascontiguousarray(array, dtype=np.float32).data)
        if name.endswith("_source"):
            return zlib.crc32(np.ascontiguousarray(array).data)
    return 0
