"""Voilà's server, with our settings: who may come in, what is served, and in which order it ends."""

from __future__ import annotations

import hmac
import logging
import os
import shutil
import signal
import socket
import tempfile
from dataclasses import dataclass
from http import HTTPStatus
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from jupyter_core.paths import jupyter_path
from jupyter_server.auth.identity import IdentityProvider
from jupyter_server.utils import url_path_join
from nbclient.exceptions import CellExecutionError, DeadKernelError
from tornado.ioloop import PeriodicCallback
from voila import notebook_renderer
from voila.app import Voila, _kernel_id_regex
from voila.execute import VoilaExecutor

from lepton_nb.cli.serve import jupyter_environment
from lepton_nb.cli.webapp import handlers, parameters
from lepton_nb.cli.webapp.extensions import left_out
from lepton_nb.cli.webapp.kernels import TOKEN
from lepton_nb.cli.webapp.watch import BEAT_S, Watch

# The pages that stay open all day and do nothing are kept; what nobody holds and nobody watches is ended.
CULL_IDLE_S, CULL_EVERY_S = 600, 60
SHUTDOWN_S = 4.0
# A path to a socket of the operating system has no more bytes than this, its end included.
SOCKET_PATH_BYTES = 104
# In the metadata of a cell whose error ends the page, for the template: how many after it did not run.
NOT_RUN = "lepton_not_run"
# Errors of cells whose kernel was ended: it is interrupted first.
_ENDED = ("KeyboardInterrupt", "DeadKernelError")
# An app's notebook always runs afresh: nobody need have signed it.
# The last: Jupyter's own pings, in milliseconds, which Tornado takes for seconds.
_NOISE = ("is not trusted", "restart failed", "Kernel died while waiting", "websocket_ping_timeout")
_SOCKET_NAME_BYTES = len("/voila_12345678/kernel-12345678-1234-1234-1234-123456789012-ipc-12")


@dataclass(frozen=True, slots=True, kw_only=True)
class AppSpec:
    """What to serve, and to whom. `token` is empty when none is asked for."""

    notebook: Path
    ip: str
    port: int
    browser: bool
    preheat: int
    keep_s: float
    token: str


class Executor(VoilaExecutor):  # type: ignore[misc]
    """Runs the cells of a page, and no further one when the kernel is gone: its page says so, or has no reader."""

    async def execute_cell(self, cell: Any, resources: Any, cell_index: int, **options: Any) -> Any:
        """As the base class; what Voilà takes for the error of a cell ends the run."""
        try:
            return await super().execute_cell(cell, resources, cell_index, **options)
        except DeadKernelError as error:
            raise CellExecutionError("", type(error).__name__, str(error)) from error
        except CellExecutionError:
            later = self.nb.cells[cell_index + 1 :]
            steps = sum(one.cell_type == "code" and bool(one.source.strip()) for one in later)
            cell.metadata[NOT_RUN] = steps
            raise


class Gate(IdentityProvider):
    """Lets in whoever has the token, or everybody when there is none."""

    @property
    def auth_enabled(self) -> bool:
        """Whether a token is asked for."""
        return bool(self.token)

    def get_token(self, handler: Any) -> str | None:
        """The token of a request if it is the right one, compared in a time that tells nothing about it."""
        given = super().get_token(handler) or ""
        return self.token if hmac.compare_digest(given.encode(), self.token.encode()) else ""

    def get_handlers(self) -> list[tuple[str, object]]:
        """No form to log in with: the address holds the token."""
        return []


class AppServer(Voila):  # type: ignore[misc]
    """Voilà with our handlers in place of some of its own."""

    spec: AppSpec

    def init_settings(self) -> dict[str, Any]:
        """As the base class; the watch begins."""
        settings: dict[str, Any] = super().init_settings()
        # Voilà refuses a hook together with preheating, for hooks that need the request. Ours does not.
        self.voila_configuration.prelaunch_hook = handlers.prelaunch
        self.watch = Watch(self.kernel_manager, self.spec.keep_s)
        PeriodicCallback(self.watch.tick, 1000 * BEAT_S).start()
        return settings

    def init_handlers(self) -> list[Any]:
        """As the base class, with the page and its files behind our gate, and without the doors that we do not need."""
        found = []
        for pattern, handler, *options in super().init_handlers():
            name = handler.__name__
            if name == "RequestInfoSocketHandler":
                continue
            if name == "AllowListFileHandler":
                handler = handlers.FilesHandler
            if name == "TornadoVoilaHandler":
                handler = handlers.PageHandler
                options = [{**options[0], "watch": self.watch, "source": self.spec.notebook}]
            found.append((pattern, handler, *options))
        kernel = _kernel_id_regex.replace("kernel_id", "kernel")
        return [
            (url_path_join(self.server_url, f"/lepton/page/{kernel}"), handlers.PageSocket, {"watch": self.watch}),
            *found,
        ]

    def stop(self) -> None:
        """End all kernels, and only then remove the folder by which they are reached."""

        async def end() -> None:
            await self.watch.end()
            await self.kernel_manager.shutdown_all()

        try:
            # On the loop that the kernels' connections belong to.
            self.ioloop.run_sync(end)
        finally:
            shutil.rmtree(self.connection_dir, ignore_errors=True)

    @property
    def address(self) -> str:
        """What a visitor types; known once the server listens."""
        ip = ip_address(self.spec.ip)
        host = socket.gethostname() if ip.is_unspecified else f"[{ip}]" if ip.version == 6 else str(ip)
        query = f"?{urlencode({TOKEN: self.spec.token})}" if self.spec.token else ""
        return f"http://{host}:{self.port}{self.base_url}{query}"


def make(spec: AppSpec) -> AppServer:
    """The server, not yet started; the environment of this process becomes that of its kernels.

    Raises LeptonError, and changes nothing, where the notebook cannot be served so.
    """
    known = parameters.declared(spec.notebook)
    parameters.check_names(known)
    if spec.preheat:
        parameters.check_preheat(known)
    os.environ.update(jupyter_environment())
    server: AppServer = AppServer.instance()
    server.spec = spec
    server.initialize([str(spec.notebook), *_options(spec)])
    server.tornado_settings = {
        # Where no token is asked for, the name in the address must be this machine's own: else a page of another
        # site could reach us by a name that it had made to point here.
        "allow_remote_access": bool(spec.token),
        "log_function": _log_request,
    }
    # Voilà has no option for this class.
    notebook_renderer.VoilaExecutor = Executor
    for log in (server.log, logging.getLogger("tornado.general")):
        log.addFilter(_quiet)
    # As SIGTERM, which Voilà handles: what is at work is finished first.
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, server._handle_signal_stop)
    return server


def _options(spec: AppSpec) -> list[str]:
    root = _connections()
    transport = (
        ["--KernelManager.transport=ipc", f"--Voila.connection_dir_root={root}"]
        if root
        else ["--KernelManager.transport_encryption=auto"]
    )
    options = [
        f"--Voila.ip={spec.ip}",
        "--Voila.log_level=WARN",
        f"--Voila.token={spec.token}",
        "--Voila.identity_provider_class=lepton_nb.cli.webapp.server.Gate",
        "--VoilaConfiguration.template=lepton",
        "--VoilaConfiguration.allow_template_override=NO",
        "--VoilaConfiguration.allow_theme_override=NO",
        "--VoilaConfiguration.show_tracebacks=True",
        "--VoilaConfiguration.kernel_spec_manager_class=lepton_nb.reports.kernel.ThisPython",
        "--VoilaConfiguration.multi_kernel_manager_class=lepton_nb.cli.webapp.kernels.Kernels",
        *(f"--VoilaConfiguration.extension_denylist={name}" for name in left_out(jupyter_path("labextensions"))),
        "--VoilaExporter.markdown_renderer_class=lepton_nb.cli.webapp.markdown.WithFormulas",
        *transport,
        "--AsyncKernelManager.client_factory=lepton_nb.reports.channel.Client",
        f"--KernelManager.shutdown_wait_time={SHUTDOWN_S}",
        # A kernel that has died is not started anew behind a page that still shows what the old one knew.
        "--KernelRestarter.restart_limit=0",
        "--KernelRestarter.time_to_dead=1",
        # The watch ends what nobody looks at; this is for a kernel that it should not know of.
        f"--MappingKernelManager.cull_idle_timeout={CULL_IDLE_S}",
        f"--MappingKernelManager.cull_interval={CULL_EVERY_S}",
        "--MappingKernelManager.cull_connected=False",
    ]
    if spec.port:
        options += [f"--Voila.port={spec.port}", "--Voila.port_retries=0"]
    # Voilà opens an address without the token.
    if not spec.browser or spec.token:
        options.append("--no-browser")
    if spec.preheat:
        options += [
            "--VoilaConfiguration.preheat_kernel=True",
            f"--VoilaConfiguration.default_pool_size={spec.preheat}",
        ]
    return options


def _connections() -> str:
    """A folder for the sockets of kernels whose path is short enough, "" when there is none."""
    for folder in (tempfile.gettempdir(), "/tmp"):  # noqa: S108
        if os.access(folder, os.W_OK) and len(os.fsencode(folder)) + _SOCKET_NAME_BYTES < SOCKET_PATH_BYTES:
            return folder
    return ""


def _log_request(handler: Any) -> None:
    """Only what went wrong here is worth a line; an address may hold a token."""
    if handler.get_status() >= HTTPStatus.INTERNAL_SERVER_ERROR:
        handler.log.error("%s %s: status %d", handler.request.method, handler.request.path, handler.get_status())


def _quiet(record: logging.LogRecord) -> bool:
    """Whether to write a line of the log.

    That a visitor left while cells were running is no fault, and of a kernel that died `Kernels` tells. An error of the
    notebook gets a line: its traceback is on the page.
    """
    error = record.exc_info[1] if record.exc_info else None
    if isinstance(error, CellExecutionError):
        record.msg, record.args = "a page ended at an error of its notebook: %s: %s", (error.ename, error.evalue)
        record.exc_info = record.exc_text = None
    return getattr(error, "ename", "") not in _ENDED and not any(part in record.getMessage() for part in _NOISE)
