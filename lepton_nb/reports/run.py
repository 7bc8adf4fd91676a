"""`lnb.report`: run a notebook with parameters, and leave a folder with a page, the notebook and a manifest."""

from __future__ import annotations

import html
import os
import shutil
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote

from lepton_nb.background import BackgroundRun, Control
from lepton_nb.errors import ReportError
from lepton_nb.progress import draws
from lepton_nb.reports import ledger as ledgers
from lepton_nb.reports.formats import DEFAULT as DEFAULT_FORMATS
from lepton_nb.reports.formats import MARKDOWN_NAME, PDF_NAME
from lepton_nb.reports.formats import check as check_formats
from lepton_nb.reports.parameters import Parameter, check, read
from lepton_nb.reports.place import (
    HTML_NAME,
    LOG_NAME,
    MANIFEST_NAME,
    check_output,
    free,
    keep,
    publish,
    unwritten,
    work_folder,
)
from lepton_nb.reports.secrets import Scrubber, scrubber
from lepton_nb.reports.signature import signer as signing_key
from lepton_nb.reports.source import read_notebook
from lepton_nb.reports.storage import Fetched, Target, fetch, local, remote
from lepton_nb.reports.values import jsonable

if TYPE_CHECKING:
    from lepton_nb.reports.execute import Outcome, ReportStatus
    from lepton_nb.reports.gate import Gate
    from lepton_nb.reports.guard import Mark
    from lepton_nb.reports.recorded import Metric, Records
    from lepton_nb.reports.resume import Earlier
    from lepton_nb.reports.signature import Signer

DEFAULT_FOLDER = Path("reports") / "out"


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """A report on disk. `metrics` are the values that cells gave to `lnb.record`; `url` where a copy is, if so."""

    folder: Path
    html: Path
    notebook: Path
    manifest: Path
    status: ReportStatus
    metrics: Mapping[str, Metric] = field(default_factory=dict)
    # What was asked for and could not be written, with what to do.
    notes: tuple[str, ...] = ()
    # Where it was copied to, without credentials; empty where it was not.
    url: str = ""

    @property
    def markdown(self) -> Path | None:
        """The report as Markdown, None when there is none."""
        return self._other(MARKDOWN_NAME)

    @property
    def pdf(self) -> Path | None:
        """The report on paper, None when there is none."""
        return self._other(PDF_NAME)

    def _other(self, name: str) -> Path | None:
        return path if (path := self.folder / name).exists() else None

    def _repr_html_(self) -> str:
        """What a cell shows of it: where the page is, and what was recorded."""
        rows = "".join(
            f'<tr><th scope="row">{html.escape(name)}</th><td>{html.escape(str(value))}</td></tr>'
            for name, value in self.metrics.items()
        )
        table = f"<table><caption>Recorded</caption>{rows}</table>" if rows else ""
        page = os.path.relpath(self.html)
        link = f'<a href="{html.escape(quote(page))}" target="_blank">{html.escape(page)}</a>'
        notes = "".join(f"<p>{html.escape(note)}</p>" for note in self.notes)
        return f"<p>Report {html.escape(self.status)}: {link} (opens in a new tab)</p>{notes}{table}"


def report(
    notebook: str | os.PathLike[str],
    *,
    output: str | os.PathLike[str] | None = None,
    timeout_s: float | None = None,
    cell_timeout_s: float | None = None,
    resume: str | os.PathLike[str] | None = None,
    show_code: bool = False,
    formats: Sequence[str] | str = DEFAULT_FORMATS,
    sign: str | os.PathLike[str] | None = None,
    sign_passphrase: str | None = None,
    ledger: str | os.PathLike[str] | None = None,
    **parameters: Any,
) -> Report:
    """Run a notebook in a fresh kernel of this Python, and write a report into the folder `output`.

    `parameters` replace defaults of the notebook's cell tagged `parameters`; their types are its annotations.
    `output` (default: reports/out/NAME-TIME below the current folder) must not exist, be empty, or hold an
    earlier report and nothing else, which is replaced. It appears whole, when the run has ended, also when a cell
    failed; if something else has come there by then, beside it, under the next free name. `notebook` and `output` may
    be addresses too, such as s3://BUCKET/FOLDER: a notebook from there runs in an empty folder, and a report for there
    is made in the default folder, where it stays, and copied, its manifest last.

    `formats` may add "markdown" and "pdf" to the page and the notebook, which are always written; a PDF and pictures of
    figures need a Chromium, and `notes` of the report say so where there is none.

    sign: a private key (OpenSSH or PEM), with which the manifest is signed, and so all files that it names;
    sign_passphrase says where the passphrase of an encrypted one is, as "env:NAME" or "file:PATH".

    The run is entered into `ledger`, and its folder's index.html shows all runs; see lepton-nb report list. By default
    that is the one beside the report or in reports/out, if there is one or the report goes to reports/out.

    `resume` is the folder of a report that failed or was cancelled: its parameters are taken, cells before the failed
    one run again for their variables, but those tagged `once` do not, and their outputs are taken over. Raises
    ReportError naming all that has changed since: such cells, parameters, packages, input files.

    Raises ReportError before anything runs for unknown or ill-typed parameters (all at once, in `problems`), a
    missing notebook, or a folder that cannot be written. Raises it when a cell fails or `timeout_s` (seconds for
    the whole run) or `cell_timeout_s` (for each cell) is over, with `cell` (counted from 0 in the given notebook),
    `ename`, `evalue` and `report`, the partial report. Raises it when the report cannot be written, such as to a full
    disk, with `output` and `report`, which is then in a folder for temporary files (None if that fails too). Ctrl-C
    keeps the partial report, marked cancelled, and raises KeyboardInterrupt.
    """
    planned = plan(
        notebook,
        parameters,
        output=output,
        timeout_s=timeout_s,
        cell_timeout_s=cell_timeout_s,
        resume=resume,
        show_code=show_code,
        formats=formats,
        ledger=ledger,
        sign=sign,
        sign_passphrase=sign_passphrase,
    )
    return show(planned)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A report about to be made: everything is checked, and nothing has run."""

    source: Path
    notebook: Any
    declared: tuple[Parameter, ...]
    values: Mapping[str, Any]
    output: Path
    timeout_s: float | None
    show_code: bool
    cell_timeout_s: float | None = None
    resume: Earlier | None = None
    formats: tuple[str, ...] = DEFAULT_FORMATS
    signer: Signer | None = None
    ledger: Path | None = None
    parent: str | None = None
    slot: str | None = None
    id: str = field(default_factory=lambda: uuid.uuid4().hex)
    scrub: Scrubber = field(default_factory=lambda: Scrubber(()))
    fetched: Fetched | None = None
    target: Target | None = None

    def run(self, gate: Gate | None = None) -> BackgroundRun[Report]:
        """The run that makes the report, not yet started. Its result is the report, finished or cancelled.

        gate: where its cells wait for their turn; the kernel starts before.
        """
        return BackgroundRun(lambda control: self._make(control, gate), name=self.source.stem)

    def _make(self, control: Control, gate: Gate | None) -> Report:
        from lepton_nb.reports import manifest as manifests
        from lepton_nb.reports.entry import Entry

        entry = Entry(self.ledger, self.id)
        entry.begin(
            notebook=manifests.place(self.source),
            parameters={name: jsonable(value) for name, value in self.values.items()},
            folder=self.output,
            parent=self.parent,
            slot=self.slot,
        )
        try:
            made, folder, notes = self._write_whole(work_folder(self.output), control, gate)
            if self.target is not None:
                self.target.upload(folder)
        except BaseException:
            entry.end("failed", {}, None, None)
            raise
        finally:
            if self.fetched is not None:
                self.fetched.remove()
        entry.end(made.outcome.status, made.manifest["metrics"], None, folder)
        return _finish(made, folder, self.source, self.timeout_s, notes, self.target.shown if self.target else "")

    def _write_whole(self, work: Path, control: Control, gate: Gate | None) -> tuple[_Made, Path, tuple[str, ...]]:
        from lepton_nb.reports.guard import guarded

        with guarded(work) as mark:
            made = self._execute(work, mark, control, gate)
            try:
                notes = self._write(made, work)
                folder = publish(work, self.output)
            except OSError as error:
                kept = keep(work, lambda place: self._write(made, place))
                raise ReportError(
                    unwritten(error, self.output, kept),
                    output=str(self.output),
                    report=kept and _report(made, kept, self.source),
                ) from error
        return made, folder, notes

    def _execute(self, work: Path, mark: Mark, control: Control, gate: Gate | None) -> _Made:
        from lepton_nb.reports import manifest as manifests
        from lepton_nb.reports.execute import execute
        from lepton_nb.reports.facts import beside, read_facts
        from lepton_nb.reports.inputs import Inputs
        from lepton_nb.reports.machine import Meter
        from lepton_nb.reports.recorded import collect

        named = {parameter.name: parameter.default for parameter in self.declared} | dict(self.values)
        inputs, meter = Inputs(self.notebook, named.values(), self.source.parent), Meter()
        records, log = work / ".records", work / LOG_NAME
        started = datetime.now(UTC)
        outcome = execute(
            self.notebook,
            self.values,
            source=self.source,
            log=log,
            records=records,
            mark=mark,
            timeout_s=self.timeout_s,
            cell_timeout_s=self.cell_timeout_s,
            resume=self.resume,
            control=control,
            gate=gate,
        )
        outcome = self.scrub.outcome(outcome)
        self.scrub.files(work)
        recorded = collect(records)
        facts = read_facts(beside(records))
        beside(records).unlink(missing_ok=True)
        if log.exists() and not log.stat().st_size:
            log.unlink()
        manifest = manifests.build(
            source=self.source,
            declared=self.declared,
            values=self.values,
            outcome=outcome,
            started=started,
            ended=datetime.now(UTC),
            metrics=recorded.typed,
            facts=facts,
            inputs=inputs,
            used=meter.read(),
        )
        if self.fetched is not None:
            manifest["notebook"]["path"] = self.fetched.shown
        manifest |= {"id": self.id, "parent": self.parent, "slot": self.slot, "tables": recorded.tables}
        if self.resume is not None:
            manifest["parent"] = self.resume.manifest.get("id")
            manifest["resumed"] = {"kept_cells": sorted(self.resume.kept)}
        return _Made(outcome, recorded, manifest, work)

    def _write(self, made: _Made, folder: Path) -> tuple[str, ...]:
        """Write the report's files into `folder`, where the kernel's log is, if there is one; gives what could not."""
        import nbformat

        from lepton_nb.reports import formats, page
        from lepton_nb.reports import manifest as manifests

        executed, html = folder / self.source.name, folder / HTML_NAME
        tables = [folder / name for name in made.recorded.files()]
        for table in tables:
            if folder != made.work:
                shutil.copy(made.work / table.name, table)
        nbformat.write(made.outcome.notebook, executed)
        drawn = page.render(made.outcome.notebook, made.manifest, folder=self.source.parent, show_code=self.show_code)
        html.write_text(drawn, encoding="utf-8")
        others = formats.write(
            # Whoever cancels does not wait for a browser.
            DEFAULT_FORMATS if made.outcome.status == "cancelled" else self.formats,
            made.outcome.notebook,
            made.manifest,
            folder,
            source_folder=self.source.parent,
            show_code=self.show_code,
        )
        files = manifests.files(html, executed, *tables, *others.files, folder / LOG_NAME)
        manifests.finish(made.manifest, files, executed.name, folder / MANIFEST_NAME, self.signer)
        return tuple(others.notes)


class _Made(NamedTuple):
    """What a run gave, before it is written."""

    outcome: Outcome
    recorded: Records
    manifest: Mapping[str, Any]
    # Where the kernel left its log and the files of tables.
    work: Path


def plan(
    notebook: str | os.PathLike[str],
    parameters: Mapping[str, Any],
    *,
    text: bool = False,
    output: str | os.PathLike[str] | None = None,
    timeout_s: float | None = None,
    cell_timeout_s: float | None = None,
    resume: str | os.PathLike[str] | None = None,
    show_code: bool = False,
    formats: Sequence[str] | str = DEFAULT_FORMATS,
    sign: str | os.PathLike[str] | None = None,
    sign_passphrase: str | None = None,
    ledger: str | os.PathLike[str] | None = None,
    parent: str | None = None,
    slot: str | None = None,
) -> Plan:
    """Check all that can be checked before a kernel starts; `text` says that values are a command line's."""
    fetched = fetch(str(notebook)) if remote(notebook) else None
    source = fetched.path if fetched else local(notebook)
    node = load(source)
    if source.name in (HTML_NAME, MANIFEST_NAME, LOG_NAME, MARKDOWN_NAME, PDF_NAME):
        raise ReportError(f"a report has a file {source.name} of its own; rename the notebook", path=str(source))
    for name, limit_s in (("timeout_s", timeout_s), ("cell_timeout_s", cell_timeout_s)):
        if limit_s is not None and not limit_s > 0:
            raise ReportError(f"{name} must be more than 0 seconds, not {limit_s}", **{name: limit_s})
    wanted = check_formats(formats)
    signer = signing_key(sign, sign_passphrase) if sign is not None else None
    declared = read(node)
    before = None
    if resume is None:
        values = check(declared, parameters, text=text)
    else:
        from lepton_nb.reports.resume import earlier

        place = Path(resume).expanduser().absolute()
        before, values = earlier(place, source, node, declared, parameters, text=text)
    scrub = scrubber(declared or (), values, source.parent)
    target = Target(str(output)) if output is not None and remote(output) else None
    output = None if target else output
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    folder = local(output) if output is not None else free(DEFAULT_FOLDER / f"{source.stem}-{stamp}")
    # A rename would replace a link itself.
    folder = Path(os.path.realpath(folder)) if folder.is_symlink() else folder.absolute()
    check_output(folder)
    return Plan(
        source=source,
        notebook=node,
        declared=declared or (),
        values=values,
        output=folder,
        timeout_s=timeout_s,
        cell_timeout_s=cell_timeout_s,
        resume=before,
        show_code=show_code,
        formats=wanted,
        signer=signer,
        ledger=ledgers.find(folder, DEFAULT_FOLDER, ledger),
        parent=parent,
        slot=slot,
        scrub=scrub,
        fetched=fetched,
        target=target,
    )


def show(planned: Plan) -> Report:
    """Make the planned report with progress on stderr, and wait for it."""
    from lepton_nb.reports.progress import lines

    run = planned.run()
    if not draws():
        run.watch(lines(planned.source.stem))
    return run.start().wait()


def load(source: Path) -> Any:
    """The notebook at `source` as an nbformat 4 node; raises ReportError when there is none, or not in Python."""
    try:
        import nbformat  # noqa: F401
        import papermill  # noqa: F401
    except ImportError as error:
        raise ReportError(
            f'reports need {error.name}; install it with: pip install "lepton-nb[reports]"', package=error.name
        ) from None
    return read_notebook(source)


def _report(made: _Made, folder: Path, source: Path, notes: tuple[str, ...] = (), url: str = "") -> Report:
    return Report(
        folder=folder,
        html=folder / HTML_NAME,
        notebook=folder / source.name,
        manifest=folder / MANIFEST_NAME,
        status=made.outcome.status,
        metrics=made.recorded.metrics,
        notes=notes,
        url=url,
    )


def _finish(
    made: _Made, folder: Path, source: Path, timeout_s: float | None, notes: tuple[str, ...], url: str
) -> Report:
    result = _report(made, folder, source, notes, url)
    failure = made.outcome.failure
    if made.outcome.status != "failed" or failure is None:
        return result
    where = source.name if failure.cell is None else f"cell {failure.cell + 1} of {source.name}"
    section = f" ({failure.heading})" if failure.heading else ""
    fix = "; raise timeout_s" if failure.ename == "TimeoutError" and timeout_s is not None else ""
    if failure.ename == "StdinNotImplementedError":
        fix = "; nobody can answer while a report is made: make the answer a parameter of the notebook"
    raise ReportError(
        f"{where}{section} failed: {failure.ename}: {failure.evalue}{fix}\nwhat ran until then: {result.html}",
        cell=failure.cell,
        ename=failure.ename,
        evalue=failure.evalue,
        report=result,
    )
