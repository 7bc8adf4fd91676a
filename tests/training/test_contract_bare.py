"""Two ranks end with the very bits of a bare torchrun script, and ranks without rows take part."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import training_contract as contract

import lepton_nb as lnb

SCRIPT = Path(contract.__file__).with_name("bare_torchrun.py")
STEPS = 100
SKLEARN = {
    "auc": "roc_auc_score", "average_precision": "average_precision_score", "f1": "f1_score",
    "precision": "precision_score", "recall": "recall_score",
}  # fmt: skip


@pytest.fixture(scope="module")
def scripted(tmp_path_factory):
    """The last weights of the script, by optimizer."""
    folder = tmp_path_factory.mktemp("torchrun")
    environment = {
        **os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo",
        "PYTHONPATH": os.pathsep.join((str(SCRIPT.parent), os.environ.get("PYTHONPATH", ""))),
    }  # fmt: skip

    def weights(optimizer):
        out = folder / f"{optimizer}.npz"
        if not out.exists():
            job = {**contract.OPTIONS, **(contract.ADAM if optimizer == "adam" else {}), "steps": STEPS}
            launch = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--local-addr"]
            launch += ["127.0.0.1", "--rdzv-backend", "c10d", "--rdzv-endpoint", "127.0.0.1:0"]
            done = subprocess.run(
                [*launch, str(SCRIPT), str(out), json.dumps(job)], env=environment, capture_output=True, text=True
            )
            assert done.returncode == 0, done.stderr
        with np.load(out) as found:
            return [found[name] for name in found.files]

    return weights


@pytest.mark.slow
@pytest.mark.parametrize(("optimizer", "parallel"), [("adam", "sum"), ("adam", "ddp")])
def test_two_ranks_end_with_the_bits_of_a_torchrun_script(cluster, scripted, optimizer, parallel):
    """The issue's own: rank 0's weights are those of a bare torchrun script on the same batches.

    The script has DistributedDataParallel, which halves and adds up; halving what was doubled loses no bit, and two
    numbers have one sum. With three ranks bits would depend on the order in which Gloo adds up.
    """
    options = contract.ADAM if optimizer == "adam" else {}
    run = contract.start(cluster, "torch", steps=STEPS, parallel=parallel, **options).wait(200)
    for found, expected in zip(run.model.parameters(), scripted(optimizer), strict=True):
        np.testing.assert_array_equal(found.detach().numpy(), expected)


@pytest.mark.slow
@pytest.mark.parametrize("parallel", ["ddp", "fsdp"])
def test_the_other_ways_to_add_up_come_to_the_same_numbers(cluster, parallel):
    """PyTorch's test_DDP_niter again, with a batch in pieces, a limit that no gradient reaches, and FSDP2."""
    run = contract.start(
        cluster, "torch", steps=STEPS, parallel=parallel, accumulation=3, clip_norm=1e9, **contract.ADAM
    ).wait(200)  # fmt: skip
    contract.assert_equal(run, contract.bare("torch", STEPS, **contract.ADAM))


@pytest.mark.slow
@pytest.mark.parametrize("framework", contract.FRAMEWORKS)
def test_three_rows_on_two_ranks_and_metrics_of_all_validation_rows(cluster, framework):
    """As accelerate's tests of uneven inputs (accelerate: test_utils/scripts/test_distributed_data_loop.py, three rows
    on two ranks) and PyTorch's test_ddp_uneven_inputs: the second batch has a row for one of the two ranks alone.

    Figures of the validation rows are scikit-learn's over all rows, never a mean over ranks. torchmetrics has them in
    32 bits.
    """
    from sklearn import metrics

    features, target = contract.rows(101, seed=5)
    run = contract.start(
        cluster, framework, data=contract.rows(3), batch_size=2, epochs=4, validation=(features, target),
        metrics=tuple(SKLEARN),
    ).wait(200)  # fmt: skip
    contract.assert_equal(run, contract.bare(framework, 8, 3, batch_size=2))
    chances = run.predict(features)
    for name, function in SKLEARN.items():
        scores = chances if name in ("auc", "average_precision") else chances > 0.5
        expected = getattr(metrics, function)(target, scores)
        tolerance = 1e-6 if framework == "torch" else 1e-12
        assert run.history[f"validation_{name}"][-1] == pytest.approx(expected, rel=tolerance, abs=1e-12), name
    assert run.history["validation_accuracy"][-1] == pytest.approx(np.mean((chances > 0.5) == target), rel=1e-12)
    assert run.history["validation_loss"][-1] == pytest.approx(metrics.log_loss(target, chances), rel=1e-9)


def test_more_ranks_than_the_cluster_has_workers_are_refused(cluster):
    """What would wait for ever elsewhere, both numbers are named for here."""
    with pytest.raises(lnb.TrainingError, match="workers=3, but the cluster has 2; give workers=2"):
        contract.start(cluster, "torch", workers=3)
