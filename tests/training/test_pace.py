"""How many workers are quickest: what follows from what was measured, and what runs make of it."""

import threading
import time
import warnings
from pathlib import Path

import numpy as np
import pytest
import training_contract as contract

import lepton_nb as lnb
from lepton_nb.events import Status
from lepton_nb.training.attempts import FewerWorkersWarning
from lepton_nb.training.pace import Pace, _has_room, counts_up_to

# Pauses of a pass, so that it is known what is quickest: a step of two ranks has two, at the same time.
PAUSE_S = 0.05


def of_every_row(rows):
    """Half of the rows take half of the time."""
    time.sleep(PAUSE_S * rows / contract.BATCH)


def of_a_part(rows):
    """Half of the rows take twice as long as all of them."""
    time.sleep(PAUSE_S if rows == contract.BATCH else 2 * PAUSE_S)


def _torch(pause, dropout):
    inner = contract.builder("torch", dropout=dropout)

    def build():
        from torch import nn

        class Pausing(nn.Module):
            def __init__(self):
                super().__init__()
                self.inner = inner()

            def forward(self, values):
                if self.training:
                    pause(len(values))
                return self.inner(values)

        return Pausing()

    return build


def _keras(pause, dropout):
    inner = contract.builder("keras", dropout=dropout)

    def build():
        import keras
        import tensorflow as tf

        def paused(rows):
            pause(int(rows))
            return np.int64(0)

        class Pausing(keras.layers.Layer):
            def call(self, values, training=False):
                if not training:
                    return values
                with tf.control_dependencies([tf.numpy_function(paused, [tf.shape(values)[0]], tf.int64)]):
                    return tf.identity(values)

        model = inner()
        return keras.Sequential([keras.Input((contract.FEATURES,)), Pausing(), *model.layers])

    return build


def model_of(framework, pause, dropout=0.3):
    return {"torch": _torch, "keras": _keras}[framework](pause, dropout)


def test_what_is_tried_and_what_is_best():
    assert counts_up_to(1) == (1,)
    assert counts_up_to(2) == (1, 2)
    assert counts_up_to(8) == (1, 2, 4, 8)
    assert counts_up_to(11) == (1, 2, 4, 8, 11)
    pace = Pace(1_000, {1: 8e-3, 2: 4e-3, 4: 2e-3}, {1: 0.0, 2: 1e-3, 4: 2e-3})
    assert pace.best == 4
    assert pace.gain(1) == pytest.approx(2)
    # Fewer, where a step takes about as long.
    assert Pace(1_000, {1: 8e-3, 2: 4e-3, 4: 2e-3}, {1: 0.0, 2: 1e-3, 4: 2.9e-3}).best == 2
    assert Pace(256, {1: 1.0e-3, 2: 0.97e-3}, {1: 0.0, 2: 0.0}).best == 1
    assert Pace.of(pace.told()) == pace


def test_what_was_measured_is_told_in_a_sentence():
    assert str(Pace(4_096, {1: 2e-3, 2: 1.1e-3}, {1: 0.0, 2: 0.9e-3})) == (
        "at 4,096 rows a step 1 worker 2.05 million, 2 workers 2.05 million rows a second; of a step of 2, 2 ms, "
        "adding up the gradients takes 0.9 ms"
    )
    assert str(Pace(10, {1: 2.5}, {1: 0.0})) == "at 10 rows a step 1 worker 4 rows a second"


def test_shares_that_may_not_fit_into_memory_are_not_tried():
    assert _has_room(1)
    assert not _has_room(1e6)


@pytest.mark.parametrize(
    ("workers", "message"),
    [("many", r"workers is 'many'; give a number, \(the least, the most\), or 'auto'"), (0, "whole number")],
)
def test_what_is_no_number_of_workers_is_refused(workers, message):
    with pytest.raises(lnb.TrainingError, match=message):
        lnb.train(lnb.models.mlp(), contract.rows(), workers=workers)
    with pytest.raises(lnb.TrainingError, match="FSDP2 has not; give their number"):
        lnb.train(lnb.models.mlp(), contract.rows(), workers="auto", parallel="fsdp")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("framework", "pause", "best"), [("torch", of_every_row, 2), ("torch", of_a_part, 1), ("keras", of_a_part, 1)]
)
def test_the_quickest_number_is_measured_and_the_numbers_stay_the_same(cluster, framework, pause, best):
    model = model_of(framework, pause, dropout=0.0)
    run = contract.start(cluster, framework, model=model, workers="auto", steps=20).wait(250)
    assert run.usage.height == best
    note = run.notes[-1]
    verb = "2 workers train" if best == 2 else "1 worker trains"
    assert note.startswith(f"workers='auto': {verb}, measured: at {contract.BATCH} rows a step 1 worker ")
    assert run.restarts == ()
    contract.assert_equal(run, contract.bare(framework, 20))


def test_a_cluster_of_one_worker_leaves_nothing_to_measure():
    with lnb.Cluster(workers=1) as small:
        run = contract.start(small, "torch", workers="auto", steps=3).wait(100)
    assert run.notes[-1] == "workers='auto': 1 worker trains, as the cluster has no more"


@pytest.mark.slow
@pytest.mark.parametrize("framework", contract.FRAMEWORKS)
def test_a_number_that_is_slower_than_a_smaller_one_is_warned_of_and_changes_nothing(cluster, framework):
    heard = threading.Event()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", FewerWorkersWarning)
        run = contract.start(cluster, framework, model=model_of(framework, of_a_part), steps=2_000)
        run.watch(lambda event: heard.set() if run.step >= 40 else None)
        assert heard.wait(200), (run.status, run.error)
        run.stop()
    assert run.status is Status.STOPPED
    (warning,) = [each for each in caught if each.category is FewerWorkersWarning]
    assert str(warning.message) == run.notes[-1]
    # Seen where the run was asked for.
    assert Path(warning.filename).name == "training_contract.py"
    assert run.notes[-1].startswith("workers=1 would be ")
    # A short run is not looked at. Both draw the same noise, which the look did not touch.
    again = contract.start(cluster, framework, model=model_of(framework, of_a_part), steps=40).wait(200)
    assert again.notes == run.notes[:-1]
    assert run.steps["loss"][:40].to_list() == again.steps["loss"].to_list()
