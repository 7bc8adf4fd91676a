"""The watch over an app's visits: it hears of pages, ends programs that nobody looks at, and tells pages of an end."""

from __future__ import annotations

import asyncio
import json
import time
from collections import defaultdict
from collections.abc import Callable
from typing import Any, Protocol

from lepton_nb.cli.webapp.presence import Presence

BEAT_S = 1.0


class Page(Protocol):
    """The open connection of a page."""

    def tell(self, message: str) -> None:
        """Send a message; a connection that is closed is no fault."""


class Watch:
    """Ends a visit's kernel when its page has left, or was not heard of for `keep_s` seconds."""

    def __init__(self, kernels: Any, keep_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.kernels = kernels
        self._presence = Presence(keep_s)
        self._clock = clock
        self._pages: defaultdict[str, set[Page]] = defaultdict(set)
        self._ending: set[asyncio.Task[None]] = set()

    def begin(self, kernel: str) -> None:
        """A page is being made of `kernel`."""
        self._presence.begin(kernel, self._clock())

    def sent(self, kernel: str) -> None:
        """The page was sent whole."""
        self._presence.sent(kernel, self._clock())

    def opened(self, kernel: str, page: Page) -> None:
        """A page has connected, for the first time or again."""
        if kernel in self._presence and kernel in self.kernels:
            self._pages[kernel].add(page)
            self.heard(kernel)
            page.tell(_message("beat"))
        else:
            page.tell(_message("ended"))

    def heard(self, kernel: str) -> None:
        """A page has answered."""
        self._presence.heard(kernel, self._clock())

    def closed(self, kernel: str, page: Page, *, left: bool) -> None:
        """A page's connection is closed; `left` says that the page itself is gone, not just the network."""
        self._pages[kernel].discard(page)
        if left and not self._pages[kernel]:
            self.leave(kernel)

    def leave(self, kernel: str) -> None:
        """Nobody comes back to `kernel`: end it."""
        for page in self._pages.pop(kernel, ()):
            page.tell(_message("ended"))
        if kernel in self._presence:
            self._presence.forget(kernel)
            task = asyncio.ensure_future(self.kernels.end(kernel))
            self._ending.add(task)
            task.add_done_callback(self._ending.discard)

    def tick(self) -> None:
        """To be called every BEAT_S."""
        for kernel in self._presence.kernels:
            if kernel not in self.kernels:  # it has died
                self.leave(kernel)
        for kernel in self._presence.due(self._clock()):
            self.leave(kernel)
        for pages in self._pages.values():
            for page in tuple(pages):
                page.tell(_message("beat"))

    async def end(self) -> None:
        """End all visits, and wait for that."""
        for kernel in self._presence.kernels:
            self.leave(kernel)
        await asyncio.gather(*self._ending)


def _message(kind: str) -> str:
    return json.dumps({"kind": kind})
