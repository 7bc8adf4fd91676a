import json
import os
import signal
import subprocess
import sys
import threading
import time
import warnings

import numpy as np
import polars as pl
import pytest
import training_contract as contract
from sweeps import SPACE, search, table
from torch import nn

import lepton_nb as lnb
from lepton_nb.events import Progress, Status
from lepton_nb.training import sweep_folder, sweep_space
from lepton_nb.training.sweep_study import Rules, Trials


def rules(**changed):
    given = {"direction": "minimize", "prune": "median", "startup": 3, "seed": 5, "epochs": 4}
    return Rules(space=sweep_space.read(SPACE), **{**given, **changed})


def judge(values, epoch):
    """The figure that a training with these values would have after an epoch."""
    return abs(np.log10(values["learning_rate"]) + 2) + 0.1 * len(values["hidden"]) + 1 / epoch


def advance(trials, total, figure=judge):
    """Go on to `total` trials, as a sweep does; the values drawn by each."""
    drawn = []
    while (trial := trials.begin(total)) is not None:
        drawn.append((trial.number, trial.values))
        if trial.number == 2:
            trial.fail("as planned", 0.5)
        elif any(trial.report(epoch, figure(trial.values, epoch)) for epoch in range(1, 5)):
            trial.prune(1.0)
        else:
            trial.complete(figure(trial.values, 4), 1.0)
    return drawn


@pytest.mark.parametrize("prune", ["median", "hyperband", None])
def test_a_seed_gives_the_same_draws_also_when_the_sweep_goes_on_elsewhere(tmp_path, prune, capfd):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        whole = advance(Trials(rules(prune=prune)), 14)
        parts = []
        for total in (1, 7, 14):
            parts += advance(Trials(rules(prune=prune), tmp_path / "journal"), total)
        other = advance(Trials(rules(prune=prune, seed=6)), 14)
    assert parts == whole
    assert [number for number, _ in whole] == list(range(14))
    assert other != whole
    assert len({values["learning_rate"] for _, values in whole}) == 14
    assert all(values["batch_size"] in (16, 32, 48, 64) for _, values in whole)
    assert all(json.loads(line) for line in (tmp_path / "journal").read_text().splitlines())
    assert capfd.readouterr() == ("", "")


def test_the_table_says_how_each_trial_went():
    trials = Trials(rules())
    advance(trials, 14)
    table_ = trials.frame(over=False)
    assert table_.columns[:5] == ["number", "state", "value", "epochs_done", "duration_s"]
    assert table_.columns[5:] == [*SPACE, "reason"]
    assert table_.schema["hidden"] == pl.String
    assert {"complete", "pruned", "failed"} == set(table_["state"])
    failed = table_.row(2, named=True)
    assert (failed["state"], failed["reason"], failed["value"]) == ("failed", "as planned", None)
    pruned = table_.filter(state="pruned")
    assert (pruned["epochs_done"] < 4).all()
    complete = table_.filter(state="complete")
    assert (complete["epochs_done"] == 4).all()
    number, value, values = trials.best()
    assert value == complete["value"].min()
    assert judge(values, 4) == value
    assert table_.row(number, named=True)["hidden"] == repr(values["hidden"])
    assert trials.better(value - 1)
    assert not trials.better(value)


def test_the_search_learns_from_its_results():
    trials = Trials(rules(prune=None, startup=10))
    drawn = [judge(values, 4) for _, values in advance(trials, 40)]
    assert np.mean(drawn[-15:]) < np.mean(drawn[:10])


def test_more_is_better_where_the_direction_says_so():
    trials = Trials(rules(direction="maximize"))
    advance(trials, 8, lambda values, epoch: -judge(values, epoch))
    complete = trials.frame(over=True).filter(state="complete")
    assert trials.best()[1] == complete["value"].max()
    assert trials.better(100.0)


def test_a_trial_that_a_killed_process_left_runs_again_with_its_number_and_values(tmp_path):
    code = f"""
import os, signal, sys
from pathlib import Path
from lepton_nb.training import sweep_folder, sweep_space
from lepton_nb.training.sweep_study import Rules, Trials
folder = Path({str(tmp_path)!r})
with sweep_folder.alone_in(folder):
    space = sweep_space.read({SPACE!r})
    trials = Trials(Rules(space, "minimize", "median", 3, 5, 4), folder / "journal.log")
    trials.begin(9).complete(1.0, 1.0)
    trials.begin(9).report(1, 2.0)
    with (folder / "journal.log").open("a") as file:
        file.write('{{"op_code": 4, "stu')
    os.kill(os.getpid(), signal.SIGKILL)
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -signal.SIGKILL
    undisturbed = advance(Trials(rules()), 2, lambda values, epoch: 1.0)
    with sweep_folder.alone_in(tmp_path):
        trials = Trials(rules(), tmp_path / "journal.log")
        assert trials.frame(over=False)["state"].to_list() == ["complete", "running"]
        again = trials.begin(9)
        assert (again.number, again.values) == undisturbed[1]
        assert not again.report(1, 2.0)
        assert not again.report(2, 1.5)
        again.complete(1.5, 2.0)
        assert trials.frame(over=False)["epochs_done"].to_list() == [0, 2]
        assert trials.begin(9).number == 2
        with pytest.raises(lnb.TrainingError, match="another sweep runs in"), sweep_folder.alone_in(tmp_path):
            pass


def test_a_folder_belongs_to_one_sweep(tmp_path):
    facts = {"space": {"a": {"choices": [1, 2]}}, "metric": "loss", "options": {"epochs": 2}}
    folder = sweep_folder.prepare_folder(tmp_path / "s", facts, resume=False)
    assert sweep_folder.prepare_folder(folder, facts, resume=True) == folder
    # An option that only one version of lepton_nb knows is no difference.
    more = {**facts, "options": {"epochs": 2, "brand_new": True}}
    assert sweep_folder.prepare_folder(folder, more, resume=True) == folder
    with pytest.raises(lnb.TrainingError, match="holds another sweep; go on with that one"):
        sweep_folder.prepare_folder(folder, facts, resume=False)
    with pytest.raises(lnb.TrainingError, match="was another one: metric was 'loss' and is 'validation_loss'"):
        sweep_folder.prepare_folder(folder, {**facts, "metric": "validation_loss"}, resume=True)
    wider = {**facts, "space": {**facts["space"], "b": {"choices": [1]}}}
    with pytest.raises(lnb.TrainingError, match="was another one: space was") as caught:
        sweep_folder.prepare_folder(folder, wider, resume=True)
    assert caught.value.differing == ("space",)
    with pytest.raises(lnb.TrainingError, match="holds no sweep to go on with"):
        sweep_folder.prepare_folder(tmp_path / "other", facts, resume=True)
    (folder / "sweep.json").write_text("{")
    with pytest.raises(lnb.TrainingError, match="is damaged"):
        sweep_folder.prepare_folder(folder, facts, resume=True)
    assert sorted(os.listdir(folder)) == ["sweep.json"]


def test_a_sweep_in_which_all_trials_fail_fails_with_the_first_reason(cluster):
    def build(width):
        raise ValueError(f"no width of {width}")

    sweep = search(build, {"width": [1, 2, 3]}, trials=2, cluster=cluster)
    with pytest.raises(lnb.TrainingError, match="all 2 trials failed, .*the model function raised .*no width of"):
        sweep.wait(60)
    assert sweep.status is Status.FAILED
    assert sweep.trials["state"].to_list() == ["failed", "failed"]
    with pytest.raises(lnb.TrainingError, match="has no complete trial"):
        _ = sweep.best


@pytest.mark.slow
def test_trials_run_fail_and_are_pruned_and_the_best_model_is_kept(cluster, tmp_path):
    space = {"learning_rate": [1e-6, 0.05, 1e30], "hidden": [(4,), (8, 8)]}
    options = {"startup": 1, "epochs": 3, "batch_size": 20, "cluster": cluster, "metric": "validation_auc"}
    options["optimizer"] = "sgd"
    sweep = search(space=space, trials=4, seed=11, path=tmp_path / "s", **options)
    assert sweep.wait(280) is sweep
    table_ = sweep.trials
    assert {"complete", "failed", "pruned"} == set(table_["state"])
    assert (table_.filter(state="failed")["learning_rate"] == 1e30).all()
    assert table_.filter(state="failed")["reason"].str.contains("learning_rate").all()
    assert table_.filter(state="pruned")["epochs_done"].to_list() == [1] * table_["state"].eq("pruned").sum()
    assert (table_["duration_s"] > 0).all()
    assert sweep.best_value == table_.filter(state="complete")["value"].max()
    assert sweep.best_model.evaluate(table(200, seed=1))["auc"] == pytest.approx(sweep.best_value, abs=1e-6)
    progress = [event for event in sweep.events if isinstance(event, Progress)]
    assert [event.done for event in progress] == sorted(event.done for event in progress)
    assert (progress[-1].done, progress[-1].total) == (4, 4)
    assert [event.values["state"] for event in progress if event.values["state"] != "running"] == [*table_["state"]]
    with pytest.raises(lnb.TrainingError, match="was another one: seed was 11 and is 0"):
        search(space=space, trials=4, resume=tmp_path / "s", **options)
    # All its trials are there: nothing is trained.
    again = search(space=space, trials=4, seed=11, resume=tmp_path / "s", **options).wait(60)
    assert again.trials.equals(table_)
    assert again.best == sweep.best
    np.testing.assert_array_equal(again.best_model.predict(table()), sweep.best_model.predict(table()))


@pytest.mark.slow
def test_a_stopped_sweep_goes_on_with_the_trial_that_it_was_stopped_in(cluster, tmp_path):
    def build(features, width):
        return nn.Sequential(nn.Linear(features, width), nn.Tanh(), nn.Linear(width, 1))

    def stop_in_the_second(event):
        if isinstance(event, Progress) and event.values["trial"] == 1:
            sweep.stop()

    space = {"width": (2, 16), "learning_rate": (1e-3, 1e-1, "log"), "optimizer": ["sgd"]}
    # Momentum is only for "sgd", which is drawn.
    options = {"trials": 2, "cluster": cluster, "epochs": 1, "momentum": 0.5}
    sweep = search(build, space, path=tmp_path / "s", **options)
    sweep.watch(stop_in_the_second)
    sweep.wait(140)
    assert sweep.status is Status.STOPPED
    assert sweep.trials["state"].to_list() == ["complete", "stopped"]
    resumed = search(build, space, resume=tmp_path / "s", **options).wait(140)
    assert resumed.trials["state"].to_list() == ["complete", "complete"]
    drawn = ["number", "width", "learning_rate"]
    assert resumed.trials.select(drawn).equals(sweep.trials.select(drawn))
    figures = resumed.best_model.evaluate(table(200, seed=1))
    assert figures["loss"] == pytest.approx(resumed.best_value, rel=1e-5)
    assert resumed.best_value == resumed.trials["value"].min()
    assert not contract.held(cluster.client)


@pytest.mark.slow
def test_a_trial_that_loses_the_only_worker_does_not_take_the_next_ones_with_it():
    def build(features, deadly):
        if deadly:
            os.kill(os.getppid(), signal.SIGKILL)
        return nn.Linear(features, 1)

    with lnb.Cluster(workers=1) as small:
        sweep = search(
            build, {"deadly": [True, False]}, trials=2, seed=0, epochs=1, max_restarts=0, cluster=small
        ).wait(280)  # fmt: skip
        assert sweep.trials["deadly"].to_list() == [True, False]
        assert sweep.trials["state"].to_list() == ["failed", "complete"]
        assert "rank 0" in sweep.trials["reason"][0]


@pytest.mark.slow
def test_two_trials_train_at_once_each_on_a_worker_of_its_own(cluster, tmp_path):
    meet = tmp_path / "meet"
    meet.mkdir()

    def build(features, width):
        # Comes back only when another trial is here too.
        (meet / str(width)).touch()
        for _ in range(1_000):
            if len(list(meet.iterdir())) > 1:
                return nn.Sequential(nn.Linear(features, width), nn.Tanh(), nn.Linear(width, 1))
            time.sleep(0.1)
        raise ValueError("alone")

    options = {"trials": 3, "cluster": cluster, "epochs": 1, "path": tmp_path / "s", "prune": None}
    sweep = search(build, {"width": (2, 1_000)}, at_once="auto", **options)
    # Does not disturb them, and is not disturbed.
    other = lnb.train(lnb.models.mlp((4,)), table(), target="y", workers=2, epochs=1, cluster=cluster)
    sweep.wait(200)
    assert other.wait(100).status is Status.FINISHED
    assert sweep.trials["state"].to_list() == ["complete"] * 3
    assert sweep.best_value == sweep.trials["value"].min()
    figures = sweep.best_model.evaluate(table(200, seed=1))
    assert figures["loss"] == pytest.approx(sweep.best_value, rel=1e-5)
    assert not contract.held(cluster.client)


@pytest.mark.slow
def test_a_worker_that_dies_takes_only_its_own_trial():
    def build(features, deadly):
        if deadly:
            os.kill(os.getppid(), signal.SIGKILL)
        return nn.Linear(features, 1)

    with lnb.Cluster(workers=2, memory="1GB") as both:
        sweep = search(
            build, {"deadly": [True, False]}, trials=4, at_once=2, seed=0, epochs=1, max_restarts=0, prune=None,
            cluster=both,
        ).wait(280)  # fmt: skip
        by_kind = {deadly: set(group["state"]) for (deadly,), group in sweep.trials.group_by("deadly")}
        assert by_kind == {True: {"failed"}, False: {"complete"}}


def test_a_stopped_sweep_stops_all_trials_that_train_and_goes_on_with_them(cluster, tmp_path):
    both = threading.Event()
    seen = set()

    def look(event):
        if isinstance(event, Progress):
            seen.add(event.values["trial"])
            if len(seen) > 1:
                both.set()

    options = {"trials": 9, "at_once": 2, "cluster": cluster, "epochs": 100_000}
    sweep = search(space={"learning_rate": (1e-4, 1e-2)}, path=tmp_path / "s", **options)
    sweep.watch(look)
    assert both.wait(60)
    sweep.stop()
    assert sweep.status is Status.STOPPED
    assert sweep.trials["state"].to_list() == ["stopped"] * 2
    both.clear()
    seen.clear()
    again = search(space={"learning_rate": (1e-4, 1e-2)}, resume=tmp_path / "s", **options)
    again.watch(look)
    assert both.wait(60)
    again.stop()
    assert seen == {0, 1}
    assert again.trials["learning_rate"].to_list() == sweep.trials["learning_rate"].to_list()
