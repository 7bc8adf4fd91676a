"""Time until a cluster can take work: ours against bare Dask of the same shape and security.

    python benchmarks/cluster.py [--repeats 5] [--workers 2]

Every start is a fresh process that has imported what it needs. Timed: from the first call until all workers have
joined and one task has come back. The contenders take turns; the medians are compared.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import subprocess
import sys
import time

TARGET = 1.2
MEMORY = "2GB"


def ours(workers: int) -> float:
    """Seconds for `lnb.Cluster`, with its TLS and its private scratch folder."""
    from lepton_nb.cluster.session import Cluster

    _load_dask()
    begin = time.perf_counter()
    with Cluster(workers=workers, threads=1, memory=MEMORY, gpus=0) as cluster:
        return _ready(cluster.client, workers, begin)


def dask_tls(workers: int) -> float:
    """Seconds for LocalCluster and Client with a temporary certificate: the same shape and security."""
    from distributed import Security

    _load_dask()
    begin = time.perf_counter()
    return _dask(workers, begin, security=Security.temporary())


def dask_open(workers: int) -> float:
    """Seconds for LocalCluster and Client as they come: any user of the machine may connect."""
    _load_dask()
    return _dask(workers, time.perf_counter())


CONTENDERS = {"ours": ours, "dask with TLS": dask_tls, "dask without TLS": dask_open}


def _load_dask() -> None:
    import distributed  # noqa: F401
    from distributed import Client, LocalCluster, Nanny  # noqa: F401


def _dask(workers: int, begin: float, **options: object) -> float:
    from distributed import Client, LocalCluster

    with (
        LocalCluster(
            n_workers=workers,
            threads_per_worker=1,
            memory_limit=MEMORY,
            processes=True,
            host="127.0.0.1",
            dashboard_address="127.0.0.1:0",
            **options,
        ) as cluster,
        Client(cluster) as client,
    ):
        return _ready(client, workers, begin)


def _ready(client: object, workers: int, begin: float) -> float:
    client.wait_for_workers(workers, timeout=60)  # type: ignore[attr-defined]
    assert client.submit(abs, -1, pure=False).result(timeout=60) == 1  # type: ignore[attr-defined]
    return time.perf_counter() - begin


def measure(name: str, workers: int) -> float:
    """Seconds that a fresh process of this script measured for one contender."""
    command = [sys.executable, __file__, "--only", name, "--workers", str(workers)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{name} failed:\n{done.stderr[-2000:]}")
    return float(done.stdout.split()[-1])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--only", choices=list(CONTENDERS), help="run this one once, and print its seconds")
    options = parser.parse_args()
    if options.only:
        print(CONTENDERS[options.only](options.workers))
        return 0
    print(f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.2f}, {platform.python_version()}")
    print(f"{options.workers} workers with 1 thread and {MEMORY} each, {options.repeats} rounds in turn")
    times: dict[str, list[float]] = {name: [] for name in CONTENDERS}
    for _ in range(options.repeats):
        for name, taken in times.items():
            taken.append(measure(name, options.workers))
    medians = {name: statistics.median(taken) for name, taken in times.items()}
    for name, taken in times.items():
        ratio = medians["ours"] / medians[name]
        print(f"  {name:18}{medians[name]:7.3f} s ({min(taken):.3f} to {max(taken):.3f})   ours / it {ratio:.2f}")
    ratio = medians["ours"] / medians["dask with TLS"]
    verdict = "met" if ratio <= TARGET else "MISSED"
    print(f"target: at most {TARGET} times bare Dask with TLS; {ratio:.2f}: {verdict}")
    return 0 if ratio <= TARGET else 1


if __name__ == "__main__":
    raise SystemExit(main())
