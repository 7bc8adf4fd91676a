"""Parts of the interface's benchmark that stream: frames, lag, and memory."""

from __future__ import annotations

import bisect
import contextlib
import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from playwright.sync_api import Browser, CDPSession, Page
from support import interface_pages as pages
from support import machine
from support.chromium import cpu_s, fresh_page, pss_mb, renderers
from support.contest import Targets
from support.served import OURS, PLAIN, Server, serving, write

FRAMES_A_S, LAG_MS = 8, 250
# Flat: at most this more in the last third than in the middle one.
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


def stream(browser: Browser, work: Path, targets: Targets, *, seconds: float, rounds: int) -> None:
    """Frames and lag of 20 updates a second, ours in several rounds and, after the first, a FigureWidget once."""
    print(f"\nstream, 20 updates a second of 4 series of 10,000 points for {seconds:g} s, {machine.load()}")
    ours = [_watched(browser, work, seconds, ours=True)]
    found = [("live chart", ours[0]), ("FigureWidget, plain Voila", _watched(browser, work, seconds, ours=False))]
    for _ in range(rounds - 1):
        ours.append(_watched(browser, work, seconds, ours=True))
        found.append(("live chart", ours[-1]))
    for name, shown in found:
        last = f"{shown.late_s:.2f} s" if shown.late_s is not None else f"not within {AFTER_S} s"
        lags = shown.lags()
        worst = f"{max(lags):.0f} ms behind the newest data at the most" if lags else "nothing new drawn meanwhile"
        usual = f"{statistics.median(shown.delays):.0f} ms from data to picture at the median, " if shown.delays else ""
        print(
            f"  {name:26} {shown.frames_a_s:.1f} frames a second of {shown.made_a_s:.1f} updates; {usual}{worst}; "
            f"the last update was seen after {last}; {shown.cpu}"
        )
    targets.at_least("stream: updates that were made in a second,", min(one.made_a_s for one in ours), 19)
    targets.at_least("stream: frames a second, fewest of the rounds,", min(one.frames_a_s for one in ours), FRAMES_A_S)
    # The machine is shared: what stands still for a moment in one round is not the chart's.
    worst = statistics.median(max(one.lags(), default=float("inf")) for one in ours)
    targets.at_most("stream: behind the newest data in ms, worst of a round, median of the rounds,", worst, LAG_MS)


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
    """Memory of the browser and of the kernel while a chart streams.

    The browser collects garbage when it likes, so that its memory goes up and down by a hundred MB; at the end of each
    third it is made to, and what is left then must be flat, as the kernel's memory must.
    """
    print(f"\nmemory over {minutes:g} minutes of the same stream, {machine.load()}")
    samples: dict[str, list[float]] = {"browser": [], "kernel": []}
    left: list[tuple[float, float, float]] = []
    pause_s = max(1.0, 60 * minutes / 300)
    with _streaming(browser, work, 60 * minutes, ours=True) as (page, server, stamps):
        session = page.context.new_cdp_session(page)
        page.click(".start")
        begin = time.monotonic()
        # The last look is shortly before the end, while the stream goes on.
        looks = [begin + 60 * minutes * part for part in (1 / 3, 2 / 3, 0.98)]
        while not _ended(stamps) and time.monotonic() < begin + 60 * minutes + AFTER_S:
            samples["browser"].append(pss_mb(renderers()))
            samples["kernel"].append(pss_mb(server.kernels()))
            if len(left) < len(looks) and time.monotonic() >= looks[len(left)]:
                left.append(_after_collection(session))
            time.sleep(pause_s)
    for name, taken in samples.items():
        print(
            f"  {name:8} median of the thirds {', '.join(f'{one:.0f}' for one in _thirds(taken))} MB as it was, "
            f"{max(taken):.0f} at the most, {len(taken)} samples"
        )
    for when, (resident, heap, nodes) in zip(("a third", "two thirds", "all"), left, strict=False):
        print(
            f"  after {when:10} of it, garbage collected: browser {resident:.0f} MB, of which JavaScript "
            f"{heap:.1f} MB; {nodes:.0f} nodes in its documents"
        )
    _, middle, end = left
    _flat(targets, "browser", middle[0], end[0])
    _, kernel_middle, kernel_end = _thirds(samples["kernel"])
    _flat(targets, "kernel", kernel_middle, kernel_end)


def _after_collection(session: CDPSession) -> tuple[float, float, float]:
    """MB of the renderers, MB of JavaScript's heap, and nodes, once garbage is collected."""
    session.send("HeapProfiler.enable")
    for _ in range(2):
        session.send("HeapProfiler.collectGarbage")
    session.send("HeapProfiler.disable")
    resident = pss_mb(renderers())
    session.send("Performance.enable")
    metrics = {one["name"]: one["value"] for one in session.send("Performance.getMetrics")["metrics"]}
    session.send("Performance.disable")
    return resident, metrics["JSHeapUsedSize"] / 1e6, metrics["Nodes"]


def _thirds(taken: list[float]) -> list[float]:
    third = len(taken) // 3
    return [statistics.median(taken[at : at + third]) for at in (0, third, 2 * third)]


def _flat(targets: Targets, name: str, middle: float, end: float) -> None:
    allowed = round(max(FLAT_PART * middle, FLAT_MB))
    targets.at_most(f"memory: the {name}'s growth in the last third in MB (5 %, or {FLAT_MB}),", end - middle, allowed)
