"""What `import lepton_nb` costs, beside an import of two modules of the standard library.

    python benchmarks/import_time.py [--repeats 21]

Each measurement is a whole interpreter, from start to exit; the two take turns, and the medians are compared.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import subprocess
import sys
import time

TARGET_RATIO, TARGET_EXTRA_S = 1.15, 0.1
STATEMENTS = {"ours": "import lepton_nb", "standard library": "import importlib.metadata, typing"}


def measure(statement: str) -> float:
    """Seconds for one interpreter that runs `statement`."""
    begin = time.perf_counter()
    subprocess.run([sys.executable, "-c", statement], check=True)
    return time.perf_counter() - begin


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=21)
    options = parser.parse_args()
    print(f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.2f}, {platform.python_version()}")
    for statement in STATEMENTS.values():
        measure(statement)  # compiles what is not yet compiled
    times: dict[str, list[float]] = {name: [] for name in STATEMENTS}
    for _ in range(options.repeats):
        for name, statement in STATEMENTS.items():
            times[name].append(measure(statement))
    for name, taken in times.items():
        print(
            f"  {name:18}{statistics.median(taken):8.4f} s ({min(taken):.4f} to {max(taken):.4f})  {STATEMENTS[name]}"
        )
    ours_s, standard_s = (statistics.median(taken) for taken in times.values())
    limit_s = TARGET_RATIO * standard_s + TARGET_EXTRA_S
    verdict = "met" if ours_s <= limit_s else "MISSED"
    print(
        f"target: at most {TARGET_RATIO} times the standard library's plus {TARGET_EXTRA_S} s = {limit_s:.3f} s; "
        f"ours {ours_s:.3f} s, ratio {ours_s / standard_s:.2f}: {verdict}"
    )
    return 0 if ours_s <= limit_s else 1


if __name__ == "__main__":
    raise SystemExit(main())
