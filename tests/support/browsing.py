"""A real headless Chromium for tests, which writes down all that a page asks for and complains of."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from lepton_nb.reports import browser

if TYPE_CHECKING:
    from playwright.sync_api import ConsoleMessage, Page

# The browser's own traffic (updates, sync) is not the page's, and would hang where there is no network.
FLAGS = (
    "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip


@dataclass
class Visit:
    """A page, and what it did: addresses asked for, failed requests, sockets, errors on the console or uncaught."""

    page: Page
    requests: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    sockets: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    def outside(self, *allowed: str) -> list[str]:
        """Requests to anything but files, data in the page, and addresses that start with one of `allowed`."""
        return [url for url in self.requests if not url.startswith(("file:", "data:", "blob:", "about:", *allowed))]

    def _console(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self.errors.append(message.text)


@contextmanager
def visiting(*, offline: bool = False, dark: bool = False) -> Iterator[Visit]:
    """A fresh browser with one empty page; `offline` cuts the network. Fails where there is no browser."""
    from playwright.sync_api import sync_playwright

    executable = browser.find()
    assert executable is not None, "no Chromium was found; run: python tests/ensure_browser.py"
    flags = [*FLAGS, *(["--no-sandbox"] if os.geteuid() == 0 else [])]
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=executable, args=flags)
        try:
            context = chromium.new_context(offline=offline, color_scheme="dark" if dark else "light")
            visit = Visit(page=context.new_page())
            visit.page.on("request", lambda request: visit.requests.append(request.url))
            visit.page.on("requestfailed", lambda request: visit.failed.append(request.url))
            visit.page.on(
                "response", lambda response: visit.failed.append(response.url) if response.status >= 400 else None
            )
            visit.page.on("websocket", lambda socket: visit.sockets.append(socket.url))
            visit.page.on("console", visit._console)
            visit.page.on("pageerror", lambda error: visit.errors.append(str(error)))
            yield visit
        finally:
            chromium.close()
