"""How long a run takes to start, to stop, to go on after a loss, and to tell what it does."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from support import machine, training_models
from support.contest import Targets
from support.training_turns import PEERS, torchrun, wait_until

import lepton_nb as lnb
from lepton_nb.events import Progress

PEERS_VENV = Path(__file__).resolve().parent.parent.parent / ".venv-peers"
STEP_S = 0.02
SLOW_STEP_S = 0.2
ROWS = np.ones((6400, 4), np.float32), np.arange(6400, dtype=np.float32)


def show(taken: dict[str, list[float]]) -> None:
    """Median and range."""
    for name, found in taken.items():
        print(
            f"  {name:44}{statistics.median(found):7.3f} s ({min(found):.3f} to {max(found):.3f}, {len(found)} times)"
        )


def start(rounds: int, targets: Targets, *, ray: bool) -> None:
    """A job that does next to nothing."""
    print(f"\nstart, {machine.load()}")
    with contextlib.ExitStack() as stack:
        cluster = stack.enter_context(lnb.Cluster(workers=2))
        contenders: dict[str, Callable[[], float]] = {
            "ours, one step": functools.partial(_our_start, cluster),
            "torchrun, one all-reduce": functools.partial(_torchrun_start, "first_sum"),
            "torchrun, one step of Adam": functools.partial(_torchrun_start, "first_step"),
        }
        if ray:
            contenders["Ray's TorchTrainer, one all-reduce"] = stack.enter_context(_ray())
        taken: dict[str, list[float]] = {name: [] for name in contenders}
        for number in range(rounds + 1):
            for name, take in contenders.items():
                seconds = take()
                if number:  # a first one reads files that later ones find in memory
                    taken[name].append(seconds)
    show(taken)
    targets.at_most("start of a job of two ranks over torchrun's:", _ratio(taken, "torchrun, one all-reduce"), 1.0)
    name = "start of a job of two ranks, how many times faster than Ray's TorchTrainer"
    if ray:
        targets.at_least(name, 1 / _ratio(taken, "Ray's TorchTrainer, one all-reduce"), 4.0)
    else:
        targets.not_measured(name, "not run (give --ray)")


def _ratio(taken: dict[str, list[float]], other: str) -> float:
    return statistics.median(a / b for a, b in zip(taken["ours, one step"], taken[other], strict=True))


def _our_start(cluster: lnb.Cluster) -> float:
    began_s = time.monotonic()
    run = lnb.train(lnb.models.mlp(hidden=(), task="regression"), ROWS, steps=1, workers=2, cluster=cluster).wait()
    taken_s = time.monotonic() - began_s
    assert run.step == 1
    return taken_s


def _torchrun_start(kind: str) -> float:
    done = subprocess.run(
        [sys.executable, *torchrun([str(PEERS), kind], 2)], stdin=subprocess.DEVNULL, capture_output=True, text=True
    )
    ended_s = time.monotonic()
    if done.returncode:
        raise RuntimeError(f"torchrun failed:\n{done.stderr[-3000:]}")
    return ended_s - float(json.loads(done.stdout.splitlines()[0])["began_s"])


@contextlib.contextmanager
def _ray() -> Iterator[Callable[[], float]]:
    """What times one job on a Ray cluster that goes on, in its own environment and its own network."""
    python = PEERS_VENV / "bin" / "python"
    if not python.exists():
        print(f"  making {PEERS_VENV.name} for Ray", flush=True)
        venv.create(PEERS_VENV, with_pip=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", "ray[train]", "torch==2.13.0"], check=True)
    script = Path(__file__).with_name("training_ray.py")
    work = tempfile.TemporaryDirectory(prefix="lepton-nb-ray-")
    with work, tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(
            [sys.executable, str(PEERS), "apart", f"--python={python}", str(script), work.name],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True, start_new_session=True,
        )  # fmt: skip
        assert process.stdin is not None
        assert process.stdout is not None
        try:

            def answer(name: str) -> float:
                assert process.stdout is not None
                for line in process.stdout:
                    if line.startswith("{") and name in (facts := json.loads(line)):
                        return float(facts[name])
                errors.seek(0)
                raise RuntimeError(f"Ray ended: {errors.read().decode()[-3000:]}")

            def take() -> float:
                assert process.stdin is not None
                process.stdin.write("go\n")
                process.stdin.flush()
                return answer("taken_s")

            answer("ready_s")
            yield take
        finally:
            process.stdin.close()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(60)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            process.stdout.close()


def _started(cluster: lnb.Cluster, folder: Path, step_s: float, **options: Any) -> Any:
    """A run of the stamped model that has done some steps.

    As least and most workers: of a number the run would ask, with further passes, whether it is the quickest.
    """
    run = lnb.train(
        functools.partial(training_models.stamped, folder, step_s), ROWS, loss="mse", batch_size=64, epochs=10**6,
        workers=(2, 2), cluster=cluster, **options,
    )  # fmt: skip
    wait_until(lambda: run.step > 5 or run.status.over, "no steps")
    if run.status.over:
        run.wait()
    return run


def stop(rounds: int, targets: Targets) -> None:
    """From stop() to its return, state and weights in hand."""
    print(f"\nstop, {machine.load()}")
    taken: dict[str, list[float]] = {}
    with lnb.Cluster(workers=2) as cluster:
        for _ in range(rounds):
            for step_s in (STEP_S, SLOW_STEP_S):
                with tempfile.TemporaryDirectory(prefix="lepton-nb-stamps-") as folder:
                    run = _started(cluster, Path(folder), step_s, log_every_steps=1)
                    time.sleep(0.5)
                    began_s = time.monotonic()
                    run.stop()
                    taken.setdefault(f"stop to stopped, steps of {step_s:g} s", []).append(time.monotonic() - began_s)
                    assert run.state is not None
    show(taken)
    for (name, found), step_s in zip(taken.items(), (STEP_S, SLOW_STEP_S), strict=True):
        targets.at_most(f"{name}, without one step, in s:", statistics.median(found) - step_s, 1.0)


def kill(rounds: int, targets: Targets) -> None:
    """From SIGKILL to the first step of the gang that started again."""
    for what in ("rank", "worker"):
        print(f"\nkill of a {what}, {machine.load()}")
        noticed, began, whole = [], [], []
        for _ in range(rounds):
            with (
                lnb.Cluster(workers=2) as cluster,
                tempfile.TemporaryDirectory(prefix="lepton-nb-stamps-") as folder,
            ):
                run = _started(cluster, Path(folder), STEP_S, log_every_steps=5)
                # A checkpoint is there by then.
                time.sleep(3)
                before = set(training_models.stamps(Path(folder)))
                victim = _rank_process(cluster, 1)
                if what == "worker":
                    victim = victim.parent()
                killed_s = training_models.now_s()
                victim.kill()
                again = functools.partial(_began_again, Path(folder), before)
                wait_until(lambda: len(again()) == 2 or run.status.over, "did not train again", look_s=0.05)  # noqa: B023
                later = again()
                if run.status.over:
                    run.wait()
                run.stop()
                # The slower of the two decides, and starting counts for the one that began last.
                started_s, first_s = (max(seen[i] for seen in later) for i in range(2))
                noticed.append(started_s - killed_s)
                began.append(first_s - started_s)
                whole.append(first_s - killed_s)
        show(
            {
                f"{what}: kill to new processes": noticed,
                f"{what}: processes to their first step": began,
                f"{what}: kill to training again": whole,
            }
        )
        targets.at_most(
            f"kill of a {what} to training again, without the start of processes, in s:",
            statistics.median(noticed),
            5.0,
        )


def _began_again(folder: Path, before: set[int]) -> list[list[float]]:
    """Stamps of the processes that were not there before and have begun a step."""
    return [seen for pid, seen in training_models.stamps(folder).items() if pid not in before and len(seen) > 1]


def _rank_process(cluster: lnb.Cluster, rank: int) -> psutil.Process:
    for pid in cluster.client.run(os.getpid).values():
        for child in psutil.Process(pid).children(recursive=True):
            if child.name() == f"lnb-rank-{rank}":
                return child
    raise RuntimeError(f"rank {rank} is not there")


def latency(rounds: int, targets: Targets) -> None:
    """From the end of a step to its row in `run.steps`, every step told."""
    print(f"\nlatency of figures, steps of {STEP_S:g} s, {machine.load()}")
    medians, worst, lost = [], [], 0
    with lnb.Cluster(workers=2) as cluster:
        for _ in range(rounds):
            with tempfile.TemporaryDirectory(prefix="lepton-nb-stamps-") as folder:
                arrivals: list[tuple[int, float]] = []
                # Without further passes, whose stamps would count as steps.
                run = _started(cluster, Path(folder), STEP_S, log_every_steps=1, compile=False)
                run.watch(functools.partial(_note_arrival, arrivals))
                time.sleep(6)
                run.stop()
                found = _delays(run.steps.rows(named=True), arrivals, training_models.stamps(Path(folder)))
                lost += run.step - run.steps.height
                medians.append(statistics.median(found))
                worst.append(max(found))
    show({"delay, median of a run": medians, "delay, worst of a run": worst})
    targets.at_most("delay of per-batch figures in the notebook, worst of a run, in s:", statistics.median(worst), 0.2)
    targets.at_most("per-batch figures lost:", lost, 0)


def _zero(passes: Any, elapsed_s: Any) -> float:
    count = min(len(passes), len(elapsed_s))
    return float((passes[:count] - elapsed_s[:count]).max())


def _note_arrival(arrivals: list[tuple[int, float]], event: Any) -> None:
    if isinstance(event, Progress) and event.values.get("phase") == "training":
        arrivals.append((event.done, training_models.now_s()))


def _delays(
    rows: Sequence[dict[str, Any]], arrivals: Sequence[tuple[int, float]], passes: dict[int, list[float]]
) -> list[float]:
    """Seconds from the end of each step, by the ranks' clock, to the first arrival that holds it."""
    elapsed_s = np.array([row["elapsed_s"] for row in rows])
    # A rank begins the pass of step n + 1 after step n has ended, so the ranks' zero is no earlier than this.
    zero_s = max(
        float((np.array(seen[1 : len(rows) + 1]) - elapsed_s[: len(seen) - 1]).max()) for seen in passes.values()
    )
    # Those of the past came all at once when the watch began.
    settled_s = arrivals[0][1] + 0.5
    first = max(done for done, at_s in arrivals if at_s <= settled_s)
    with_time = [(done, at_s) for done, at_s in arrivals if at_s > settled_s]
    found, at = [], 0
    for row in rows:
        if row["step"] <= first or row["step"] > with_time[-1][0]:
            continue
        while with_time[at][0] < row["step"]:
            at += 1
        found.append(with_time[at][1] - (zero_s + row["elapsed_s"]))
    return found
