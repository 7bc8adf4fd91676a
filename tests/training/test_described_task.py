import numpy as np
import polars as pl
import pytest

import lepton_nb as lnb

TABLE = pl.DataFrame({"x": np.linspace(-1, 1, 40), "flag": [0, 1] * 20, "size": np.linspace(0, 3, 40)})


def test_the_task_of_a_description_is_kept(cluster):
    model = lnb.models.mlp(hidden=(4,), task="regression")
    run = lnb.train(model, TABLE.select("x", "flag"), target="flag", workers=1, epochs=1, cluster=cluster).wait()
    assert run.task == "regression"


def test_a_target_that_does_not_fit_the_described_task_is_told(cluster):
    run = lnb.train(lnb.models.mlp(), TABLE.select("x", "size"), target="size", workers=1, epochs=1, cluster=cluster)
    with pytest.raises(lnb.TrainingError, match="must hold 0 and 1; .* for numbers task='regression'"):
        run.wait()


def test_a_loss_of_another_task_is_refused(cluster):
    with pytest.raises(lnb.TrainingError, match="the model has task='binary', and loss='mse' is for 'regression'"):
        lnb.train(lnb.models.mlp(), TABLE, target="flag", loss="mse", cluster=cluster)
