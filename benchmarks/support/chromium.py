"""A real headless Chromium for benchmarks: fresh pages, what came over the wire, and its memory."""

from __future__ import annotations

import base64
import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import psutil
from playwright.sync_api import Browser, CDPSession, Error, Page, ViewportSize, sync_playwright

from lepton_nb.reports import browser

# Nothing but this machine is found: a page that asks the world is told at once that it is not there.
FLAGS = (
    "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
)  # fmt: skip
SMALLEST_BUNDLE_BYTES = 200_000
# An event's name, which a plotly.js has this often and nothing else that a page loads has.
MARK, MARKS = b"plotly_afterplot", 2


@contextlib.contextmanager
def chromium() -> Iterator[Browser]:
    """The browser; SystemExit where there is none."""
    executable = browser.find()
    if executable is None:
        raise SystemExit("no Chromium was found; run: python tests/ensure_browser.py")
    flags = [*FLAGS, *(["--no-sandbox"] if os.geteuid() == 0 else [])]
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=executable, args=flags)
        try:
            yield started
        finally:
            started.close()


@contextlib.contextmanager
def fresh_page(started: Browser, timeout_s: float = 120) -> Iterator[Page]:
    """An empty page with an empty cache. Closed as a visitor closes a tab, so that its kernel can end."""
    context = started.new_context(viewport=ViewportSize(width=1280, height=1000))
    context.set_default_timeout(1000 * timeout_s)
    complaints: list[str] = []
    try:
        page = context.new_page()
        page.on("console", lambda said: complaints.append(said.text) if said.type == "error" else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        try:
            yield page
        except Exception as error:
            with contextlib.suppress(Error):
                error.add_note(f"on {page.url}, which shows: {page.inner_text('body', timeout=2000)[:500]!r}")
            error.add_note("its console: " + "; ".join(complaints)[:1000])
            raise
        with contextlib.suppress(Error):
            page.close(run_before_unload=True)
    finally:
        with contextlib.suppress(Error):
            context.close()


def renderers() -> list[psutil.Process]:
    """The processes that draw the pages of the browsers that this process started."""
    found = []
    for child in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):
            if "--type=renderer" in child.cmdline():
                found.append(child)
    return found


def cpu_s(processes: list[psutil.Process]) -> float:
    """Seconds of cores that processes have taken."""
    total = 0.0
    for process in processes:
        with contextlib.suppress(psutil.Error):
            used = process.cpu_times()
            total += used.user + used.system
    return total


def pss_mb(processes: list[psutil.Process]) -> float:
    """Memory of processes, what they share counted in parts."""
    total = 0
    for process in processes:
        with contextlib.suppress(psutil.Error):
            total += process.memory_full_info().pss
    return total / 1e6


@dataclass
class Traffic:
    """What a page receives: bytes as they came over the wire, and how often a plotly.js was among them.

    packed: a part of a compressed plotly.js, as it is sent. Read `files` while the page is open.
    """

    page: Page
    packed: bytes
    responses: int = 0
    messages: int = 0
    http_bytes: int = 0
    socket_bytes: int = 0
    # How often a plotly.js came in a message.
    sent: int = 0
    _loaded_bundles: int = 0
    _large: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._session: CDPSession = self.page.context.new_cdp_session(self.page)
        self._session.on("Network.loadingFinished", self._loaded)
        self._session.on("Network.webSocketFrameReceived", self._frame)
        self._session.send("Network.enable")

    @property
    def total_bytes(self) -> int:
        """All of it."""
        return self.http_bytes + self.socket_bytes

    @property
    def files(self) -> int:
        """How often a plotly.js came as a file."""
        while self._large:
            with contextlib.suppress(Error):
                answer = self._session.send("Network.getResponseBody", {"requestId": self._large.pop()})
                body = base64.b64decode(answer["body"]) if answer["base64Encoded"] else answer["body"].encode()
                self._loaded_bundles += self._count(body)
        return self._loaded_bundles

    def _loaded(self, event: dict[str, Any]) -> None:
        self.responses += 1
        self.http_bytes += int(event["encodedDataLength"])
        if event["encodedDataLength"] > SMALLEST_BUNDLE_BYTES:
            self._large.append(event["requestId"])

    def _frame(self, event: dict[str, Any]) -> None:
        self.messages += 1
        response = event["response"]
        text = response["payloadData"]
        data = text.encode() if response["opcode"] == 1 else base64.b64decode(text)
        self.socket_bytes += len(data)
        if len(data) > SMALLEST_BUNDLE_BYTES:
            self.sent += self._count(data)

    def _count(self, data: bytes) -> int:
        return data.count(self.packed) + data.count(MARK) // MARKS
