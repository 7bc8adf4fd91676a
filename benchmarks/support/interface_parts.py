"""Parts of the interface's benchmark: until a page is ready, until a click is seen, and ten million points."""

from __future__ import annotations

import contextlib
import statistics
import time
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page
from support import interface_pages as pages
from support import machine
from support.chromium import Traffic, cpu_s, fresh_page, renderers
from support.contest import Targets
from support.served import OURS, PLAIN, Server, serving, write

READY_RATIO, PAYLOAD_MB, CLICK_MS, FIRST_S, ZOOM_MS = 1.3, 15, 100, 2, 300
CHARTS_READY = """() => {
  const charts = [...document.querySelectorAll(".lepton-chart[data-ready]")];
  return charts.length === 4 && charts.every((one) => one.querySelectorAll(".scatterlayer .trace path").length >= 2);
}"""
SLIDER_READY = "() => document.querySelector('.widget-slider .noUi-handle') !== null"
FIGURE_READY = "() => document.querySelectorAll('.js-plotly-plot .scatterlayer .trace path').length >= 2"

# Clicks, and waits until `seen` differs: found by the first animation frame after the change, shown by the next one.
CLICK = """async ([button, seen, attribute]) => {
  const read = () => {
    const one = document.querySelector(seen);
    return attribute ? one.getAttribute(attribute) : one.textContent;
  };
  const frame = () => new Promise(requestAnimationFrame);
  const before = read();
  await frame();
  const begin = performance.now();
  document.querySelector(button).click();
  while (read() === before) {
    await frame();
    if (performance.now() - begin > 10000) throw new Error("the click had no effect within 10 s");
  }
  await frame();
  return performance.now() - begin;
}"""

FIRST = """async () => {
  const frame = () => new Promise(requestAnimationFrame);
  document.querySelector(".start").click();
  const begin = performance.now();
  while (!document.querySelector(".lepton-chart[data-ready] .scatterlayer .trace path")) {
    await frame();
    if (performance.now() - begin > 60000) throw new Error("the chart was not drawn within 60 s");
  }
  await frame();
  const drawn = (performance.timeOrigin + performance.now()) / 1000;
  while (!document.querySelector(".told").textContent) await frame();
  return [drawn, performance.now() - begin];
}"""

# A key zooms; then the kernel sends what lies there.
ZOOM = """async (key) => {
  const frame = () => new Promise(requestAnimationFrame);
  const root = document.querySelector(".lepton-chart");
  const before = root.dataset.frame;
  await frame();
  const begin = performance.now();
  root.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true }));
  while (root.dataset.frame === before) {
    await frame();
    if (performance.now() - begin > 10000) throw new Error("the zoom was not drawn within 10 s");
  }
  await frame();
  return performance.now() - begin;
}"""


def range_of(values: list[float], digits: int = 2, unit: str = "s") -> str:
    """Median and range."""
    return (
        f"{statistics.median(values):.{digits}f} {unit} ({min(values):.{digits}f} to {max(values):.{digits}f}, "
        f"{len(values)} rounds)"
    )


def _visit(browser: Browser, server: Server, ready: str) -> tuple[float, float]:
    """Seconds from asking for a page to what `ready` looks for, and of cores that its kernel and renderer took."""
    others = server.kernels()
    with fresh_page(browser) as page:
        begin = time.perf_counter()
        page.goto(server.url, wait_until="commit")
        page.wait_for_function(ready, polling=20)
        taken_s = time.perf_counter() - begin
        kernels = [kernel for kernel in server.kernels() if kernel not in others]
        return taken_s, cpu_s([*kernels, *renderers()])


def _payload(browser: Browser, server: Server, ready: str, packed: bytes) -> Traffic:
    with fresh_page(browser) as page:
        traffic = Traffic(page, packed)
        page.goto(server.url, wait_until="commit")
        page.wait_for_function(ready, polling=20)
        page.wait_for_load_state("networkidle")
        # Asked now, while the page is there.
        _ = traffic.files
        return traffic


def ready(browser: Browser, work: Path, targets: Targets, *, rounds: int) -> None:
    """A page of four charts beside one with a slider, and one with a FigureWidget."""
    notebooks = {
        "four live charts": (OURS, pages.CHARTS, CHARTS_READY),
        "a slider, plain Voila": (PLAIN, pages.SLIDER, SLIDER_READY),
        "one FigureWidget, plain Voila": (PLAIN, pages.FIGURE_WIDGET, FIGURE_READY),
    }
    print(f"\nready, from asking for a page to what it shows, an empty cache each, {machine.load()}")
    times: dict[str, list[float]] = {name: [] for name in notebooks}
    work_s: dict[str, list[float]] = {name: [] for name in notebooks}
    sizes = {}
    with contextlib.ExitStack() as stack:
        servers = {
            name: stack.enter_context(serving(command, write(work / f"ready{number}.ipynb", cell)))
            for number, (name, (command, cell, _)) in enumerate(notebooks.items())
        }
        packed = packed_part()
        for name, (_, _, found) in notebooks.items():
            # Also the visit that warms the server, which is not timed.
            sizes[name] = _payload(browser, servers[name], found, packed)
        for _ in range(rounds):
            for name, (_, _, found) in notebooks.items():
                taken_s, cores_s = _visit(browser, servers[name], found)
                times[name].append(taken_s)
                work_s[name].append(cores_s)
    for name, taken in times.items():
        traffic = sizes[name]
        print(
            f"  {name:30} {range_of(taken)}; {traffic.total_bytes / 1e6:.2f} MB: {traffic.http_bytes / 1e6:.2f} in "
            f"{traffic.responses} responses, {traffic.socket_bytes / 1e6:.2f} in {traffic.messages} messages; "
            f"a plotly.js in {traffic.files} files (that of JupyterLab's extension), in {traffic.sent} messages; "
            f"cores' time {statistics.median(work_s[name]):.2f} s in kernel and renderer"
        )
    charts, slider, _ = times.values()
    ratios = [ours / it for ours, it in zip(charts, slider, strict=True)]
    print(f"  four charts over a slider, by round: {', '.join(f'{ratio:.2f}' for ratio in ratios)}")
    targets.at_most("ready: four live charts over a slider,", statistics.median(ratios), READY_RATIO)
    traffic = sizes["four live charts"]
    targets.at_most("ready: payload in MB,", traffic.total_bytes / 1e6, PAYLOAD_MB)
    targets.at_least("ready: the charts' plotly.js was sent, times,", traffic.sent, 1)
    targets.at_most("ready: the charts' plotly.js was sent, times,", traffic.sent, 1)
    targets.at_most("ready: a plotly.js was loaded as a file, times,", traffic.files, 1)


def packed_part() -> bytes:
    """A piece of the compressed script that a page of ours is sent."""
    from lepton_nb.widgets.library import library

    script: bytes = library().script
    return script[len(script) // 2 :][:64]


def click(browser: Browser, work: Path, targets: Targets, *, clicks: int) -> None:
    """From a click to its effect: on a chart, and on a label beside it."""
    ours: list[float] = []
    bare: list[float] = []
    with (
        serving(OURS, write(work / "click.ipynb", pages.CLICKS)) as server,
        fresh_page(browser) as page,
    ):
        page.goto(server.url, wait_until="commit")
        page.wait_for_function("() => document.querySelector('.lepton-chart[data-ready] .trace path')")
        for turn in range(clicks + 2):
            for taken, words in (
                (ours, [".ours", ".lepton-chart .scatterlayer .trace path.js-line", "d"]),
                (bare, [".bare", ".told", ""]),
            ):
                taken_ms = page.evaluate(CLICK, words)
                # The first clicks warm both.
                if turn >= 2:
                    taken.append(taken_ms)
                page.wait_for_timeout(150)
    print(f"\nclick, to what it changes on the screen, in turn on one page, {machine.load()}")
    print(f"  a chart of 1,000 points        {range_of(ours, 0, 'ms')}")
    print(f"  a label, nothing but ipywidgets {range_of(bare, 0, 'ms')}")
    targets.at_most("click: to a changed chart, median in ms,", statistics.median(ours), CLICK_MS)


def many(browser: Browser, work: Path, targets: Targets, *, rounds: int, rows: int) -> None:
    """A line of ten million points: the first picture, and zooms."""
    first: list[float] = []
    built: list[float] = []
    zooms: list[float] = []
    with serving(OURS, write(work / "many.ipynb", pages.MANY.format(rows=rows))) as server:
        for _ in range(rounds):
            with fresh_page(browser) as page:
                page.goto(server.url, wait_until="commit")
                page.wait_for_selector(".start")
                drawn, _ = page.evaluate(FIRST)
                begin, made = map(float, page.inner_text(".told").split())
                first.append(drawn - begin)
                built.append(made - begin)
                page.wait_for_timeout(500)
                zooms += _zoom(page)
    print(f"\nmany, one line of {rows:,} points, the first chart of its page each time, {machine.load()}")
    print(f"  from LiveChart(figure) to drawn {range_of(first)}; of this LiveChart(figure) {range_of(built)}")
    print(f"  from a key that zooms to drawn  {range_of(zooms, 0, 'ms')}")
    targets.at_most(f"many: {rows:,} points drawn, median in s,", statistics.median(first), FIRST_S)
    targets.at_most("many: a zoom redrawn, median in ms,", statistics.median(zooms), ZOOM_MS)


def _zoom(page: Page) -> list[float]:
    taken: list[Any] = []
    for key in ("+", "+", "+", "ArrowRight", "+", "Home"):
        taken.append(page.evaluate(ZOOM, key))
        page.wait_for_timeout(200)
    return taken
