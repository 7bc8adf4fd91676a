"""The task that a target looks like, found beside the kernel and suggested to the form."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import polars as pl

from lepton_nb.training.choices import likely_task, look
from lepton_nb.training.spec import Task


class LikelyTask:
    """do: does a work beside the kernel and hands on what it gives (`Panel.do`); suggest: told the task and classes."""

    def __init__(self, do: Callable[..., Any], suggest: Callable[[Task, int | None], None]) -> None:
        self._do, self._suggest = do, suggest
        # How often it was asked for.
        self._asked = 0

    def ask(self, data: Any, target: str | None) -> None:
        """Suggest what the target of `data` looks like."""
        kind = look(data).kind
        if kind == "table" and target is None:
            return
        rows = data.train if kind == "parts" else data
        self._asked += 1
        number = self._asked

        def suggest(found: tuple[Task, int | None]) -> None:
            # Answers may come in another order than the questions.
            if number == self._asked:
                self._suggest(*found)

        if isinstance(rows, pl.DataFrame):
            # One column in memory takes no time, and a start right after this is to find the task.
            suggest(likely_task(rows, target))
        else:
            self._do("look at the target", lambda: likely_task(rows, target), suggest)

    def overtake(self) -> None:
        """What is under way is not suggested any more: it was said outright."""
        self._asked += 1
