"""The interface: how soon a page is ready, a click is seen, new data are drawn, and at what memory.

    python benchmarks/interface.py [--only ready,click,...] [--rounds 5] [--minutes 10] [--quick]

Real servers (`lepton-nb app`; plain `voila` for what stands beside it) on notebooks written here, and a real headless
Chromium that draws with the processor. Times are taken in the browser, or with the clock that it shares with the
kernel.

ready    four live charts drawn, against a plain Voila page with one slider, in turn; what came over the wire, and how
         often a plotly.js was in it; a page with one FigureWidget beside it
click    from a click to the changed picture of a chart, beside a label that is changed
stream   20 updates a second of 4 series of 10,000 points: frames that were shown, and how far behind the newest data
         they were; the same with a FigureWidget beside it
many     10 million points in one line: the first picture, and a zoom
memory   of the browser's renderers, once garbage is collected, and of the kernel (PSS) over minutes of that stream:
         flat if in the last third there is at most 5 % or 20 MB more than in the middle one

--quick shows that everything works; its figures mean little.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import traceback
from pathlib import Path

from support import interface_parts, interface_streams, machine
from support.chromium import chromium
from support.contest import Targets, chosen

PARTS = ("ready", "click", "stream", "many", "memory")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", metavar="PART,...", help=f"some of: {', '.join(PARTS)}")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--minutes", type=float, default=None, help="of the part memory; 10, with --quick 0.5")
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    wanted = chosen(options.only, PARTS)
    quick = options.quick
    minutes = options.minutes if options.minutes is not None else 0.5 if quick else 10
    print(machine.describe(("voila", "ipywidgets", "anywidget", "plotly", "numpy")), flush=True)
    targets = Targets()
    with tempfile.TemporaryDirectory(prefix="lepton-nb-interface-") as folder:
        work = Path(folder)
        for number, name in enumerate(wanted):
            try:
                # Each part has a browser of its own: what one leaves in it does not weigh on the next.
                with chromium() as browser:
                    if not number:
                        print(f"Chromium {browser.version}", flush=True)
                    if name == "ready":
                        rounds = 1 if quick else options.rounds
                        interface_parts.ready(browser, work, targets, rounds=rounds)
                    elif name == "click":
                        interface_parts.click(browser, work, targets, clicks=5 if quick else 40)
                    elif name == "stream":
                        interface_streams.stream(
                            browser, work, targets, seconds=5 if quick else 60, rounds=1 if quick else 3
                        )
                    elif name == "many":
                        interface_parts.many(browser, work, targets, rounds=1 if quick else 3, rows=10_000_000)
                    else:
                        interface_streams.memory(browser, work, targets, minutes=minutes)
            except Exception:  # the other parts can still be measured
                traceback.print_exc(file=sys.stdout)
                targets.missed += 1
                print(f"target: {name}: failed: MISSED")
            sys.stdout.flush()
    return targets.status


if __name__ == "__main__":
    raise SystemExit(main())
