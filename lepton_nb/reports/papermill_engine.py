"""Papermill's engine "lepton": `papermill --engine lepton IN OUT`, and what `lepton-nb report run` uses.

As Papermill's own engine, but the notebook is saved at most about once a second and never half (papermill_saving.py),
cells run in one event loop, SIGINT, SIGTERM and SIGHUP end the kernel with all that it started, and keep what ran,
marked cancelled; and the cell that was interrupted is not called completed.

Options besides Papermill's own: `timeout_s` and `cell_timeout_s`, seconds for the whole run and for each cell;
`watch`, called with a `CellEvent` for each cell that begins or ends and for each output; `kept`, see `Client`.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import FrameType
from typing import Any, Literal

from jupyter_core.utils import run_sync
from nbclient.exceptions import CellExecutionError
from papermill.clientwrap import PapermillNotebookClient
from papermill.engines import Engine, papermill_engines
from papermill.log import logger

from lepton_nb.reports.guard import guarded
from lepton_nb.reports.kernel import ReportKernel
from lepton_nb.reports.papermill_saving import CANCELLED, CellEvent, Keeper

NAME = "lepton"
# What a cell put out may come long after it has ended, where there is much of it.
OUTPUTS_S = 60

Cause = Literal["", "stop", "timeout"]


class Interruption:
    """Stops an execution from outside: a request to stop, or the time limit."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._open = True
        self.cause: Cause = ""

    def request(self, cause: Literal["stop", "timeout"]) -> None:
        """Cancel what the loop waits for; from any thread."""
        try:
            self._loop.call_soon_threadsafe(self._cancel, cause)
        except RuntimeError:
            return  # the loop is closed: the execution is over

    def close(self) -> None:
        """From now on requests do nothing: the kernel's end must not be cancelled."""
        self._open = False

    @contextlib.contextmanager
    def within(self, timeout_s: float | None) -> Iterator[None]:
        """Request an end in `timeout_s` seconds; never for None. At the end of the context requests do nothing."""
        if timeout_s is not None:
            # The loop may run in another thread, and begins to count when it runs.
            self._loop.call_soon_threadsafe(self._loop.call_later, timeout_s, self._cancel, "timeout")
        try:
            yield
        finally:
            self.close()

    def _cancel(self, cause: Literal["stop", "timeout"]) -> None:
        if self._open and not self.cause:
            self.cause = cause
            for task in asyncio.all_tasks(self._loop):
                task.cancel()


class LeptonEngine(Engine):  # type: ignore[misc, unused-ignore]
    """See the module. With `km`, a kernel manager, whoever gives it starts, stops and ends the kernel."""

    @classmethod
    def execute_notebook(
        cls,
        nb: Any,
        kernel_name: str,
        output_path: str | None = None,
        progress_bar: bool | dict[str, Any] = True,
        log_output: bool = False,
        autosave_cell_every: int = 30,
        *,
        watch: Callable[[CellEvent], None] | None = None,
        interruption: Interruption | None = None,
        **options: Any,
    ) -> Any:
        """Run `nb`, and save it at `output_path`, also when the run fails or is cancelled.

        Raises what ended the run: DeadKernelError, CellTimeoutError, TimeoutError for `timeout_s`, KeyboardInterrupt
        for SIGINT, SystemExit with 128 + the signal's number for SIGTERM and SIGHUP. Errors of cells are left to
        Papermill, which raises them afterwards.
        """
        keeper = Keeper(
            nb,
            watch=watch,
            output_path=output_path,
            progress_bar=progress_bar,
            log_output=log_output,
            autosave_cell_every=autosave_cell_every,
        )
        interruption = interruption or Interruption(run_sync(_running_loop)())
        keeper.notebook_start()
        try:
            cls.execute_managed_notebook(
                keeper, kernel_name, log_output=log_output, interruption=interruption, **options
            )
        except BaseException as error:
            stopped = interruption.cause == "stop" or isinstance(error, (KeyboardInterrupt, SystemExit))
            keeper.interrupted(CANCELLED if stopped else Keeper.FAILED)
            raise
        finally:
            keeper.notebook_complete()
        return keeper.nb

    @classmethod
    def execute_managed_notebook(
        cls,
        nb_man: Keeper,
        kernel_name: str,
        *,
        interruption: Interruption,
        kept: Mapping[int, Any] | None = None,
        km: Any = None,
        start_timeout: int = 60,
        execution_timeout: float | None = None,
        cell_timeout_s: float | None = None,
        timeout_s: float | None = None,
        **options: Any,
    ) -> None:
        """Run the notebook that `nb_man` keeps."""
        # Papermill's names for what nbclient calls otherwise.
        for name in ("input_path", "timeout", "startup_timeout"):
            options.pop(name, None)
        limit_s = cell_timeout_s or execution_timeout
        client_options = {
            "iopub_timeout": OUTPUTS_S,
            "startup_timeout": start_timeout,
            "timeout_func": None if limit_s is None else lambda cell: limit_s,
            "kernel_name": kernel_name,
            "log": logger,
            **options,
        }
        if km is not None:
            Client(nb_man, km=km, kept=kept, **client_options).execute()
            return
        with _signals_interrupt(interruption) as caught, _kernel(kernel_name) as kernel:
            try:
                with interruption.within(timeout_s):
                    kernel.start()
                    Client(nb_man, km=kernel, kept=kept, **client_options).execute()
            except BaseException:
                if interruption.cause == "timeout":
                    raise TimeoutError(f"the notebook took longer than timeout_s={timeout_s:g}") from None
                if interruption.cause != "stop":
                    raise
        # Also one that came when the last cell had ended.
        if caught:
            raise KeyboardInterrupt if caught[0] == signal.SIGINT else SystemExit(128 + caught[0])


class Client(PapermillNotebookClient):  # type: ignore[misc, unused-ignore]
    """nbclient, which tells a keeper what happens; all cells in one event loop.

    kept: executed cells by their place, whose outputs are taken over instead of running them again.
    """

    def __init__(self, keeper: Keeper, *, kept: Mapping[int, Any] | None = None, **options: Any) -> None:
        super().__init__(keeper, **options)
        self._kept = kept or {}

    def execute(self, **options: Any) -> Any:
        """Run the cells up to the first that fails."""
        self.reset_execution_trackers()
        with self.setup_kernel(**options):
            run_sync(self._cells)()
            self.set_widgets_metadata()
        return self.nb

    async def _cells(self) -> None:
        assert self.kc is not None
        info = await self.async_wait_for_reply(self.kc.kernel_info())
        if info is not None:
            self.nb.metadata["language_info"] = info["content"]["language_info"]
        for index, cell in enumerate(self.nb.cells):
            self.nb_man.cell_start(cell, index)
            failed = False
            if index in self._kept:
                cell.outputs = self._kept[index].outputs
                cell.metadata.papermill["kept"] = True
                self.nb_man.cell_complete(cell, cell_index=index)
                continue
            try:
                await self.async_execute_cell(cell, index)
            except CellExecutionError as error:
                self.nb_man.cell_exception(cell, cell_index=index, exception=error)
                failed = True
            self.nb_man.cell_complete(cell, cell_index=index)
            if failed:
                return

    def process_message(self, message: Any, cell: Any, cell_index: int) -> Any:
        """As nbclient, and what has changed is kept."""
        output = super(PapermillNotebookClient, self).process_message(message, cell, cell_index)
        if message["msg_type"] not in ("status", "execute_input"):
            self.nb_man.put_out(output)
        if output and (self.log_output or self.stderr_file or self.stdout_file):
            self.log_output_message(output)
        return output


def register() -> None:
    """Make Papermill know the engine, where the package is not installed but only found."""
    papermill_engines.register(NAME, LeptonEngine)


async def _running_loop() -> asyncio.AbstractEventLoop:
    return asyncio.get_running_loop()


@contextlib.contextmanager
def _kernel(name: str) -> Iterator[ReportKernel]:
    """A kernel of that name, which goes with all that it started, also when this process is killed."""
    with guarded(Path(tempfile.mkdtemp(prefix="lepton-nb-engine-"))) as mark:
        kernel = ReportKernel(Path(os.getcwd()), None, None, mark, name=name)
        try:
            yield kernel
        finally:
            kernel.end()


@contextlib.contextmanager
def _signals_interrupt(interruption: Interruption) -> Iterator[list[int]]:
    """Signals that ask to end request that of `interruption`, and are listed; not outside of the main thread."""
    caught: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield caught
        return

    def handle(number: int, frame: FrameType | None) -> None:
        caught.append(number)
        interruption.request("stop")

    previous = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    try:
        yield caught
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
