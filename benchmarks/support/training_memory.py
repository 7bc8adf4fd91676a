"""Memory of ranks that learn from Parquet larger than what they may use."""

from __future__ import annotations

import resource
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from support import machine
from support.contest import Targets

import lepton_nb as lnb

FEATURES = 200
GROUP_ROWS = 50_000
LIMIT_BYTES = 1_000_000_000


def memory(work: Path, targets: Targets, *, quick: bool) -> None:
    """Two ranks over a table of 1.6 times the limit: what is resident of each at its peak."""
    groups = 8 if quick else 40
    path = work / "large.parquet"
    _write(path, groups)
    table_bytes = groups * GROUP_ROWS * (FEATURES + 1) * 4
    limit_bytes = LIMIT_BYTES
    print(
        f"\nmemory, {groups * GROUP_ROWS:,} rows of {FEATURES} float32 in {groups} row groups: "
        f"{table_bytes / 1e9:.2f} GB as numbers, {path.stat().st_size / 1e9:.2f} GB as a file; "
        f"limit {limit_bytes / 1e9:g} GB a rank, "
        f"{machine.load()}"
    )
    before = _peak_bytes()
    with lnb.Cluster(workers=2, memory="1GB") as cluster:
        run = lnb.train(
            lnb.models.mlp(hidden=(128, 64)), str(path), target="y", loss="binary_cross_entropy", stream=True,
            epochs=1, batch_size=4096, workers=2, cluster=cluster, max_restarts=0,
        ).wait()  # fmt: skip
    path.unlink()
    for row in run.usage.iter_rows(named=True):
        print(f"  rank {row['rank']}: peak {row['peak_memory_bytes'] / 1e9:.3f} GB resident, shared libraries included")
    print(f"  {run.notes[0]}")
    print(f"  the notebook's own peak grew by {(_peak_bytes() - before) / 1e9:.3f} GB")
    print(f"  {run.history['rows_per_s'][-1]:,.0f} rows a second")
    peak = float(run.usage["peak_memory_bytes"].max())  # type: ignore[arg-type]
    name = f"peak memory of a rank over the limit, with a table of {table_bytes / limit_bytes:.1f} times the limit:"
    if quick:
        targets.not_measured(name, f"the table is small with --quick; {peak / limit_bytes:.2f}")
    else:
        targets.at_most(name, peak / limit_bytes, 1.0)


def _write(path: Path, groups: int) -> None:
    random = np.random.default_rng(0)
    names = [f"x{number}" for number in range(FEATURES)]
    schema = pa.schema([*((name, pa.float32()) for name in names), ("y", pa.float32())])
    with pq.ParquetWriter(path, schema, compression="none", use_dictionary=False) as writer:
        for _ in range(groups):
            values = random.standard_normal((FEATURES, GROUP_ROWS), np.float32)
            target = (values[0] > 0).astype(np.float32)
            writer.write_table(pa.table([*values, target], schema=schema), row_group_size=GROUP_ROWS)


def _peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
