"""What the server of an app answers: its page, the page's own connection, and the files beside the notebook."""

from __future__ import annotations

import contextlib
from http import HTTPStatus
from pathlib import Path
from typing import Any

from jupyter_core.utils import ensure_async
from jupyter_server.auth.decorator import ws_authenticated
from jupyter_server.base.handlers import JupyterHandler
from jupyter_server.base.websocket import WebSocketMixin
from tornado.iostream import StreamClosedError
from tornado.web import HTTPError
from tornado.websocket import WebSocketClosedError, WebSocketHandler
from voila.request_info_handler import RequestInfoSocketHandler
from voila.static_file_handler import AllowListFileHandler
from voila.tornado.handler import TornadoVoilaHandler

from lepton_nb.cli.webapp import parameters
from lepton_nb.cli.webapp.watch import Watch
from lepton_nb.errors import LeptonError, ReportError
from lepton_nb.reports.injection import inject
from lepton_nb.reports.page import REPORT_ONLY

# A browser closes with 1001 when a page goes away; our page says so itself with 4001, for browsers that do not.
LEFT_CODES = (1001, 4001)


class _VisitorsKernels:
    """The kernel manager as one request sees it: it notes which kernel the request was given."""

    def __init__(self, kernels: Any, page: PageHandler) -> None:
        self._kernels, self._page = kernels, page

    def __getattr__(self, name: str) -> Any:
        return getattr(self._kernels, name)

    async def start_kernel(self, **options: Any) -> str:
        kernel = str(await ensure_async(self._kernels.start_kernel(**options)))
        self._page.visit(kernel)
        return kernel

    async def get_rendered_notebook(self, **options: Any) -> tuple[Any, Any, str]:
        task, rendered, kernel = await self._kernels.get_rendered_notebook(**options)
        self._page.visit(kernel)
        return task, rendered, kernel


class PageHandler(TornadoVoilaHandler):  # type: ignore[misc]
    """The app's page: parameters are checked before a kernel starts, and a visitor who leaves early ends it."""

    def initialize(self, watch: Watch, source: Path, **options: Any) -> None:
        """As the base class; `source` is the notebook."""
        super().initialize(**options)
        self._watch, self._source = watch, source
        self._kernel: str | None = None
        self._gone = False
        self.values: dict[str, Any] = {}

    async def prepare(self) -> None:
        """Refuse visitors without the token, and pages of others that would embed this one."""
        site, goal = (self.request.headers.get(f"Sec-Fetch-{name}", "") for name in ("Site", "Dest"))
        if site in ("cross-site", "same-site") and goal not in ("document", ""):
            self.current_user = self._jupyter_current_user = None
            raise HTTPError(HTTPStatus.FORBIDDEN, "Pages of other sites cannot embed this app.")
        await ensure_async(super().prepare(_redirect_to_login=False))

    def check_host(self) -> bool:
        """Whether the name in the address is one that may be used; tells the visitor if not."""
        if super().check_host():
            return True
        self.current_user = self._jupyter_current_user = None
        raise HTTPError(HTTPStatus.FORBIDDEN, "This app is for its own machine alone: open it there, by 127.0.0.1.")

    @property
    def kernel_manager(self) -> Any:
        """Voilà's kernel manager, for this visitor."""
        return _VisitorsKernels(super().kernel_manager, self)

    def visit(self, kernel: str) -> None:
        """Voilà has taken `kernel` for this request."""
        self._kernel = kernel
        self._watch.begin(kernel)
        # Voilà keeps the request of a preheated kernel's visitor for ever, for a kernel that asks. Ours do not.
        RequestInfoSocketHandler._cache.pop(kernel, None)
        if self._gone:
            self._watch.leave(kernel)

    async def get(self, path: str | None = None) -> None:
        """Send the page as its cells finish."""
        if not path:
            try:
                known = parameters.declared(self._source)
            except ReportError as error:
                return self._refuse(HTTPStatus.INTERNAL_SERVER_ERROR, error, ())
            try:
                self.values = parameters.values(known, self.request.query)
            except ReportError as error:
                return self._refuse(HTTPStatus.BAD_REQUEST, error, known)
        _ = self.xsrf_token  # reading it sends the cookie that the page needs for its requests
        try:
            with contextlib.suppress(StreamClosedError):
                async for html in self.get_generator(path=path):
                    if self._gone:
                        return None
                    self.write(html)
                    await self.flush()
        except Exception:
            self._leave()
            raise
        if self._kernel and not self._gone:
            self._watch.sent(self._kernel)
            # Where there is a pool, Voilà fills it when it takes from it, and so never again once it was empty.
            if refill := getattr(self.kernel_manager, "fill_if_needed", None):
                refill(notebook_name=self.notebook_path)
        return None

    def should_use_rendered_notebook(self, *details: Any) -> bool:
        """A preheated kernel has run with the defaults: it is only for those who gave no parameters."""
        return not self.values and bool(super().should_use_rendered_notebook(*details))

    def on_connection_close(self) -> None:
        """The visitor left before the page was whole."""
        super().on_connection_close()
        self._gone = True
        self._leave()

    def _leave(self) -> None:
        if self._kernel:
            self._watch.leave(self._kernel)

    def _refuse(self, status: HTTPStatus, error: ReportError, known: Any) -> None:
        self.set_status(status)
        problems = error.facts.get("problems") if known is not None else None
        page = self.render_template(
            "parameters.html",
            app=self._source.stem,
            wrong_address=status == HTTPStatus.BAD_REQUEST,
            problems=problems or [error.message],
            parameters=known or (),
        )
        self.finish(page)


def prelaunch(handler: PageHandler | None, notebook: Any, cwd: str) -> Any:
    """Voilà's hook before a kernel starts; a preheated one has no visitor yet, and so no handler."""
    if handler is not None:
        inject(notebook, handler.values)
    notebook.cells = [one for one in notebook.cells if not _only_in_reports(one)]
    parameters.entitle(notebook, Path(cwd))
    notebook.metadata["lepton_given"] = handler is not None and bool(handler.values)
    notebook.metadata["lepton_errors"] = ["LeptonError", *(one.__name__ for one in LeptonError.__subclasses__())]
    return notebook


def _only_in_reports(cell: Any) -> bool:
    return cell.cell_type == "markdown" and REPORT_ONLY in cell.metadata.get("tags", [])


class FilesHandler(JupyterHandler, AllowListFileHandler):  # type: ignore[misc]
    """Pictures beside the notebook, for those who may see the app."""

    def write_error(self, status_code: int, **details: Any) -> None:
        """A line of text: the page of the base class cannot be drawn here."""
        self.set_header("Content-Type", "text/plain; charset=UTF-8")
        self.finish("This file is not there, or not one that an app shows: of the files beside it that is pictures.")


class PageSocket(WebSocketMixin, WebSocketHandler, JupyterHandler):
    """The page's own connection: by it both sides know whether the other is there."""

    def initialize(self, watch: Watch) -> None:
        """Called for each connection."""
        self._watch = watch
        self._kernel = ""

    def set_default_headers(self) -> None:
        """The base class sets headers of pages."""

    @property
    def ping_interval(self) -> int:
        """The base class need not ping: `tell` does."""
        return 0

    @ws_authenticated
    async def get(self, kernel: str) -> None:
        """Take the connection of a visitor who has the token."""
        await super().get(kernel)

    def open(self, kernel: str) -> None:
        """The connection stands."""
        super().open()
        self._kernel = kernel
        self._watch.opened(kernel, self)

    def on_message(self, message: str | bytes) -> None:
        """Whatever the page says, it lives."""
        self._watch.heard(self._kernel)

    def on_pong(self, data: bytes) -> None:
        """The browser answers this also while the page's own code is busy."""
        self._watch.heard(self._kernel)

    def on_close(self) -> None:
        """The connection is closed, by whomever."""
        self._watch.closed(self._kernel, self, left=self.close_code in LEFT_CODES)

    def tell(self, message: str) -> None:
        """Send a message, and ask the browser for a sign of life."""
        with contextlib.suppress(WebSocketClosedError, StreamClosedError):
            self.write_message(message)
            self.ping()
