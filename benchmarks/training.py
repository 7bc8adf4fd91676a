"""Rows trained a second: our ranks beside plain PyTorch loops in one process, on the shape of the quickstart.

    python benchmarks/training.py [--rows 250000] [--epochs 5]

140 features, a perceptron 128-64-1, Adam, 1,024 rows a step, float32. The plain loops use every core: one slices
the rows like ours does, one takes them from a DataLoader, as most examples do. Of each, the best epoch counts; what
ours takes to start and end is told apart.
"""

from __future__ import annotations

import argparse
import os
import platform
import time
from collections.abc import Iterable

import numpy as np
import polars as pl
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import lepton_nb as lnb

FEATURES, BATCH = 140, 1024


def train_plainly(batches: Iterable[tuple[Tensor, Tensor]]) -> None:
    """One pass over `batches` with a fresh model."""
    model = lnb.models.mlp().build(FEATURES)
    optimizer = torch.optim.Adam(model.parameters(), fused=True)
    for features, target in batches:
        optimizer.zero_grad()
        nn.functional.binary_cross_entropy_with_logits(model(features).squeeze(1), target).backward()
        optimizer.step()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=250_000)
    parser.add_argument("--epochs", type=int, default=5)
    options = parser.parse_args()
    print(f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.2f}, torch {torch.__version__}")
    random = np.random.default_rng(0)
    features = random.normal(size=(options.rows, FEATURES)).astype(np.float32)
    target = (features[:, 0] + random.normal(size=options.rows) > 0).astype(np.float32)
    rows, labels = torch.from_numpy(features), torch.from_numpy(target)
    loader = DataLoader(TensorDataset(rows, labels), batch_size=BATCH, shuffle=True)
    train_plainly([(rows[:BATCH], labels[:BATCH])])  # loads what PyTorch loads on first use
    rates: dict[str, float] = {}
    for _ in range(options.epochs):
        sliced = ((rows[part], labels[part]) for part in torch.randperm(options.rows).split(BATCH))
        for name, batches in (("plain loop, sliced", sliced), ("plain loop, DataLoader", loader)):
            began_s = time.perf_counter()
            train_plainly(batches)
            rates[name] = max(rates.get(name, 0.0), options.rows / (time.perf_counter() - began_s))
    table = pl.DataFrame(features, schema=[f"x{i}" for i in range(FEATURES)]).with_columns(y=pl.Series(target))
    with lnb.Cluster(workers=2) as cluster:
        for workers in (1, 2):
            began_s = time.perf_counter()
            run = lnb.train(
                lnb.models.mlp(), table, target="y", workers=workers, epochs=options.epochs, batch_size=BATCH,
                cluster=cluster,
            ).wait()  # fmt: skip
            whole_s = time.perf_counter() - began_s
            trained_s = float(run.history["elapsed_s"][-1])
            rates[f"ours, {workers} ranks"] = float(run.history["rows_per_s"].max())
            print(f"  {workers} ranks: {whole_s - trained_s:.1f} s of {whole_s:.1f} s are start and end")
    for name, rate in rates.items():
        print(f"  {name:24}{rate:12,.0f} rows a second")
    ratio, beside_loader = (rates["ours, 2 ranks"] / rates[f"plain loop, {name}"] for name in ("sliced", "DataLoader"))
    print(
        f"two ranks against the plain loops on all cores: {ratio:.2f} of the sliced one, "
        f"{beside_loader:.2f} of the DataLoader; no target is set yet"
    )


if __name__ == "__main__":
    main()
