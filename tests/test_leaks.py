"""The leak checks that run on every test catch each kind of leak, and nothing else."""

from pathlib import Path

import pytest

SUPPORT = Path(__file__).parent / "support"

LEAKING = """
import os, socket, subprocess, sys, tempfile, threading
import pytest

kept = []

def test_thread():
    kept.append(threading.Event())
    threading.Thread(target=kept[-1].wait, name="forgotten", daemon=True).start()

def test_process():
    kept.append(subprocess.Popen(["cat"], stdin=subprocess.PIPE))

def test_orphan():
    # The child's child has no parent in this process tree, and ends with the pipe that it reads.
    code = "import subprocess, sys; subprocess.Popen(['cat'], stdin=0, stdout=2)"
    reader, writer = os.pipe()
    kept.append(writer)
    subprocess.run([sys.executable, "-c", code], stdin=reader, check=True)
    os.close(reader)

def test_port():
    kept.append(socket.create_server(("127.0.0.1", 0)))

def test_variable():
    os.environ["FORGOTTEN"] = "1"

def test_folder():
    tempfile.mkdtemp(prefix="lepton-nb-")

@pytest.fixture
def leaking_fixture():
    kept.append(threading.Event())
    threading.Thread(target=kept[-1].wait, name="from-a-fixture", daemon=True).start()

def test_fixture(leaking_fixture):
    pass
"""

CLEAN = """
import os, subprocess, tempfile, threading
import pytest

@pytest.fixture(scope="module")
def wide():
    child = subprocess.Popen(["cat"], stdin=subprocess.PIPE)
    os.environ["WIDE"] = "1"
    folder = tempfile.TemporaryDirectory(prefix="lepton-nb-")
    end = threading.Event()
    thread = threading.Thread(target=end.wait)
    thread.start()
    yield child
    del os.environ["WIDE"]
    folder.cleanup()
    end.set()
    thread.join()
    child.communicate()

@pytest.fixture
def narrow(monkeypatch):
    monkeypatch.setenv("NARROW", "1")
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE) as child:
        yield child

def test_first(wide, narrow):
    pass

def test_asks_late(request):
    assert request.getfixturevalue("wide").poll() is None

def test_ends_a_moment_later():
    threading.Timer(0.1, lambda: None).start()

def test_last(wide, narrow):
    pass
"""


@pytest.fixture
def inner(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    monkeypatch.setenv("PYTHONPATH", str(SUPPORT))
    return pytester


def test_each_leak_fails_its_own_test(inner: pytest.Pytester) -> None:
    inner.makeconftest("import leaks\n\nleaks.GRACE_S = 0.1\n")
    inner.makepyfile(LEAKING)
    result = inner.runpytest_subprocess("-p", "leaks")
    result.assert_outcomes(passed=7, errors=7)
    result.stdout.fnmatch_lines_random(
        [
            "*the test left behind: thread 'forgotten'",
            "*the test left behind: process * (cat)",
            "*the test left behind: listening port *",
            "*the test left behind: environment variable FORGOTTEN: None became '1'",
            "*the test left behind: folder *lepton-nb-*",
            "*the test left behind: thread 'from-a-fixture'",
        ]
    )


def test_what_is_cleaned_up_is_no_leak(inner: pytest.Pytester) -> None:
    inner.makepyfile(CLEAN)
    result = inner.runpytest_subprocess("-p", "leaks")
    result.assert_outcomes(passed=4)
