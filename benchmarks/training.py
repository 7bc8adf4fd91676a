"""Training: step times, rates, starts, stops and memory, ours against others.

    python benchmarks/training.py [--only step,keras,...] [--rounds 5] [--slice 2] [--quick] [--ray]

The rows are the flights of the quickstart, the model is its perceptron. Where rates are compared, all contenders are
started first and then take turns of a few seconds, the others being held (ours paused, others stopped by a signal), so
that all see the same machine; ratios are those of a round, of which the median counts. Ours is as it comes: with its
rows of loss and gradient norm, its reports of cost, and its checkpoints for restarts.

step        two ranks against torchrun with DistributedDataParallel and the same slices of rows in memory
keras       two ranks of TensorFlow against a bare script with MultiWorkerMirroredStrategy
metrics     every step told and validation metrics, against nothing told; the validation pass itself is left out
flights     rows a second against Lightning and a DataLoader, in one process; in two as well, without a target
compiled    torch.compile against an eager step; without a target
start       a job of two ranks with one step, on a warm cluster, against torchrun and (--ray) Ray's TorchTrainer
speedup     two ranks over one, beside two independent processes over one
stop        from run.stop() to its return, for quick and slow steps
kill        from SIGKILL of a rank, or of a worker, to the next step; starting the process is told apart
latency     from the end of a step on a rank to its figures in the notebook
memory      peak memory of ranks that stream Parquet larger than their limit

--ray makes an environment of its own for Ray, .venv-peers, if it is not there (pip, a few minutes).
--quick shows that everything works; its figures mean little.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import traceback
import warnings
from pathlib import Path

from support import machine, training_contests, training_memory, training_times
from support.contest import Targets, chosen

from lepton_nb.training.attempts import FewerWorkersWarning

CONTESTS = {
    "step": training_contests.step,
    "keras": training_contests.keras,
    "metrics": training_contests.metrics,
    "flights": training_contests.rates_of_flights,
    "compiled": training_contests.compiled,
    "speedup": training_contests.speed_up,
}
TIMES = {
    "start": training_times.start,
    "stop": training_times.stop,
    "kill": training_times.kill,
    "latency": training_times.latency,
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parts = [*CONTESTS, *TIMES, "memory"]
    parser.add_argument("--only", metavar="PART,...", help=f"some of: {', '.join(parts)}")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--slice", type=float, default=2.0, help="seconds of a turn")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--ray", action="store_true", help="against Ray, too")
    options = parser.parse_args()
    wanted = chosen(options.only, parts)
    rounds, slice_s = (1, 0.7) if options.quick else (options.rounds, options.slice)
    print(machine.describe(("torch", "tensorflow", "keras", "lightning", "distributed", "numpy")), flush=True)
    # That one worker is quicker with small batches is known here.
    warnings.simplefilter("ignore", FewerWorkersWarning)
    targets = Targets()
    with tempfile.TemporaryDirectory(prefix="lepton-nb-training-") as folder:
        work = Path(folder)
        if any(name in CONTESTS for name in wanted):
            at = training_contests.setting(work, rounds, slice_s)
        for name in wanted:
            try:
                if name in CONTESTS:
                    CONTESTS[name](at, targets)
                elif name == "start":
                    training_times.start(rounds, targets, ray=options.ray)
                elif name in TIMES:
                    TIMES[name](rounds, targets)
                else:
                    training_memory.memory(work, targets, quick=options.quick)
            except Exception:  # the other parts can still be measured
                traceback.print_exc(file=sys.stdout)
                targets.missed += 1
                print(f"target: {name}: failed: MISSED")
            sys.stdout.flush()
    return targets.status


if __name__ == "__main__":
    raise SystemExit(main())
