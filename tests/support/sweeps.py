"""Sweeps over a small table."""

import numpy as np
import polars as pl

import lepton_nb as lnb

NAMES = [f"x{i}" for i in range(4)]
SPACE = {"learning_rate": (1e-4, 1e-1, "log"), "hidden": [(4,), (8, 8)], "batch_size": (16, 64, 16)}


def table(rows=400, seed=0):
    features = np.random.default_rng(seed).normal(size=(rows, len(NAMES)))
    return pl.DataFrame(features, schema=NAMES).with_columns(y=pl.Series(features[:, 0] > features[:, 1]))


def search(model=None, space=None, **options):
    given = {"target": "y", "validation": table(200, seed=1), "epochs": 2, **options}
    return lnb.sweep(model or lnb.models.mlp((4,)), table(), space or {"learning_rate": [0.01, 0.1]}, **given)
