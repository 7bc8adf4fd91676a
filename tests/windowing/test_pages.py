"""NumPy's huge pages are off within, and as before after, also where queries run side by side."""

import contextlib
import threading

import pytest
from numpy._core import multiarray

from lepton_nb.windowing import pages


def now():
    state = multiarray._set_madvise_hugepage(False)
    multiarray._set_madvise_hugepage(state)
    return state


@pytest.mark.parametrize("before", [True, False])
def test_the_switch_is_put_back(before):
    kept = multiarray._set_madvise_hugepage(before)
    try:
        with contextlib.suppress(KeyError), pages.ordinary():
            assert not now()
            raise KeyError
        assert now() is before
    finally:
        multiarray._set_madvise_hugepage(kept)


def test_the_last_of_several_puts_it_back():
    kept = multiarray._set_madvise_hugepage(True)
    try:
        entered, leave = threading.Event(), threading.Event()

        def other():
            with pages.ordinary():
                entered.set()
                assert leave.wait(30)

        thread = threading.Thread(target=other)
        with pages.ordinary():
            thread.start()
            assert entered.wait(30)
        assert not now()
        leave.set()
        thread.join()
        assert now()
    finally:
        multiarray._set_madvise_hugepage(kept)
