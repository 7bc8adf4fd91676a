"""Time of the whole quickstart: the command that `make demo` runs, from its start to its report on disk.

python benchmarks/quickstart.py [--repeats 1]
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

TARGET_S = 90.0
NOTEBOOK = Path(__file__).resolve().parent.parent / "notebooks" / "01_quickstart.ipynb"


def measure() -> float:
    """Seconds for one report."""
    with tempfile.TemporaryDirectory() as folder:
        command = [
            str(Path(sys.executable).parent / "lepton-nb"),
            "report",
            "run",
            str(NOTEBOOK),
            "-o",
            f"{folder}/report",
        ]
        begin = time.perf_counter()
        done = subprocess.run(command, capture_output=True, text=True)
        taken_s = time.perf_counter() - begin
        if done.returncode:
            raise SystemExit(f"the quickstart failed:\n{done.stdout[-1000:]}\n{done.stderr[-2000:]}")
    return taken_s


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=1)
    options = parser.parse_args()
    print(f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.2f}, {platform.python_version()}")
    times = [measure() for _ in range(options.repeats)]
    median_s = statistics.median(times)
    print(f"  {NOTEBOOK.name} as a report: {', '.join(f'{taken_s:.1f} s' for taken_s in times)}")
    verdict = "met" if median_s <= TARGET_S else "MISSED"
    print(f"target: at most {TARGET_S:.0f} s on 2 cores; {median_s:.1f} s: {verdict}")
    return 0 if median_s <= TARGET_S else 1


if __name__ == "__main__":
    raise SystemExit(main())
