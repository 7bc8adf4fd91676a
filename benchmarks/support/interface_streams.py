"""Parts of the interface's benchmark that stream: frames, lag, and memory."""

from __future__ import annotations

import bisect
import contextlib
import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from playwright.sync_api import Browser, Page
from support import interface_pages as pages
from support import machine
from support.chromium import cpu_s, fresh_page, pss_mb, renderers
from support.contest import Targets
from support.served import OURS, PLAIN, Server, serving, write

FRAMES_A_S, LAG_MS = 8, 250
# Flat: the last third of the samples, at the median, is at most this above the middle third.
FLAT_PART, FLAT_MB = 0.05, 20
# What a stream's start costs (a first large picture) is not its steady state.
SETTLE_MS = 2000
AFTER_S = 30
DRAWN = "() => document.querySelector('.js-plotly-plot .scatterlayer .trace path') !== null"

# Notes for each animation frame which update is drawn, once for each update: [when it was seen, its time stamp].
WATCH = """(epoch) => {
  const plot = document.querySelector(".js-plotly-plot");
  globalThis.seen = [];
  let drawn = null;
  const read = () => {
    const x = plot._fullData?.[0]?.x;
    drawn = x?.length ? x[x.length - 1] : drawn;
  };
  plot.on("plotly_afterplot", read);
  const look = () => {
    const last = globalThis.seen.at(-1);
    if (drawn !== null && (!last || last[1] !== drawn)) {
      globalThis.seen.push([performance.timeOrigin + performance.now() - epoch, drawn]);
    }
    requestAnimationFrame(look);
  };
  requestAnimationFrame(look);
}"""


@dataclass(frozen=True)
class Shown:
    """What a browser showed of a stream. Times in ms after an epoch.

    seen: (when, stamp of the update), ascending; made: stamps of all updates. The stream ended with the last of them.
    """

    seen: list[tuple[float, float]]
    made: list[float]
    cpu: str

    @property
    def steady(self) -> list[tuple[float, float]]:
        """Without the start."""
        begin = self.made[0] + SETTLE_MS
        return [one for one in self.seen if begin <= one[0] <= self.made[-1]]

    @property
    def frames_a_s(self) -> float:
        """New pictures a second while the stream went on."""
        return 1000 * len(self.steady) / max(1.0, self.made[-1] - self.made[0] - SETTLE_MS)

    @property
    def made_a_s(self) -> float:
        """Updates a second."""
        return 1000 * (len(self.made) - 1) / (self.made[-1] - self.made[0])

    def lags(self) -> list[float]:
        """At each moment before a newer picture came: the newest update that there was, less the one that was shown."""
        steady = self.steady
        ends = [when for when, _ in steady[1:]] + [self.made[-1]] if steady else []
        return [self._newest(end) - stamp for (_, stamp), end in zip(steady, ends, strict=True)]

    def _newest(self, when: float) -> float:
        return self.made[max(0, bisect.bisect_right(self.made, when) - 1)]

    @property
    def delays(self) -> list[float]:
        """From the making of each update that was shown to its picture."""
        return [when - stamp for when, stamp in self.steady]

    @property
    def late_s(self) -> float | None:
        """From the last update to its picture; None if it did not come in time."""
        when, stamp = self.seen[-1] if self.seen else (0.0, 0.0)
        return (when - self.made[-1]) / 1000 if abs(stamp - self.made[-1]) < 1 else None


def stream(browser: Browser, work: Path, targets: Targets, *, seconds: float) -> None:
    """Frames and lag of 20 updates a second, ours and a FigureWidget."""
    print(f"\nstream, 20 updates a second of 4 series of 10,000 points for {seconds:g} s, {machine.load()}")
    found = {
        "live chart": _watched(browser, work, seconds, ours=True),
        "FigureWidget, plain Voila": _watched(browser, work, seconds, ours=False),
    }
    for name, shown in found.items():
        last = f"{shown.late_s:.2f} s" if shown.late_s is not None else f"not within {AFTER_S} s"
        lags = shown.lags()
        worst = f"{max(lags):.0f} ms behind the newest data at the most" if lags else "nothing new drawn meanwhile"
        usual = f"{statistics.median(shown.delays):.0f} ms from data to picture at the median, " if shown.delays else ""
        print(
            f"  {name:26} {shown.frames_a_s:.1f} frames a second of {shown.made_a_s:.1f} updates; {usual}{worst}; "
            f"the last update was seen after {last}; {shown.cpu}"
        )
    ours = found["live chart"]
    targets.at_least("stream: updates that were made in a second,", ours.made_a_s, 19)
    targets.at_least("stream: frames a second,", ours.frames_a_s, FRAMES_A_S)
    targets.at_most("stream: behind the newest data in ms, worst,", max(ours.lags(), default=float("inf")), LAG_MS)


def _watched(browser: Browser, work: Path, seconds: float, *, ours: bool) -> Shown:
    with _streaming(browser, work, seconds, ours=ours) as (page, server, stamps):
        epoch = _epoch(stamps)
        page.evaluate(WATCH, epoch)
        processes = {"kernel": server.kernels(), "browser": renderers()}
        before = {name: cpu_s(some) for name, some in processes.items()}
        page.click(".start")
        deadline = time.monotonic() + seconds + AFTER_S
        # Nothing is asked of the page meanwhile: it has enough to do.
        while not _ended(stamps) and time.monotonic() < deadline:
            time.sleep(0.2)
        cpu = ", ".join(
            f"{(cpu_s(some) - before[name]) / seconds:.2f} cores in the {name}" for name, some in processes.items()
        )
        made = [float(line.split()[0]) for line in stamps.read_text().splitlines() if line != "end"]
        if len(made) < 2:
            raise RuntimeError("the stream did not begin")
        until = time.monotonic() + AFTER_S
        while True:
            seen = page.evaluate("() => globalThis.seen")
            if (seen and abs(seen[-1][1] - made[-1]) < 1) or time.monotonic() > until:
                return Shown([(when, stamp) for when, stamp in seen], made, cpu)
            time.sleep(0.2)


def _epoch(stamps: Path) -> int:
    return int(stamps.stem.partition("-")[2])


def _ended(stamps: Path) -> bool:
    return stamps.exists() and stamps.read_text().endswith("end\n")


@contextlib.contextmanager
def _streaming(browser: Browser, work: Path, seconds: float, *, ours: bool) -> Iterator[tuple[Page, Server, Path]]:
    """An open page with a chart and a button that begins its stream; the file where the kernel notes its updates."""
    epoch = int(1000 * time.time())
    stamps = work / f"stamps-{epoch}.txt"
    cell = pages.stream(ours=ours, epoch=epoch, stamps=str(stamps), seconds=seconds)
    notebook = write(work / f"stream-{epoch}.ipynb", cell)
    with serving(OURS if ours else PLAIN, notebook) as server, fresh_page(browser) as page:
        page.goto(server.url, wait_until="commit")
        page.wait_for_function(DRAWN)
        yield page, server, stamps


def memory(browser: Browser, work: Path, targets: Targets, *, minutes: float) -> None:
    """Memory of the browser and of the kernel while a chart streams."""
    print(f"\nmemory over {minutes:g} minutes of the same stream, {machine.load()}")
    samples: dict[str, list[float]] = {"browser": [], "kernel": []}
    pause_s = max(1.0, 60 * minutes / 300)
    with _streaming(browser, work, 60 * minutes, ours=True) as (page, server, stamps):
        page.click(".start")
        deadline = time.monotonic() + 60 * minutes + AFTER_S
        while not _ended(stamps) and time.monotonic() < deadline:
            samples["browser"].append(pss_mb(renderers()))
            samples["kernel"].append(pss_mb(server.kernels()))
            time.sleep(pause_s)
    for name, taken in samples.items():
        third = len(taken) // 3
        begin, middle, end = (statistics.median(taken[at : at + third]) for at in (0, third, 2 * third))
        print(
            f"  {name:8} median of the thirds {begin:.0f}, {middle:.0f}, {end:.0f} MB, {max(taken):.0f} at the most, "
            f"{len(taken)} samples"
        )
        allowed = max(FLAT_PART * middle, FLAT_MB)
        what = f"memory: the {name}'s last third above the middle one in MB (5 % of it, or {FLAT_MB}),"
        targets.at_most(what, end - middle, allowed)
