"""The kernels of an app: what they know of their visitor, and their end, with all that they started."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import uuid
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from jupyter_server.services.kernels.kernelmanager import AsyncMappingKernelManager
from voila.utils import ENV_VARIABLE

from lepton_nb.reports.guard import MARK_PREFIX, Mark

TOKEN = "token"  # noqa: S105  # the name of the query's part, not a token
# What a kernel leaves gets this long after SIGTERM; a cluster's own janitor needs less.
STRAGGLERS_S = 3.0
_POLL_S = 0.1


class Kernels(AsyncMappingKernelManager):
    """Jupyter's kernel manager; Voilà adds its pool to it when there is one."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)  # type: ignore[no-untyped-call]
        self._dead: set[asyncio.Task[None]] = set()

    async def start_kernel(self, *, kernel_id: str | None = None, **options: Any) -> str:  # type: ignore[override]
        """As the base class, with an environment that tells of no other visitor and holds no token."""
        kernel_id = kernel_id or str(uuid.uuid4())
        mark = _mark(kernel_id)
        options["env"] = {
            **environment(options.get("env") or os.environ),
            mark.variable: mark.folder,
            ENV_VARIABLE.VOILA_KERNEL_ID: kernel_id,
        }
        await super().start_kernel(kernel_id=kernel_id, **options)
        return kernel_id

    async def end(self, kernel_id: str) -> None:
        """End a kernel, dead or alive, and whatever came from it; nothing happens when that was done already."""
        try:
            if kernel_id in self:
                await self.shutdown_kernel(kernel_id)  # type: ignore[no-untyped-call]
        except Exception:  # such as that it is being ended by another request at this moment
            self.log.debug("kernel %s did not end as it should", kernel_id, exc_info=True)
        await _sweep(_mark(kernel_id))

    def _handle_kernel_died(self, kernel_id: str) -> None:
        """It ended outside of our doing. Ending it once more takes it out of every list, Voilà's pool included."""
        self.log.warning("the program behind a page has died; the memory may not have been enough (%s)", kernel_id)
        self._dead.add(task := asyncio.ensure_future(self.end(kernel_id)))
        task.add_done_callback(self._dead.discard)


def environment(given: Any) -> dict[str, str]:
    """The environment of a kernel from the one that Voilà made for it.

    A preheated kernel is given only to visitors without parameters. So it need not ask the server for its visitor's
    query, and what Voilà tells it of the address is the visitor's before.
    """
    made = dict(given)
    if made.get(ENV_VARIABLE.VOILA_PREHEAT) == "True":
        made |= {ENV_VARIABLE.VOILA_PREHEAT: "False", ENV_VARIABLE.QUERY_STRING: ""}
        made.pop(ENV_VARIABLE.VOILA_REQUEST_URL, None)
    if ENV_VARIABLE.QUERY_STRING in made:
        made[ENV_VARIABLE.QUERY_STRING] = without_token(made[ENV_VARIABLE.QUERY_STRING])
    if ENV_VARIABLE.VOILA_REQUEST_URL in made:
        parts = urlsplit(made[ENV_VARIABLE.VOILA_REQUEST_URL])
        made[ENV_VARIABLE.VOILA_REQUEST_URL] = urlunsplit(parts._replace(query=without_token(parts.query)))
    return made


def without_token(query: str) -> str:
    """The query of an address, less the token."""
    if TOKEN not in query:
        return query
    return urlencode([(name, value) for name, value in parse_qsl(query, keep_blank_values=True) if name != TOKEN])


def _mark(kernel_id: str) -> Mark:
    return Mark(f"{MARK_PREFIX}{kernel_id.replace('-', '')}", f"app:{kernel_id}")


async def _sweep(mark: Mark) -> None:
    """End what still carries `mark`: first politely, then not, and wait until it is gone."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        for process in mark.processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(process.pid, number)
        for _ in range(round(STRAGGLERS_S / _POLL_S)):
            if not mark.processes():
                return
            await asyncio.sleep(_POLL_S)
