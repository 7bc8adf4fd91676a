import numpy as np
import polars as pl
import pytest

import lepton_nb as lnb
from lepton_nb.cluster.probe import probe_gpus

pytestmark = pytest.mark.gpu


@pytest.fixture
def gpus():
    found, note = probe_gpus()
    if not found:
        pytest.skip(note)
    return found


def test_training_on_a_gpu_agrees_with_the_processor(gpus):
    random = np.random.default_rng(0)
    features = random.normal(size=(1000, 4))
    table = pl.DataFrame(features, schema=["a", "b", "c", "d"]).with_columns(y=pl.Series(features[:, 0] > 0))
    losses = {}
    for count in (0, 1):
        with lnb.Cluster(workers=1, gpus=count) as cluster:
            options = {"target": "y", "workers": 1, "epochs": 2, "batch_size": 100, "precision": "float64"}
            run = lnb.train(lnb.models.mlp(hidden=(8,)), table, cluster=cluster, **options).wait()
            losses[cluster.backend] = run.history["loss"].to_numpy()
    assert np.allclose(losses["cpu"], losses["cuda"], rtol=1e-9)


def test_two_gpus_agree_with_one(gpus):
    if len(gpus) < 2:
        pytest.skip("one GPU on this machine, and this needs two")
    table = pl.DataFrame({"x": np.linspace(-1, 1, 333), "y": np.linspace(-1, 1, 333) > 0.1})
    losses = []
    for workers in (1, 2):
        with lnb.Cluster(gpus=workers) as cluster:
            options = {"target": "y", "workers": workers, "epochs": 3, "batch_size": 50, "precision": "float64"}
            run = lnb.train(lnb.models.mlp(hidden=(8,)), table, cluster=cluster, **options).wait()
            losses.append(run.history["loss"].to_numpy())
    assert np.allclose(losses[0], losses[1], rtol=1e-9)
