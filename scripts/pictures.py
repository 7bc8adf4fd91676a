"""Draws the README's pictures from what really runs: docs/quickstart.png and docs/dashboard.png.

    .venv/bin/python scripts/pictures.py [quickstart] [dashboard]

The first is three pages of a report of the quickstart, the second three tabs of the dashboard as an app. Needs a
Chromium (`python tests/ensure_browser.py` finds or installs one).
"""

from __future__ import annotations

import base64
import contextlib
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

ROOT = Path(__file__).resolve().parent.parent
# The text at which each page of the report's picture begins; None is the top.
PAGES = (None, "The chart opens", "Against two simpler answers")
# The tabs of the dashboard, and what has to be seen before its picture is taken.
TABS = {"Delays": "The windows that ended last", "Foresight": "is finished", "Machines": "workers are up"}
PAGE_SIZE = {"width": 1000, "height": 1180}
PICTURE_WIDTH = 1680
PATIENT_MS = 180_000


def main() -> int:
    """Make the pictures that are asked for, or all."""
    from playwright.sync_api import sync_playwright

    from lepton_nb.reports import browser

    makers = {"quickstart": quickstart, "dashboard": dashboard}
    asked = sys.argv[1:] or [*makers]
    if unknown := sorted(set(asked) - set(makers)):
        print(f"no picture is named {', '.join(unknown)}; there are {', '.join(makers)}", file=sys.stderr)
        return 2
    executable = browser.find()
    if executable is None:
        print("no Chromium was found; run: python tests/ensure_browser.py", file=sys.stderr)
        return 1
    flags = ["--disable-gpu", *(["--no-sandbox"] if os.geteuid() == 0 else [])]
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=executable, args=flags)
        for name in asked:
            picture = ROOT / "docs" / f"{name}.png"
            put_together(chromium, makers[name](chromium), picture)
            print(picture.relative_to(ROOT))
        chromium.close()
    return 0


def put_together(chromium: Browser, parts: list[bytes], picture: Path) -> None:
    """Lay pictures side by side, and write that."""
    images = "".join(f'<img src="data:image/png;base64,{base64.b64encode(part).decode()}">' for part in parts)
    style = (
        "body{margin:0;display:flex;align-items:flex-start;gap:12px;background:#d0d7de;padding:12px}"
        "img{flex:1;min-width:0;height:auto}"
    )
    canvas = chromium.new_page(viewport={"width": PICTURE_WIDTH, "height": 100})
    canvas.set_content(f"<style>{style}</style>{images}")
    picture.parent.mkdir(exist_ok=True)
    canvas.screenshot(path=picture, full_page=True)
    canvas.close()


def quickstart(chromium: Browser) -> list[bytes]:
    """Three pages of the quickstart's report."""
    import lepton_nb as lnb

    with tempfile.TemporaryDirectory() as folder:
        report = lnb.report(ROOT / "notebooks" / "01_quickstart.ipynb", output=Path(folder) / "report")
        page = chromium.new_page(viewport=PAGE_SIZE)
        page.goto(report.html.as_uri())
        page.wait_for_selector(".js-plotly-plot .main-svg")
        parts = []
        for start in PAGES:
            if start is not None:
                page.get_by_text(start, exact=False).last.evaluate("e => e.scrollIntoView()")
            page.wait_for_timeout(1000)  # figures are drawn when they come into view
            parts.append(page.screenshot())
        page.close()
    return parts


def dashboard(chromium: Browser) -> list[bytes]:
    """The tabs of the dashboard, while it runs as an app."""
    parts = []
    with served(ROOT / "notebooks" / "04_dashboard.ipynb") as url:
        page = chromium.new_page(viewport=PAGE_SIZE)
        page.goto(url, wait_until="commit")
        for name, wanted in TABS.items():
            _open(page, name)
            page.get_by_text(wanted).first.wait_for(timeout=PATIENT_MS)
            page.wait_for_timeout(5000)  # so that there is something in the charts
            parts.append(page.screenshot())
        page.close(run_before_unload=True)
    return parts


def _open(page: Page, name: str) -> None:
    tab = page.get_by_role("tab", name=name)
    tab.wait_for(timeout=PATIENT_MS)
    tab.click()
    page.locator(".lepton-panel").first.evaluate("e => e.scrollIntoView()")


@contextlib.contextmanager
def served(notebook: Path) -> Iterator[str]:
    """The address of a notebook as an app, which ends with the block."""
    command = [sys.executable, "-m", "lepton_nb.cli", "app", str(notebook), "--no-browser"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            found = next(filter(None, (re.search(r"http://\S+", line) for line in process.stdout)))
            yield found[0]
        finally:
            process.terminate()


if __name__ == "__main__":
    sys.exit(main())
