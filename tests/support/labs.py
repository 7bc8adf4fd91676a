"""JupyterLab in a real browser, on the notebooks of a folder."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from browsing import Visit, visiting
from serving import address, command, patient

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

LOADED_MS = 90_000
ARTIFACTS = Path(__file__).resolve().parent.parent / "artifacts"


@contextmanager
def lab(folder: Path, notebook: str) -> Iterator[tuple[Visit, str]]:
    """A notebook of `folder` open in JupyterLab: the visit, and the server's address."""
    with command("lab", str(folder), "--no-browser", "--port", "0", cwd=folder) as process:
        url = address(process, r"http://127\.0\.0\.1:\d+/lab\?token=[0-9a-f]{48}")
        server, _, token = url.partition("/lab")
        patient(server + "/")
        with visiting() as visit:
            # Tall enough for all cells: JupyterLab draws only those that can be seen.
            visit.page.set_viewport_size({"width": 1400, "height": 3000})
            visit.page.goto(f"{server}/lab/tree/{notebook}{token}&reset")
            visit.page.locator(".jp-Notebook .jp-CodeCell:visible").first.wait_for(timeout=LOADED_MS)
            try:
                yield visit, server
            except BaseException:
                keep(visit.page, "lab-failed")
                raise


def run_all(page: Page, server: str) -> None:
    """Run all cells, by the menu, once the page has a kernel; before that, JupyterLab would ask for one."""
    deadline = time.monotonic() + LOADED_MS / 1000
    while not any(kernel["connections"] for kernel in page.request.get(f"{server}/api/kernels").json()):
        assert time.monotonic() < deadline
        page.wait_for_timeout(100)
    page.locator(".jp-Notebook-ExecutionIndicator[data-status=idle]").wait_for(timeout=LOADED_MS)
    page.locator("li.lm-MenuBar-item:has-text('Run')").first.click()
    page.get_by_role("menuitem", name="Run All Cells", exact=True).click()


def panel(page: Page, title: str) -> Locator:
    """The panel of this title, innermost where panels hold panels."""
    return page.locator(f".lepton-panel:has(> .widget-html h2:text-is('{title}'))").last


def press(panel: Locator, name: str) -> None:
    """Click the button of this name in a panel."""
    panel.locator(f"button:visible:has-text('{name}')").first.click()


def keep(page: Page, name: str) -> None:
    """Keep a picture of the page as an artifact of the test."""
    ARTIFACTS.mkdir(exist_ok=True)
    page.screenshot(path=ARTIFACTS / f"{name}.png")
