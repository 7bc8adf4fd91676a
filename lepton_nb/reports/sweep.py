"""`lnb.report_sweep`: one notebook with many sets of parameters, some at a time, and a page that compares them."""

from __future__ import annotations

import contextlib
import fcntl
import html
import json
import os
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import quote

from lepton_nb.background import BackgroundRun, Control
from lepton_nb.errors import ReportError
from lepton_nb.files import write_whole
from lepton_nb.reports import sweep_page, sweep_sets
from lepton_nb.reports.ledger import Ledger
from lepton_nb.reports.parameters import read
from lepton_nb.reports.prune import manifest_of
from lepton_nb.reports.run import DEFAULT_FOLDER, Plan, load, plan
from lepton_nb.reports.values import jsonable

if TYPE_CHECKING:
    import polars as pl

    from lepton_nb.cluster.session import Cluster

PAGE_EVERY_S = 2.0
STATE_NAME, LOCK_NAME = "sweep.json", ".lock"


@dataclass(frozen=True, slots=True, kw_only=True)
class SweptRun:
    """One run of a sweep. status: "finished", "failed", "cancelled", or "waiting"; reason: of a failure.

    duration_s: of its cells together.
    """

    parameters: Mapping[str, Any]
    folder: Path
    status: str
    metrics: Mapping[str, Any]
    duration_s: float | None
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportSweep:
    """What a sweep left: a folder with a report for each set of parameters, and a page that compares them.

    made: how many runs were made this time; the others were there.
    """

    id: str
    folder: Path
    page: Path
    runs: tuple[SweptRun, ...]
    made: int

    @property
    def failed(self) -> tuple[SweptRun, ...]:
        """The runs that failed."""
        return tuple(run for run in self.runs if run.status == "failed")

    def frame(self) -> pl.DataFrame:
        """A row for each run: its parameters, its status, what it recorded, seconds and folder."""
        import polars as pl

        from lepton_nb.reports.history_page import scalar

        rows = []
        for run in self.runs:
            recorded = {name: scalar(value) for name, value in run.metrics.items()}
            given = {
                name: v if isinstance(v, int | float | str | None) else str(v) for name, v in run.parameters.items()
            }
            facts = {"status": run.status, "duration_s": run.duration_s, "folder": str(run.folder)}
            rows.append(
                {**given, **{name: v for name, v in recorded.items() if not isinstance(v, list | dict)}, **facts}
            )
        return pl.DataFrame(rows, infer_schema_length=None, strict=False)

    def _repr_html_(self) -> str:
        page = os.path.relpath(self.page)
        finished = sum(run.status == "finished" for run in self.runs)
        link = f'<a href="{html.escape(quote(page))}" target="_blank">{html.escape(page)}</a>'
        return f"<p>{finished} of {len(self.runs)} reports finished: {link} (opens in a new tab)</p>"


def report_sweep(
    notebook: str | os.PathLike[str],
    parameters: Mapping[str, Sequence[Any]] | Sequence[Mapping[str, Any]],
    *,
    parallel: int = 2,
    cluster: Cluster | None = None,
    output: str | os.PathLike[str] | None = None,
    timeout_s: float | None = None,
    show_code: bool = False,
    ledger: str | os.PathLike[str] | None = None,
) -> ReportSweep:
    """Make a report of a notebook for each set of parameters, and a page that compares what they recorded.

    parameters: lists of values by name, of which every combination is run, or a list of sets.
    parallel: how many run their cells at a time, each in a kernel of its own; as many more have one that is ready.
    cluster: where they run; by default one of workers without GPUs is started and closed at the end. The kernels see
        what such a worker sees: OMP_NUM_THREADS is 1.
    output: the folder (default reports/out/NAME-sweep); a run that finished there with the same notebook, parameters
        and packages is not made again.
    timeout_s, show_code, ledger: of each run, as for `lnb.report`.

    A run that fails does not stop the others: it is in `failed`. Raises ReportError before anything runs for values
    that do not fit, all of them in `problems`, and when another sweep is at work in the folder. Ctrl-C stops all runs.
    """
    sets = sweep_sets.grid(parameters) if isinstance(parameters, Mapping) else list(parameters)
    return SweepPlan.of(
        notebook,
        sets,
        parallel=parallel,
        output=output,
        timeout_s=timeout_s,
        show_code=show_code,
        ledger=ledger,
    ).run(cluster).start().wait()  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepPlan:
    """A sweep about to be made: all is checked, and nothing has run."""

    id: str
    folder: Path
    source: Path
    sets: tuple[Mapping[str, Any], ...]
    plans: tuple[Plan, ...]
    parallel: int

    @classmethod
    def of(
        cls,
        notebook: str | os.PathLike[str],
        sets: Sequence[Mapping[str, Any]],
        *,
        parallel: int,
        output: str | os.PathLike[str] | None,
        **options: Any,
    ) -> Self:
        """Check all sets; `options` are those of each report."""
        if isinstance(parallel, bool) or not isinstance(parallel, int) or not 1 <= parallel <= 1024:
            raise ReportError(f"parallel must be a whole number from 1 to 1024, not {parallel!r}", parallel=parallel)
        source = Path(notebook).expanduser().absolute()
        found = sweep_sets.checked(read(load(source)), sets)
        folder = sweep_sets.folder_of(output, source, DEFAULT_FOLDER)
        _check_folder(folder)
        from lepton_nb.reports.inputs import sha256

        notebook_hash, packages = sha256(source), sweep_sets.packages_sha256()
        names = [sweep_sets.folder_name(one, sweep_sets.identity(notebook_hash, one, packages)) for one in found]
        id_ = _id_of(folder)
        # The folder of the first run tells whether any can be written.
        first = plan(source, found[0], output=folder / names[0], parent=id_, **options)
        if options.get("ledger") is None:
            from lepton_nb.reports.ledger import find

            options["ledger"] = find(folder, DEFAULT_FOLDER)
        plans = [_like(first, one, folder / name, options["ledger"]) for one, name in zip(found, names, strict=True)]
        return cls(
            id=id_,
            folder=folder,
            source=source,
            sets=tuple(found),
            plans=tuple(plans),
            parallel=min(parallel, len(found)),
        )

    def run(self, cluster: Cluster | None = None) -> BackgroundRun[ReportSweep]:
        """The run that makes what is missing, not yet started."""
        return BackgroundRun(lambda control: self._conduct(control, cluster), name=f"{self.source.stem}-sweep")

    def _conduct(self, control: Control, cluster: Cluster | None) -> ReportSweep:
        with _alone_in(self.folder):
            _write_json(self.folder / STATE_NAME, {"schema_version": 1, "id": self.id, "notebook": self.source.name})
            runs = [_look(one, planned) for one, planned in zip(self.sets, self.plans, strict=True)]
            missing = [index for index, run in enumerate(runs) if run.status != "finished"]
            for index in missing:
                runs[index] = _waiting(runs[index])
            page = _Page(self)
            made = 0
            try:
                if missing and not control.stopping:
                    with contextlib.ExitStack() as opened:
                        if cluster is None:
                            cluster = opened.enter_context(_own_cluster(self.parallel))
                        for index, ended in self._make_all(cluster, missing, control):
                            runs[index] = _look(self.sets[index], self.plans[index], ended)
                            made += 1
                            control.progress(
                                len(runs) - len(missing) + made, len(runs), run=self.plans[index].output.name,
                                status=runs[index].status,
                            )  # fmt: skip
                            page.write(runs)
            finally:
                page.write(runs, last=True)
            if (path := self.plans[0].ledger) is not None and made:
                from lepton_nb.reports import history_page

                with contextlib.suppress(ReportError, OSError):  # each of the runs has told
                    history_page.write(Ledger(path))
            return ReportSweep(id=self.id, folder=self.folder, page=page.path, runs=tuple(runs), made=made)

    def _make_all(self, cluster: Cluster, missing: Sequence[int], control: Control) -> Iterator[tuple[int, Any]]:
        """Have the runs made, and give the number of each and how it ended, as they end."""
        from distributed import as_completed

        from lepton_nb.reports import sweep_worker

        client, token = cluster.client, uuid.uuid4().hex
        workers = cluster.workers
        lanes = {worker: len(range(number, self.parallel, len(workers))) for number, worker in enumerate(workers)}
        left = iter(missing)
        where: dict[Any, tuple[int, str]] = {}
        done = as_completed(loop=client.loop)

        def submit(worker: str) -> None:
            index = None if control.stopping else next(left, None)
            if index is not None:
                future = client.submit(
                    sweep_worker.make, self.plans[index], token, lanes[worker],
                    workers=[worker], allow_other_workers=True, pure=False, key=f"report-{token}-{index}",
                )  # fmt: skip
                where[future] = (index, worker)
                done.add(future)

        control.on_stop(lambda: client.run(sweep_worker.stop, token, on_error="ignore"))
        # Twice as many as run: each has a successor, whose kernel starts meanwhile.
        for _ in range(2):
            for round_ in range(max(lanes.values())):
                for worker, count in lanes.items():
                    if round_ < count:
                        submit(worker)
        try:
            for future in done:
                index, worker = where.pop(future)
                error = future.exception()
                ended = {"status": "failed", "reason": str(error)} if error is not None else future.result()
                future.release()
                submit(worker)
                yield index, ended
        finally:
            client.run(sweep_worker.stop if where else sweep_worker.forget, token, on_error="ignore")


class _Page:
    """The page that compares, written at most every 2 seconds and at the end."""

    def __init__(self, swept: SweepPlan) -> None:
        self._swept = swept
        self._written_s = -PAGE_EVERY_S
        self.path = swept.folder / sweep_page.PAGE_NAME

    def write(self, runs: Sequence[SweptRun], *, last: bool = False) -> None:
        if last or time.monotonic() - self._written_s > PAGE_EVERY_S:
            drawn = sweep_page.render(runs, self._swept.source.name, self._swept.folder)
            write_whole(self.path, [drawn.encode()], durable=False)
            self._written_s = time.monotonic()


def _own_cluster(parallel: int) -> Cluster:
    from lepton_nb.cluster.session import Cluster

    return Cluster(workers=min(parallel, os.cpu_count() or 1), gpus=0)


def _like(first: Plan, values: Mapping[str, Any], output: Path, ledger: Path | None) -> Plan:
    from dataclasses import replace

    return replace(first, values=values, output=output, ledger=ledger, id=uuid.uuid4().hex)


def _look(values: Mapping[str, Any], planned: Plan, ended: Mapping[str, Any] | None = None) -> SweptRun:
    """A run as its folder tells."""
    manifest = manifest_of(planned.output) or {}
    status = ended["status"] if ended is not None else manifest.get("status", "waiting")
    return SweptRun(
        parameters={name: jsonable(value) for name, value in values.items()},
        folder=planned.output,
        status=status,
        metrics=manifest.get("metrics", {}),
        duration_s=_seconds(manifest),
        reason=ended["reason"] if ended is not None else "",
    )


def _seconds(manifest: Mapping[str, Any]) -> float | None:
    """How long the cells took: the run itself began before, and waited for its turn."""
    spent = [cell["seconds"] for cell in manifest.get("cells", ()) if cell.get("seconds") is not None]
    return round(sum(spent), 3) if spent else None


def _waiting(run: SweptRun) -> SweptRun:
    return SweptRun(parameters=run.parameters, folder=run.folder, status="waiting", metrics={}, duration_s=None)


def _check_folder(folder: Path) -> None:
    if folder.exists() and not folder.is_dir():
        raise ReportError(f"{folder} is a file; choose another output folder", output=str(folder))
    if folder.is_dir() and any(folder.iterdir()) and not (folder / STATE_NAME).exists():
        raise ReportError(
            f"{folder} is not empty, and no sweep is in it; choose an empty or a new output folder", output=str(folder)
        )


def _id_of(folder: Path) -> str:
    try:
        return str(json.loads((folder / STATE_NAME).read_text(encoding="utf-8"))["id"])
    except (OSError, ValueError, LookupError, TypeError):
        return uuid.uuid4().hex


@contextlib.contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / LOCK_NAME).open("w")
    except OSError as error:
        raise ReportError(f"cannot write to {folder}: {error.strerror}; choose another output folder") from None
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ReportError(
                f"another sweep is at work in {folder}; wait for it, or choose another output folder",
                output=str(folder),
            ) from None
        yield


def _write_json(path: Path, value: Any) -> None:
    write_whole(path, [json.dumps(value, indent=2).encode()], durable=False)
