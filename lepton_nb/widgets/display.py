"""What a cell's output holds: a live view where there is a front end for it, and what can be read without one."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from lepton_nb.environment import mode

Bundle = Mapping[str, Any]

# By this our extension of JupyterLab knows an output of ours whose view it may leave out, once the kernel is gone.
MARK = "application/vnd.lepton-nb.live+json"


def is_live() -> bool:
    """True where a reader can use what is displayed, False in a report and in a script."""
    return mode() in ("lab", "app")


def bundle(view: Any, still: Bundle) -> Any:
    """The output of a view: alone in an app, in a notebook with what remains when it is opened without its kernel."""
    shown = view[0] if isinstance(view, tuple) else view
    if mode() == "app":
        return {**shown, "text/plain": still["text/plain"]}
    return {**shown, **still, MARK: {}} if mode() == "lab" else dict(still)


@contextlib.contextmanager
def failing_the_cell() -> Iterator[None]:
    """Let an error of this block, which displays something, fail the cell that displays it.

    IPython shows an `Exception` of what displays itself, and takes the cell for one that went well: a report would then
    be finished although what it waited for had failed. So it goes on as a `BaseException` of the same name and words.
    """
    try:
        yield
    except Exception as error:
        kind = type(error)
        raise type(kind.__name__, (BaseException,), {"__module__": kind.__module__})(str(error)) from error


class Shown:
    """An output that can be written anew when what it shows is over, so that a saved notebook has the last state."""

    def __init__(self, make: Callable[[], Bundle]) -> None:
        from IPython.display import display

        self._make = make
        self._id = uuid.uuid4().hex
        display(dict(make()), raw=True, display_id=self._id)

    def renew(self) -> None:
        """Write the output anew."""
        from IPython.display import update_display

        update_display(dict(self._make()), raw=True, display_id=self._id)
