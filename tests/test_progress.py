"""A bar while one waits: where somebody sees it, and nowhere else."""

import os
import pty
import subprocess
import sys
import termios
import threading

import pytest

from lepton_nb.background import BackgroundRun
from lepton_nb.progress import bar

WAITS = """
import threading
from lepton_nb.background import BackgroundRun
def work(control):
    for done in range(1, 4):
        control.progress(done, 3, loss=0.5)
        control.wait_for_stop(0.3)
    return "done"
print(BackgroundRun(work, name="a-run").start().wait())
"""


def on_a_terminal(code, **variables):
    """What a terminal shows of a program."""
    main, other = pty.openpty()
    termios.tcsetwinsize(other, (24, 80))
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=other, env=os.environ | variables
    ) as process:
        os.close(other)
        shown = b""
        while True:
            try:
                part = os.read(main, 4096)
            except OSError:  # the other end is closed
                break
            if not part:
                break
            shown += part
        said = process.stdout.read().decode()
    os.close(main)
    assert process.returncode == 0
    return said, shown.decode()


def test_a_terminal_shows_how_far_a_run_is_and_what_it_tells():
    said, shown = on_a_terminal(WAITS)
    assert said == "done\n"
    assert "a-run" in shown
    assert "3/3" in shown
    assert "loss=0.5" in shown


@pytest.mark.parametrize("variables", [{"LEPTON_NB_MODE": "report"}, {"JPY_SESSION_NAME": "a.ipynb"}])
def test_a_report_and_a_worker_of_a_notebook_show_none(variables):
    _, shown = on_a_terminal(WAITS, **variables)
    assert shown == ""


def test_a_run_that_does_not_tell_how_much_there_is_has_no_bar():
    _, shown = on_a_terminal(WAITS.replace("done, 3,", "done, None,"))
    assert shown == ""


def test_another_thread_shows_none(capsys, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    run = BackgroundRun(lambda control: control.progress(1, 2)).start()

    def wait():
        with bar(run):
            run.wait(30)

    waiting = threading.Thread(target=wait)
    waiting.start()
    waiting.join()
    assert "run-" not in capsys.readouterr().err
