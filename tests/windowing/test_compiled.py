"""The compiled loops are loaded once, late, and are never needed."""

import logging
import os
import subprocess
import sys
import threading

import pytest

from lepton_nb.windowing.compiled import Loader, Loops, compiled

FOUND = Loops(count=len, gather=print)


def test_they_are_loaded_once_after_enough_rows():
    calls = []
    allowed = threading.Event()

    def load():
        calls.append(None)
        assert allowed.wait(30)
        return FOUND

    loader = Loader(load, worth_rows=100)
    assert loader.loops_for(99) is None
    assert loader.wait() is None
    assert not calls
    # Also while they are being loaded, work goes on without them.
    assert [loader.loops_for(1) for _ in range(5)] == [None] * 5
    allowed.set()
    assert loader.wait() is FOUND
    assert loader.loops_for(1) is FOUND
    assert len(calls) == 1


@pytest.mark.parametrize(("error", "level"), [(ModuleNotFoundError("numba"), None), (OSError("full"), logging.WARNING)])
def test_without_them_numpy_counts_and_a_failure_is_told(error, level, caplog):
    def load():
        raise error

    loader = Loader(load, worth_rows=0)
    with caplog.at_level(logging.WARNING):
        assert loader.loops_for(1) is None
        assert loader.wait() is None
        assert loader.loops_for(1) is None
    assert [record.levelno for record in caplog.records] == ([] if level is None else [level])


def test_where_no_thread_can_be_started_numpy_counts(monkeypatch, caplog):
    def refuse(self):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    loader = Loader(lambda: FOUND, worth_rows=0)
    assert loader.loops_for(1) is None
    assert "can't start new thread" in caplog.text
    monkeypatch.undo()
    assert loader.loops_for(1) is None
    assert loader.wait() is None


def test_loops_that_are_not_compiled_are_not_used(monkeypatch):
    """As plain Python they take fifty times as long as NumPy."""
    import numba

    monkeypatch.setattr(numba.config, "DISABLE_JIT", 1)
    with pytest.raises(ModuleNotFoundError, match="NUMBA_DISABLE_JIT is set"):
        compiled()


def test_loops_that_cannot_be_kept_are_compiled_all_the_same(monkeypatch, tmp_path):
    """As on a full or read-only disk."""
    from numba.core import caching

    asked = []

    def refuse(self, *arguments):
        asked.append(arguments)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(caching.IndexDataCacheFile, "load", lambda *arguments: None)
    monkeypatch.setattr(caching.IndexDataCacheFile, "save", refuse)
    assert compiled().count is not None
    assert asked


def test_a_process_ends_well_while_they_are_compiled(tmp_path):
    """The first time on a machine: nothing is kept yet."""
    code = "from lepton_nb.windowing.compiled import LOADER; print(LOADER.loops_for(10**9))"
    environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout, done.stderr) == (0, "None\n", "")
    assert list(tmp_path.rglob("*.nbc")), "the compiled loops are kept for the next process"
