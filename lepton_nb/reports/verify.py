"""From a report's manifest to a second run and a verdict: is the result reproduced, and if not, what is different?"""

from __future__ import annotations

import html
import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lepton_nb.errors import ReportError
from lepton_nb.reports import compare, integrity
from lepton_nb.reports import manifest as manifests
from lepton_nb.reports.compare import Difference
from lepton_nb.reports.injection import injected
from lepton_nb.reports.inputs import find, sha256
from lepton_nb.reports.machine import machine
from lepton_nb.reports.packages import packages
from lepton_nb.reports.parameters import read
from lepton_nb.reports.run import Plan, plan, show
from lepton_nb.reports.structure import changes
from lepton_nb.reports.tolerance import Tolerance, checked


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What became of a report that was verified.

    reproduced: its files are whole, what went in is the same, and the same came out. ran: whether the notebook ran
    again. notebook: what was run, in words. signer: who signed, "" where that was not checked.
    held: what speaks against it; told: what is different, and changed nothing. seconds: how long it took.
    """

    folder: Path
    reproduced: bool
    ran: bool
    notebook: str
    signer: str
    held: tuple[Difference, ...]
    told: tuple[Difference, ...]
    seconds: float

    def __bool__(self) -> bool:
        """True where the result is reproduced."""
        return self.reproduced

    def __str__(self) -> str:
        if self.ran:
            verdict = "reproduced" if self.reproduced else "not reproduced"
        else:
            verdict = "whole and in its environment, not run again" if self.reproduced else "not as it was"
        lines = [f"{verdict}: {self.folder}"]
        if self.signer:
            lines.append(f"signed by {self.signer}")
        if self.notebook:
            lines.append(self.notebook)
        for title, found in (("different", self.held), ("also different, not held against it", self.told)):
            if found:
                lines += [f"{title}, earlier against now:", *(f"  {one}" for one in found)]
        return "\n".join(lines)

    def json(self) -> str:
        """The verdict as one JSON object."""
        facts = {
            "folder": str(self.folder),
            "reproduced": self.reproduced,
            "ran": self.ran,
            "notebook": self.notebook,
            "signer": self.signer or None,
            "held": [one.json() for one in self.held],
            "told": [one.json() for one in self.told],
            "seconds": round(self.seconds, 3),
        }
        return json.dumps(facts, indent=2, allow_nan=False, ensure_ascii=False)

    def _repr_html_(self) -> str:
        return f"<pre>{html.escape(str(self))}</pre>"


def report_verify(
    folder: str | os.PathLike[str],
    *,
    run: bool = True,
    notebook: str | os.PathLike[str] | None = None,
    signature: str | os.PathLike[str] | None = None,
    tolerance: Mapping[str, float | Tolerance] | None = None,
    strict: bool = False,
    timeout_s: float | None = None,
    keep: str | os.PathLike[str] | None = None,
) -> Verdict:
    """Check the files of the report in `folder`, run its notebook again with its parameters, and compare.

    The notebook is run from where the manifest says that it is, in this project or in that of `folder`, or from
    `notebook`. If it is not there, or has changed since, the code that the report keeps is run in its place, and the
    verdict says so. Parameters, input files and seeds must be the same, metrics and tables within `tolerance` (by
    name, "*" for all, also for figures; absolute, or a Tolerance; by default whole numbers and texts exactly, other
    numbers to nine digits), figures in the data that they draw. Other packages, another machine, changed sources or
    texts that cells print are told; with `strict` they are held against it too. Outputs of cells tagged `volatile`
    are not compared.

    run: False checks files, inputs and environment alone; a different environment is then held against it.
    signature: a public key, or a file of allowed signers; the manifest must be signed by one of them. Files that were
    changed end it before anything runs. keep: a folder for the report of the second run. Raises ReportError where
    there is no report, or it cannot be run.
    """
    began = time.monotonic()
    tolerances = checked(tolerance)
    kept = integrity.load(folder)
    signer = ""
    found: list[Difference] = []
    if signature is not None:
        signer, found = kept.signature(signature)
    found += [*kept.faults()]
    if not found:
        executed = kept.executed()
        found += _claims(kept.manifest, executed)
    if found:
        return _verdict(kept, found, began, signer=signer, strict=True)
    place = _Place.of(kept, executed, notebook)
    if not run:
        found = [*place.changed, *_environment(kept.manifest, place.folder)]
        return _verdict(kept, found, began, signer=signer, strict=True)
    scratch = Path(tempfile.mkdtemp(prefix="lepton-nb-verify-"))
    try:
        output = Path(keep) if keep is not None else scratch / "again"
        again = integrity.load(_run(place.plan(kept.manifest, scratch, output, timeout_s)))
        found = [
            *place.changed,
            *compare.given(kept.manifest, again.manifest),
            *compare.results(kept.manifest, again.manifest, executed, again.executed(), tolerances),
            *compare.tables(kept.tables(), again.tables(), tolerances),
        ]
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return _verdict(kept, found, began, signer=signer, strict=strict, ran=place.words)


def _verdict(
    kept: integrity.Kept, found: list[Difference], began: float, *, signer: str, strict: bool, ran: str = ""
) -> Verdict:
    held = tuple(one for one in found if strict or not one.circumstance)
    return Verdict(
        folder=kept.folder,
        reproduced=not held,
        ran=bool(ran),
        notebook=ran,
        signer=signer,
        held=held,
        told=tuple(one for one in found if one not in held),
        seconds=time.monotonic() - began,
    )


@dataclass(frozen=True, slots=True)
class _Place:
    """Which code is run again, and where. `node` is the code that the report keeps, None where the original is run."""

    path: Path
    node: Any
    words: str
    changed: tuple[Difference, ...]

    @property
    def folder(self) -> Path:
        return self.path.parent

    @classmethod
    def of(cls, kept: integrity.Kept, executed: Any, notebook: str | os.PathLike[str] | None) -> _Place:
        facts = kept.manifest["notebook"]
        name = facts["path"]
        if notebook is not None:
            candidates = [Path(notebook).expanduser().absolute()]
            if not candidates[0].is_file():
                raise ReportError(f"there is no notebook {notebook}; check the path", path=str(notebook))
        else:
            candidates = [*_candidates(name, kept.folder)]
        for path in candidates:
            if path.is_file() and sha256(path) == facts["sha256"]:
                return cls(path, None, f"ran {name}, which has not changed", ())
        source = _source(executed)
        there = next((path for path in candidates if path.is_file()), None)
        if there is not None:
            words = f"ran the code that the report keeps, for {name} has changed since"
            return cls(there, source, words, tuple(_notebook(name, there, source)))
        folder = next((path.parent for path in candidates if path.parent.is_dir()), Path.cwd())
        words = f"ran the code that the report keeps, in {os.path.relpath(folder)}, for {name} is not here"
        return cls(folder / kept.notebook.name, source, words, ())

    def plan(self, manifest: Mapping[str, Any], scratch: Path, output: Path, timeout_s: float | None) -> Plan:
        """The second run, in the notebook's own folder."""
        import nbformat

        if self.node is None:
            values = _parameters(manifest, self.path)
            return plan(self.path, values, output=output, timeout_s=timeout_s)
        copy = scratch / self.path.name
        nbformat.write(self.node, copy)
        made = plan(copy, _parameters(manifest, copy), output=output, timeout_s=timeout_s)
        return replace(made, source=self.path)


def _candidates(name: str, folder: Path) -> Iterator[Path]:
    """Where the notebook called `name` in a manifest may be: in this project, or in that of the report's folder."""
    if Path(name).is_absolute() or ".." in Path(name).parts:
        return
    seen: set[Path] = set()
    for base in (manifests.root(Path.cwd()), Path.cwd(), manifests.root(folder), *folder.resolve().parents):
        if base is not None and base not in seen:
            seen.add(base)
            yield base / name


def _source(executed: Any) -> Any:
    """The notebook as it was before it ran: without outputs, counts, and the cell of given parameters."""
    import copy

    node = copy.deepcopy(executed)
    node.cells = [cell for cell in node.cells if not injected(cell)]
    node.metadata.pop("papermill", None)
    for cell in node.cells:
        cell.metadata.pop("papermill", None)
        cell.metadata.pop("execution", None)
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    return node


def _notebook(name: str, path: Path, source: Any) -> Iterator[Difference]:
    """How the notebook differs from what the report keeps: the cells by name, else the file."""
    from lepton_nb.reports.source import read_notebook

    try:
        _, changed = changes(source.cells, read_notebook(path).cells)
    except ReportError:
        changed = []
    for place, words in changed:
        text = f"{name}: cell {place + 1} {words}"
        yield Difference(kind="notebook", name=name, text=text, cell=place)
    if not changed:
        yield Difference(kind="notebook", name=name, text=f"{name}: changed, though no cell's code")


def _claims(manifest: Mapping[str, Any], executed: Any) -> Iterator[Difference]:
    """Parameters that the manifest says were given, and the executed notebook does not, or the other way round."""
    said = {name: facts["value"] for name, facts in manifest["parameters"].items() if facts["given"]}
    ran = executed.metadata.get("papermill", {}).get("parameters", {})
    for one in compare.given({"parameters": _as_facts(said)}, {"parameters": _as_facts(ran)}):
        yield replace(one, text=f"{one.text} (the manifest against the executed notebook)")


def _as_facts(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: {"value": value} for name, value in values.items()}


def _parameters(manifest: Mapping[str, Any], notebook: Path) -> dict[str, Any]:
    """The values that were given, in Python: dates, times and durations are text in the manifest."""
    from lepton_nb.reports.source import read_notebook

    declared = {parameter.name: parameter for parameter in read(read_notebook(notebook)) or ()}
    values = {}
    for name, facts in manifest["parameters"].items():
        if not facts["given"]:
            continue
        value, form = facts["value"], declared[name].form if name in declared else None
        if form is not None:
            try:
                form.check(value)
            except ValueError:
                value = form.parse(value if isinstance(value, str) else json.dumps(value))
        values[name] = value
    return values


def _run(planned: Plan) -> Path:
    """Run, and the folder of the report, also where a cell failed: that may be what was to be reproduced."""
    try:
        return show(planned).folder
    except ReportError as error:
        made = error.facts.get("report")
        if made is None:
            raise
        folder: Path = made.folder
        return folder


def _environment(manifest: Mapping[str, Any], folder: Path) -> Iterator[Difference]:
    """What is different here and now, as far as can be told without a run."""
    base = manifests.root(folder)
    for entry in manifest.get("inputs", ()):
        if "path" not in entry:
            continue
        path = find(entry["path"], base)
        now = {**entry, "sha256": sha256(path), "bytes": path.stat().st_size} if path.is_file() else None
        if now is None:
            yield Difference(kind="input", name=entry["path"], text=f"{entry['path']}: is missing")
        else:
            yield from compare.given(_only(inputs=[entry]), _only(inputs=[now]))
    sources = manifest["notebook"].get("sources", ())
    current = [find(entry["path"], base) for entry in sources]
    hashed = [
        {"path": entry["path"], "sha256": sha256(path) if path.is_file() else "missing"}
        for entry, path in zip(sources, current, strict=True)
    ]
    yield from compare.given(_only(sources=list(sources)), _only(sources=hashed))
    now = {
        "versions": manifests.versions(),
        "packages": packages(base),
        "git": manifests.git(folder),
        "machine": machine(),
    }
    yield from compare.environment(manifest, now)


def _only(inputs: list[Any] | None = None, sources: list[Any] | None = None) -> dict[str, Any]:
    return {"notebook": {"sources": sources or []}, "inputs": inputs or []}
