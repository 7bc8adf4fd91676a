"""Results that are made in the background, a few ahead of those that are taken."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterable
from typing import Generic, Self, TypeVar

from lepton_nb.background import BackgroundRun, Control

Item = TypeVar("Item")
Made = TypeVar("Made")


class Ahead(Generic[Item, Made]):
    """What `make` gives for each of `items`, in order, at most `most` of them made or being made and not yet taken.

    A context manager, which ends the work; an error of `make` or `items` is raised by `take`.
    """

    def __init__(self, make: Callable[[Item], Made], items: Iterable[Item], most: int) -> None:
        self._make = make
        self._items = items
        self._room = threading.Semaphore(most)
        self._made: queue.SimpleQueue[tuple[Made | None, BaseException | None]] = queue.SimpleQueue()
        self._run: BackgroundRun[None] = BackgroundRun(self._work, name="read-ahead")

    def __enter__(self) -> Self:
        self._run.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._run.stop(timeout_s=None)

    def take(self) -> Made:
        """The next result, which is waited for; EOFError after the last."""
        made, error = self._made.get()
        if error is not None:
            raise error
        self._room.release()
        return made  # type: ignore[return-value]

    def _work(self, control: Control) -> None:
        control.on_stop(self._room.release)
        try:
            for item in self._items:
                self._room.acquire()
                if control.stopping:
                    return
                self._made.put((self._make(item), None))
        except BaseException as error:  # belongs to whoever takes the result
            self._made.put((None, error))
        else:
            self._made.put((None, EOFError("all results were taken")))
