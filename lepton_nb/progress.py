"""A bar while one waits for a run: on a terminal and in a notebook, with the time that is left."""

from __future__ import annotations

import importlib.util
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from lepton_nb.environment import mode
from lepton_nb.events import Event, Progress

if TYPE_CHECKING:
    from lepton_nb.background import BackgroundRun

MOST_FIGURES = 3


@contextmanager
def bar(run: BackgroundRun[Any]) -> Iterator[None]:
    """Show how far `run` is while the block lasts, once it tells how much there is to do.

    Only where somebody waits and sees it: in the main thread, on a terminal or in a notebook.
    """
    make = _maker()
    if make is None:
        yield
        return
    drawn: list[Any] = []

    def draw(event: Event) -> None:
        if not isinstance(event, Progress) or not event.total:
            return
        if not drawn:
            drawn.append(make(desc=run.name, initial=event.done, total=event.total, leave=False))
        drawn[0].total = event.total
        figures = {name: value for name, value in event.values.items() if isinstance(value, int | float | str)}
        drawn[0].set_postfix(dict(list(figures.items())[:MOST_FIGURES]), refresh=False)
        drawn[0].update(event.done - drawn[0].n)

    unwatch = run.watch(draw)
    try:
        yield
    finally:
        unwatch()
        for one in drawn:
            one.close()


def draws() -> bool:
    """True where waiting for a run shows a bar."""
    return _maker() is not None


def _maker() -> Callable[..., Any] | None:
    """What makes a bar here; None where nobody would see one."""
    if threading.current_thread() is not threading.main_thread() or importlib.util.find_spec("tqdm") is None:
        return None
    if _in_notebook():
        from tqdm.auto import tqdm as in_notebook

        return lambda **options: in_notebook(**options)
    if mode() == "script" and sys.stderr.isatty():
        from tqdm import tqdm

        return lambda **options: tqdm(dynamic_ncols=True, **options)
    return None


def _in_notebook() -> bool:
    """True in the kernel of a notebook; a worker inherits the environment of one, and is none."""
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    return mode() == "lab" and shell is not None and getattr(shell, "kernel", None) is not None
