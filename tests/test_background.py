"""Background runs: one thread each, a status, ordered events, a clean end."""

import linecache
import subprocess
import sys
import textwrap
import threading

import pytest

from lepton_nb.background import BackgroundRun, Control
from lepton_nb.errors import LeptonError, TrainingError
from lepton_nb.events import Event, Failed, Finished, Progress, Started, Status


def until_stopped(control: Control) -> str:
    control.wait_for_stop(60)
    return "ended early"


def test_result_status_and_events() -> None:
    def work(control: Control) -> int:
        control.progress(1, 2, loss=0.5)
        control.progress(2, 2, loss=0.25)
        return 42

    run = BackgroundRun(work, name="sum")
    assert run.status is Status.PENDING
    assert run.start().wait() == 42
    assert run.status is Status.FINISHED
    assert run.error is None
    assert [type(event) for event in run.events] == [Started, Progress, Progress, Finished]
    assert {event.run for event in run.events} == {"sum"}
    last = run.events[2]
    assert isinstance(last, Progress)
    assert (last.done, last.total, last.values) == (2, 2, {"loss": 0.25})


def test_an_error_of_the_work_comes_out_of_wait_each_time() -> None:
    def work(control: Control) -> None:
        raise TrainingError("no rows left", rows=0)

    run = BackgroundRun(work).start()
    for _ in range(2):
        with pytest.raises(TrainingError, match="no rows left"):
            run.wait()
    assert run.status is Status.FAILED
    assert isinstance(run.error, TrainingError)
    assert isinstance(run.events[-1], Failed)
    assert run.events[-1].error is run.error


def test_stop_ends_the_work_and_can_be_called_twice() -> None:
    run = BackgroundRun(until_stopped).start()
    assert run.status is Status.RUNNING
    run.stop().stop()
    assert run.status is Status.STOPPED
    assert run.wait() == "ended early"
    assert run.events[-1] == Finished(run=run.name, stopped=True, at_s=run.events[-1].at_s)


def test_stop_says_when_the_work_does_not_end() -> None:
    release = threading.Event()
    run: BackgroundRun[bool] = BackgroundRun(lambda control: release.wait(60), name="stubborn").start()
    with pytest.raises(LeptonError, match="stubborn has not stopped") as caught:
        run.stop(timeout_s=0.01)
    assert caught.value.timeout_s == 0.01
    release.set()
    run.stop()


def test_wait_with_a_limit_leaves_the_run_alone() -> None:
    run = BackgroundRun(until_stopped).start()
    with pytest.raises(LeptonError, match="has not ended"):
        run.wait(timeout_s=0.01)
    assert run.status is Status.RUNNING
    run.stop()


@pytest.mark.parametrize("call", ["wait", "stop"])
def test_a_run_that_was_never_started_says_so(call: str) -> None:
    with pytest.raises(LeptonError, match=r"never started; call start\(\) first"):
        getattr(BackgroundRun(until_stopped), call)()


def test_a_run_starts_once() -> None:
    run = BackgroundRun(until_stopped).start()
    with pytest.raises(LeptonError, match="already started"):
        run.start()
    run.stop()


def test_on_stop_is_called_once_and_at_once_when_late() -> None:
    calls: list[str] = []
    registered = threading.Event()

    def work(control: Control) -> None:
        control.on_stop(lambda: calls.append("early"))
        registered.set()
        control.wait_for_stop(60)
        control.on_stop(lambda: calls.append("late"))

    run = BackgroundRun(work).start()
    registered.wait()
    run.stop().stop()
    assert sorted(calls) == ["early", "late"]


def test_a_broken_stop_callback_does_not_keep_the_others_from_theirs() -> None:
    calls: list[str] = []
    registered = threading.Event()

    def broken() -> None:
        raise OSError("pipe closed")

    def work(control: Control) -> None:
        control.on_stop(broken)
        control.on_stop(lambda: calls.append("second"))
        registered.set()
        control.wait_for_stop(60)

    run = BackgroundRun(work).start()
    registered.wait()
    with pytest.raises(OSError, match="pipe closed"):
        run.stop()
    run.wait()
    assert calls == ["second"]
    assert run.status is Status.STOPPED


def test_a_watcher_sees_every_event_once_and_in_order() -> None:
    half = threading.Event()
    go_on = threading.Event()

    def work(control: Control) -> None:
        for step in range(200):
            if step == 100:
                half.set()
                go_on.wait()
            control.progress(step)

    run = BackgroundRun(work).start()
    half.wait()
    seen: list[Event] = []
    # The first past event lets the run go on: the later ones then compete with those still to be handed out.
    run.watch(lambda event: (go_on.set(), seen.append(event))[1])  # type: ignore[func-returns-value]
    run.wait()
    assert seen == list(run.events)


def test_unwatch_ends_the_calls() -> None:
    seen: list[Event] = []
    go_on = threading.Event()

    def work(control: Control) -> None:
        go_on.wait()
        control.progress(1)

    run = BackgroundRun(work).start()
    unwatch = run.watch(seen.append)
    unwatch()
    unwatch()
    before = len(seen)
    go_on.set()
    run.wait()
    assert len(seen) == before


def test_a_broken_watcher_is_dropped_with_a_warning_and_the_work_goes_on() -> None:
    calls: list[Event] = []

    def broken(event: Event) -> None:
        calls.append(event)
        raise ValueError("no such element")

    run: BackgroundRun[int] = BackgroundRun(lambda control: control.progress(1) or 7, name="watched")
    run.watch(broken)
    with pytest.warns(RuntimeWarning, match="a watcher of watched raised ValueError") as told:
        assert run.start().wait() == 7
    assert len(calls) == 1
    # In the run's own thread there is no line of the user's; it is the one that made the run.
    assert told[0].filename == __file__
    assert linecache.getline(__file__, told[0].lineno).strip().endswith('name="watched")')


def test_a_warning_that_is_an_error_fails_the_run_instead_of_losing_it() -> None:
    def broken(event: Event) -> None:
        raise ValueError("no such element")

    run = BackgroundRun(until_stopped)
    run.watch(broken)
    run.start()
    with pytest.raises(RuntimeWarning, match="no such element"):
        run.wait()
    assert run.status is Status.FAILED


def test_a_watcher_may_stop_the_run() -> None:
    def work(control: Control) -> int:
        for step in range(1000):
            control.progress(step)
            if control.stopping:
                return step
        return -1

    run = BackgroundRun(work)
    run.watch(lambda event: run.stop() if isinstance(event, Progress) and event.done == 3 else None)
    assert run.start().wait() == 3
    assert run.status is Status.STOPPED


def test_a_watcher_may_stop_the_run_while_it_sees_past_events() -> None:
    emitted = threading.Event()

    def work(control: Control) -> str:
        control.progress(1)
        emitted.set()
        control.wait_for_stop(60)
        control.progress(2)
        return "ended early"

    run = BackgroundRun(work).start()
    assert emitted.wait(60)
    run.watch(lambda event: run.stop(timeout_s=None) if isinstance(event, Progress) and event.done == 1 else None)
    assert run.wait(60) == "ended early"
    assert run.status is Status.STOPPED


def test_a_run_cannot_wait_for_itself() -> None:
    ready = threading.Event()
    runs: list[BackgroundRun[None]] = []

    def work(control: Control) -> None:
        ready.wait()
        runs[0].wait()

    runs.append(BackgroundRun(work, name="circle").start())
    ready.set()
    with pytest.raises(LeptonError, match="circle cannot wait for itself"):
        runs[0].wait()


def test_only_the_last_events_are_kept() -> None:
    def work(control: Control) -> None:
        for step in range(10_050):
            control.progress(step)

    run = BackgroundRun(work)
    run.start().wait()
    assert len(run.events) == 10_000
    assert isinstance(run.events[-1], Finished)


def run_python(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, timeout=60)


def test_leaving_the_interpreter_stops_what_still_runs() -> None:
    ended = run_python(
        """
        import sys
        from lepton_nb.background import BackgroundRun

        def work(control):
            control.on_stop(lambda: 1 / 0)
            control.wait_for_stop(60)
            sys.stdout.write("cleaned up\\n")

        BackgroundRun(work).start()
        BackgroundRun(work).start()
        """
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "cleaned up\ncleaned up\n", "")


def test_what_is_stopped_with_the_interpreter_can_still_use_thread_pools() -> None:
    """Dask tells of the end of a task by one."""
    ended = run_python(
        """
        import sys
        from concurrent.futures import ThreadPoolExecutor
        from lepton_nb.background import BackgroundRun

        def work(control):
            control.wait_for_stop(60)
            ThreadPoolExecutor(1).submit(sys.stdout.write, "heard of it\\n").result()

        BackgroundRun(work).start()
        """
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "heard of it\n", "")


def test_a_thread_that_the_program_waits_for_gets_the_result_of_its_run() -> None:
    ended = run_python(
        """
        import sys, threading, time

        leaving = threading.Event()
        # Hooks of this kind are called from the last to the first.
        threading._register_atexit(leaving.set)
        from lepton_nb.background import BackgroundRun

        def work(control):
            while not leaving.is_set():
                if control.wait_for_stop(0.01):
                    return "stopped"
            return "done"

        run = BackgroundRun(work).start()
        threading.Thread(target=lambda: sys.stdout.write(run.wait())).start()
        while not run._awaited_by:
            time.sleep(0.01)
        """
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "done", "")


def test_an_interrupt_while_waiting_stops_the_run_first() -> None:
    ended = run_python(
        """
        import os, signal, sys, threading, traceback
        from lepton_nb.background import BackgroundRun

        def main_thread_waits():
            stack = traceback.extract_stack(sys._current_frames()[threading.main_thread().ident])
            return any(frame.name == "wait" and frame.filename.endswith("background.py") for frame in stack)

        def work(control):
            while not main_thread_waits():
                control.wait_for_stop(0.001)
            os.kill(os.getpid(), signal.SIGINT)
            control.wait_for_stop(60)
            print("cleaned up", flush=True)

        run = BackgroundRun(work)
        try:
            run.start().wait()
        except KeyboardInterrupt:
            print(run.status.value)
        """
    )
    assert (ended.returncode, ended.stdout) == (0, "cleaned up\nstopped\n"), ended.stderr
