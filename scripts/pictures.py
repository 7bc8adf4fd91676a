"""Draws docs/quickstart.png, the README's picture: three pages of a real report of the quickstart, side by side.

    .venv/bin/python scripts/pictures.py [reports/out/quickstart/report.html]

Without a report it makes one. Needs a Chromium (`python tests/ensure_browser.py` finds or installs one).
"""

from __future__ import annotations

import base64
import os
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PICTURE = ROOT / "docs" / "quickstart.png"
# The text at which each page of the picture begins; None is the top of the report.
PAGES = (None, "The chart opens", "Against two simpler answers")
PAGE_SIZE = {"width": 1000, "height": 1180}
PICTURE_WIDTH = 1680


def main() -> int:
    """Make the picture."""
    from playwright.sync_api import sync_playwright

    from lepton_nb.reports import browser

    executable = browser.find()
    if executable is None:
        print("no Chromium was found; run: python tests/ensure_browser.py", file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        report = Path(sys.argv[1]).resolve() if len(sys.argv) > 1 else _make_report(Path(folder))
        flags = ["--disable-gpu", *(["--no-sandbox"] if os.geteuid() == 0 else [])]
        chromium = playwright.chromium.launch(executable_path=executable, args=flags)
        page = chromium.new_page(viewport=PAGE_SIZE)
        page.goto(report.as_uri())
        page.wait_for_selector(".js-plotly-plot .main-svg")
        parts = []
        for start in PAGES:
            if start is not None:
                page.get_by_text(start, exact=False).last.evaluate("e => e.scrollIntoView()")
            page.wait_for_timeout(1000)  # figures are drawn when they come into view
            parts.append(base64.b64encode(page.screenshot()).decode())
        images = "".join(f'<img src="data:image/png;base64,{part}">' for part in parts)
        style = (
            "body{margin:0;display:flex;align-items:flex-start;gap:12px;background:#d0d7de;padding:12px}"
            "img{flex:1;min-width:0;height:auto}"
        )
        canvas = chromium.new_page(viewport={"width": PICTURE_WIDTH, "height": 100})
        canvas.set_content(f"<style>{style}</style>{images}")
        PICTURE.parent.mkdir(exist_ok=True)
        canvas.screenshot(path=PICTURE, full_page=True)
        chromium.close()
    print(PICTURE.relative_to(ROOT))
    return 0


def _make_report(folder: Path) -> Path:
    import lepton_nb as lnb

    return Path(lnb.report(ROOT / "notebooks" / "01_quickstart.ipynb", output=folder / "report").html)


if __name__ == "__main__":
    sys.exit(main())
