"""Memory in ordinary pages."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

from numpy._core import multiarray

# NumPy's own switch; NUMPY_MADVISE_HUGEPAGE sets it, but only before NumPy is imported.
_switch = getattr(multiarray, "_set_madvise_hugepage", None)
_lock = threading.Lock()
_inside = 0
_before = True


@contextlib.contextmanager
def ordinary() -> Iterator[None]:
    """While this lasts, NumPy does not ask for huge pages.

    It does for arrays of 4 MiB and more. Where other programs have left memory in pieces, Linux then moves it together
    first, and for arrays that are written once this took more time than all the rest of a query.
    """
    global _inside, _before
    if _switch is None:
        yield
        return
    with _lock:
        _inside += 1
        if _inside == 1:
            _before = _switch(False)
    try:
        yield
    finally:
        with _lock:
            _inside -= 1
            if not _inside:
                _switch(_before)
