"""Execution of a notebook by Papermill, in a thread of ours, that can be stopped at any moment."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from lepton_nb.background import Control
from lepton_nb.reports.gate import Gate
from lepton_nb.reports.guard import Mark
from lepton_nb.reports.injection import inject, injected
from lepton_nb.reports.kernel import ReportKernel
from lepton_nb.reports.resume import Earlier
from lepton_nb.reports.values import jsonable
from lepton_nb.reports.views import unfold

ReportStatus = Literal["finished", "failed", "cancelled"]

KERNEL_START_S = 120
_ERROR_TAG = "papermill-error-cell-tag"


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """What stopped the notebook. `cell` counts the source notebook's cells from 0, None when no cell is to blame."""

    cell: int | None
    heading: str
    ename: str
    evalue: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """An executed notebook (nbformat 4 node, whole or in part) and how it ended."""

    notebook: Any
    status: ReportStatus
    failure: Failure | None


def execute(
    notebook: Any,
    parameters: Mapping[str, Any],
    *,
    source: Path,
    log: Path,
    records: Path,
    mark: Mark,
    timeout_s: float | None,
    control: Control,
    gate: Gate | None = None,
    cell_timeout_s: float | None = None,
    resume: Earlier | None = None,
) -> Outcome:
    """Run `notebook` (nbformat 4 node) with `parameters` injected, and end its kernel whatever happens.

    The kernel carries `mark`, and what carries it is ended too. An error in a cell, a dead kernel, the time limit
    and a stop are outcomes, not exceptions. Progress is emitted through `control`, one event a cell, with the
    cell's heading. The first cell waits at the `gate`, if there is one, while the kernel starts; the time limit counts
    from then on.
    """
    import papermill
    from jupyter_core.utils import ensure_event_loop

    from lepton_nb.reports import papermill_engine as engine

    _quiet("papermill", "traitlets")
    engine.register()
    loop = ensure_event_loop()
    interruption = engine.Interruption(loop)
    control.on_stop(lambda: interruption.request("stop"))
    timer = None
    kernel = ReportKernel(source.parent, log, records, mark)
    watch = _Watch(control)
    error: BaseException | None = None
    # Papermill would write a date as text.
    filled = copy.deepcopy(notebook)
    inject(filled, parameters)
    if resume is not None:
        resume.records(records)
    try:
        kernel.start()
        with gate.passed(control) if gate is not None else contextlib.nullcontext():
            if timeout_s is not None:
                timer = loop.call_later(timeout_s, interruption.request, "timeout")
            papermill.execute_notebook(
                filled,
                None,
                kernel_name="python3",
                language="python",
                progress_bar=False,
                engine_name=engine.NAME,
                start_timeout=KERNEL_START_S,
                cell_timeout_s=cell_timeout_s,
                interruption=interruption,
                kept=resume.placed(filled) if resume is not None else None,
                km=kernel,
                on_notebook_start=watch.begin,
                on_cell_start=watch.cell,
            )
    except (Exception, asyncio.CancelledError) as raised:
        error = raised
    finally:
        interruption.close()
        if timer is not None:
            timer.cancel()
        kernel.end()
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()
    outcome = _outcome(watch, filled, interruption.cause, error, source, (timeout_s, cell_timeout_s))
    outcome.notebook.metadata.papermill["parameters"] = jsonable(dict(parameters))
    return outcome


# Seconds for the whole run and for each cell.
_Limits = tuple[float | None, float | None]


class _Watch:
    """Follows the execution through nbclient's hooks: the notebook being filled, and the cell at work."""

    def __init__(self, control: Control) -> None:
        self._control = control
        self._heading = ""
        self.notebook: Any = None
        self.index: int | None = None
        self.headings: dict[int, str] = {}

    def begin(self, notebook: Any) -> None:
        self.notebook = notebook

    def cell(self, cell: Any, cell_index: int) -> None:
        self.index = cell_index
        if cell.cell_type == "markdown":
            self._heading = heading(cell.source) or self._heading
        self.headings[cell_index] = self._heading
        label = self._heading or first_line(cell.source)
        self._control.progress(cell_index, len(self.notebook.cells), cell=label)


def _outcome(
    watch: _Watch, given: Any, cause: str, error: BaseException | None, source: Path, limits: _Limits
) -> Outcome:
    notebook = watch.notebook if watch.notebook is not None else given
    notebook.cells = [cell for cell in notebook.cells if _ERROR_TAG not in cell.metadata.get("tags", [])]
    unfold(notebook)
    for cell in notebook.cells:
        cell.metadata.setdefault("papermill", {})
    failure, status = _failure(watch, notebook, cause, error, limits), "finished"
    if cause == "stop":
        status = "cancelled"
    elif failure is not None:
        status = "failed"
    reached = watch.index if error is not None and watch.index is not None else len(notebook.cells)
    for index, cell in enumerate(notebook.cells):
        # Papermill calls the interrupted cell and all that follow it completed.
        if index >= reached and status != "finished" and cell.metadata.papermill.get("status") != "failed":
            interrupted = index == reached and watch.index is not None
            cell.metadata.papermill["status"] = status if interrupted else "pending"
    details = notebook.metadata.setdefault("papermill", {})
    details.update(input_path=source.name, output_path=source.name, status=status)
    return Outcome(notebook=notebook, status=status, failure=failure)  # type: ignore[arg-type]


def _failure(watch: _Watch, notebook: Any, cause: str, error: BaseException | None, limits: _Limits) -> Failure | None:
    timeout_s, cell_timeout_s = limits
    raised_by_cell = error is None or type(error).__name__ == "PapermillExecutionError"
    failed = [index for index, cell in enumerate(notebook.cells) if cell.metadata.papermill.get("exception")]
    failed = failed if raised_by_cell else []
    if cause == "stop" or (error is None and not failed):
        return None
    index = failed[0] if failed else watch.index
    ename, evalue = type(error).__name__, str(error)
    if failed:
        raised = [output for output in notebook.cells[failed[0]].outputs if output.output_type == "error"]
        if raised:
            ename, evalue = raised[-1].ename, raised[-1].evalue
        elif said := _last_words(notebook.cells[failed[0]].outputs):
            # IPython reports a wrong magic on stderr, as "UsageError: ...".
            ename, evalue = said
    elif cause == "timeout":
        ename, evalue = "TimeoutError", f"the report took longer than timeout_s={timeout_s:g}"
    elif type(error).__name__ == "CellTimeoutError" and cell_timeout_s is not None and "IOPub" not in evalue:
        evalue = f"the cell took longer than cell_timeout_s={cell_timeout_s:g}; raise cell_timeout_s"
    elif type(error).__name__ == "PapermillExecutionError":
        return None  # a cell tagged raises-exception raised, as its author says it may
    elif type(error).__name__ == "DeadKernelError":
        evalue = "the kernel died; the memory may not have been enough, kernel.log beside the report may say more"
    source_index = None if index is None else index - sum(map(injected, notebook.cells[:index]))
    return Failure(cell=source_index, heading=watch.headings.get(index or 0, ""), ename=ename, evalue=evalue)


def _last_words(outputs: list[Any]) -> tuple[str, str] | None:
    """Name and message of an error that was only printed on stderr, None when none was."""
    printed = "".join(output.text for output in outputs if output.get("name") == "stderr").strip()
    name, colon, message = printed.rpartition("\n")[2].partition(": ")
    return (name, message) if colon and name.isidentifier() else None


def heading(markdown: str) -> str:
    """The text of the last heading in `markdown`, "" when it has none."""
    fenced = re.sub(r"(?ms)^(```|~~~).*?^\1", "", markdown)
    found = re.findall(r"(?m)^#{1,6}[ \t]+(.+?)[ \t#]*$", fenced)
    return str(found[-1]) if found else ""


def first_line(source: str) -> str:
    """The first line of `source` that is not blank, cut to 60 characters."""
    lines = [line.strip() for line in source.splitlines() if line.strip()]
    return lines[0][:60] if lines else ""


def _quiet(*names: str) -> None:
    # Without any handler Python prints the warnings of these libraries on stderr, between our own lines.
    for name in names:
        logger = logging.getLogger(name)
        if not logger.handlers:
            logger.addHandler(logging.NullHandler())
