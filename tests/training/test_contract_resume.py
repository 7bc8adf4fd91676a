"""A run that is stopped, paused, interrupted or breaks ends with the numbers of one that nobody disturbed."""

from __future__ import annotations

import os
import shutil
import signal
import threading
import time

import pytest
import training_contract as contract

import lepton_nb as lnb
from lepton_nb.events import Progress, Status
from lepton_nb.training import checkpoint

STEPS = 100
# The optimizer's memory and the schedule both have a say in every later step.
SCHEDULED = {"schedule": "cosine", "warmup_steps": 5}
SLOW_FROM = 20


def slowly(rank, step, folder):
    """From one step on there is time to do something to the run, until it is told to go."""
    if step > SLOW_FROM and not (folder / "go").exists():
        time.sleep(0.1)


def interrupted(run):
    """Ctrl-C in a cell that waits."""
    begun = threading.Event()

    def interrupt(event):
        if isinstance(event, Progress) and (event.done or 0) > SLOW_FROM and not begun.is_set():
            begun.set()
            os.kill(os.getpid(), signal.SIGINT)

    run.watch(interrupt)
    with pytest.raises(KeyboardInterrupt):
        run.wait(200)
    run.wait(30)


@pytest.fixture(scope="module")
def cut_short(cluster, tmp_path_factory):
    """A run of each framework that Ctrl-C has stopped within its third or fourth epoch, and a copy of its folder."""
    found = {}

    def of(framework):
        if framework not in found:
            folder = tmp_path_factory.mktemp(framework)
            (folder / "log").mkdir()
            model = contract.builder(framework, folder / "log", slowly)
            run = contract.start(cluster, framework, model=model, checkpoint=folder / "kept", steps=STEPS, **SCHEDULED)
            interrupted(run)
            found[framework] = run, shutil.copytree(folder / "kept", folder / "copy")
        return found[framework]

    return of


@pytest.mark.slow
@pytest.mark.parametrize("framework", contract.FRAMEWORKS)
def test_ctrl_c_stops_a_run_and_it_goes_on_to_the_same_numbers(cluster, cut_short, framework):
    """As Lightning's test_restart_parity (lightning: tests/tests_pytorch/loops/test_loops.py and its restart tests):
    in the middle of an epoch, with the optimizer's and the schedule's state."""
    run, _ = cut_short(framework)
    assert run.status is Status.STOPPED
    assert SLOW_FROM < run.step < STEPS
    again = contract.start(cluster, framework, resume=run, steps=STEPS, **SCHEDULED).wait(200)
    contract.assert_equal(again, contract.bare(framework, STEPS, **SCHEDULED))


@pytest.mark.slow
@pytest.mark.parametrize("framework", contract.FRAMEWORKS)
def test_a_folder_of_checkpoints_goes_on_to_the_same_numbers_on_another_number_of_ranks(cluster, cut_short, framework):
    """As Lightning's test_restart_parity, from files; one rank goes on with what two began."""
    run, folder = cut_short(framework)
    again = contract.start(cluster, framework, resume=folder, workers=1, steps=STEPS, **SCHEDULED).wait(200)
    contract.assert_equal(again, contract.bare(framework, STEPS, **SCHEDULED))
    assert run.steps["loss"].to_list() == again.steps["loss"].to_list()[: run.step]


@pytest.mark.slow
@pytest.mark.parametrize("framework", contract.FRAMEWORKS)
def test_while_a_run_is_paused_no_step_is_taken_and_pieces_add_up_to_the_batch(cluster, tmp_path, framework):
    """The issue's own: ranks agree on the step at which they pause; and a batch in pieces is the whole batch."""
    model = contract.builder(framework, tmp_path, slowly)
    run = contract.start(cluster, framework, model=model, accumulation=3, steps=2 * SLOW_FROM)
    contract.wait_for_step(run, 8)
    run.pause()
    contract.wait_for(lambda: run.paused, run)
    before = contract.steps_taken(tmp_path)
    time.sleep(1.0)
    assert contract.steps_taken(tmp_path) == before
    assert run.status is Status.RUNNING
    run.resume()
    (tmp_path / "go").touch()
    contract.assert_equal(run.wait(200), contract.bare(framework, 2 * SLOW_FROM))
    assert not run.paused


def breaks_twice(rank, step, folder):
    """At iterations 2 and 4, whichever attempt it is: the fifth begun is the fourth one's first."""
    if rank == 1 and step in (2, 5):
        raise ZeroDivisionError("no luck today")


@pytest.mark.slow
@pytest.mark.parametrize("framework", contract.FRAMEWORKS)
def test_a_run_that_fails_at_iterations_2_and_4_goes_on_by_itself_and_keeps_as_many_checkpoints(
    cluster, tmp_path, framework
):
    """As Ray's test_persistence (ray: python/ray/train/v2/tests/test_persistence.py), which fails at these iterations
    and looks for exactly so many checkpoints afterwards."""
    log, kept = tmp_path / "log", tmp_path / "kept"
    log.mkdir()
    run = contract.start(
        cluster, framework, model=contract.builder(framework, log, breaks_twice), steps=9, checkpoint=kept,
        checkpoint_every_steps=1, keep_checkpoints=3,
    ).wait(250)  # fmt: skip
    assert len(run.restarts) == 2
    assert all(text.startswith("rank 1 of 2 on ") and "no luck today" in text for text in run.restarts), run.restarts
    assert contract.steps_taken(log)[1] == 9 + 2
    assert [int(path.stem[5:]) for path in checkpoint.steps(kept)] == [7, 8, 9]
    contract.assert_equal(run, contract.bare(framework, 9))


@pytest.mark.parametrize("framework", contract.FRAMEWORKS)
def test_a_run_that_ended_otherwise_has_no_state_to_go_on_with(framework, tmp_path):
    with pytest.raises(lnb.TrainingError, match="holds no checkpoint to resume from"):
        contract.start(None, framework, resume=tmp_path)
