"""Untrained models, tables, and their predictions as columns."""

import io

import dask.dataframe as dd
import numpy as np
import polars as pl
import torch
from torch import nn

from lepton_nb.training.rows import Reader
from lepton_nb.training.trained import Trained

NAMES = ("a", "b", "c")
# Whole blocks of the matrix product, in which a row's sums do not depend on its neighbours.
BLOCK = 64


def trained_of(model, task="binary", names=NAMES, dtype="float32", transform=None, described=None):
    model = model.to(getattr(torch, dtype)).eval()
    buffer = io.BytesIO()
    torch.save(model.state_dict(), buffer)
    reader = Reader(tuple(names), "y", dtype, transform)
    return Trained(described or model, reader, task, buffer.getvalue(), 0, pl.DataFrame(), pl.DataFrame(), {})


def dense(outputs=1, features=3):
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(features, 32), nn.ReLU(), nn.Linear(32, outputs))


def table(rows=20 * BLOCK, seed=0):
    random = np.random.default_rng(seed)
    frame = pl.DataFrame(random.normal(size=(rows, 3)), schema=list(NAMES))
    return frame.with_columns(id=pl.int_range(rows), other=pl.lit("x"))


def partitioned(frame, heights):
    """A Dask DataFrame of partitions of these heights."""
    stops = np.cumsum(heights)
    parts = [frame.to_pandas().iloc[stop - height : stop] for height, stop in zip(heights, stops, strict=True)]
    return dd.from_map(lambda part: part, parts, meta=parts[0].iloc[:0])


def values(frame):
    """The predictions in a result, as `Trained.predict` shapes them."""
    names = [name for name in frame.columns if name.startswith("prediction")]
    matrix = frame[names].to_numpy()
    assert matrix.dtype == np.float64
    return matrix[:, 0] if names == ["prediction"] else matrix


def glob_source(frame, folder):
    for number in range(20):
        frame[number * BLOCK : (number + 1) * BLOCK].write_parquet(folder / f"table-{number:02d}.parquet")
    return str(folder / "table-*.parquet")
