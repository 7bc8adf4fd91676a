"""Reports: what a run costs over the bare execution of its cells, and what its page and its verification cost.

    python benchmarks/reports.py [--only trivial,outputs,...] [--rounds 7]

trivial  300 trivial cells by the engine "lepton", bare nbclient and plain Papermill, in turn: from a notebook's file to
         the executed notebook's, with the start and the end of a kernel
outputs  100 cells that print 100 kB each, likewise
sweep    50 runs of a notebook of 2 s by 2 at once, against the ideal of 50 s; once
page     a report of two figures: its bytes beside its data, and the time until both are drawn
verify   `report verify` over the run itself
"""

from __future__ import annotations

import argparse
import sys
import traceback
from collections.abc import Callable
from typing import Any

from support import machine, report_overhead, report_pages, report_sweep, report_verify
from support.contest import Targets, chosen

# Each takes the targets and `rounds`.
PARTS: dict[str, Callable[..., Any]] = {
    "trivial": report_overhead.trivial,
    "outputs": report_overhead.outputs,
    "sweep": report_sweep.sweep,
    "page": report_pages.page,
    "verify": report_verify.verify,
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", metavar="PART,...", help=f"some of: {', '.join(PARTS)}")
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    print(machine.describe(("papermill", "nbclient", "ipykernel", "nbconvert")), flush=True)
    targets = Targets()
    for name in chosen(options.only, list(PARTS)):
        try:
            PARTS[name](targets, rounds=options.rounds)
        except Exception:  # the other parts can still be measured
            traceback.print_exc(file=sys.stdout)
            targets.missed += 1
            print(f"target: {name}: failed: MISSED")
        sys.stdout.flush()
    return targets.status


if __name__ == "__main__":
    raise SystemExit(main())
