"""`lepton-nb report run NOTEBOOK --resume FOLDER`: a failed or cancelled run once more, without what need not be again.

A kernel's variables are gone when it has ended, and pickles of them would be code that is run from a folder and lose
what cannot be pickled. So the cells before the one that failed run again, for their variables, and what resuming saves
is what their author says it may: a cell tagged `once` has its effect outside of the kernel (it downloads, trains to a
checkpoint, writes a table), and leaves no variable that a later cell needs. Of those that had completed, outputs and
what they recorded are taken over, and they are not run. That is only right where nothing has changed that they depend
on: the cells up to the failed one, the parameters, the versions of packages, the input files that the manifest lists.
Whatever differs is named, and nothing runs. The failed cell itself, and all that follow, may have been corrected.
"""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lepton_nb.errors import ReportError
from lepton_nb.reports.injection import injected
from lepton_nb.reports.parameters import Parameter, check
from lepton_nb.reports.place import MANIFEST_NAME
from lepton_nb.reports.values import jsonable

ONCE_TAG = "once"


@dataclass(frozen=True, slots=True, kw_only=True)
class Earlier:
    """A run that is resumed: `kept` are the executed cells that need not run, by their place in the notebook."""

    folder: Path
    manifest: Mapping[str, Any]
    kept: Mapping[int, Any]

    def placed(self, notebook: Any) -> dict[int, Any]:
        """`kept`, by place in `notebook`, into which parameters have been put."""
        places = [index for index, cell in enumerate(notebook.cells) if not injected(cell)]
        return {places[index]: cell for index, cell in self.kept.items()}

    def records(self, path: Path) -> None:
        """Write what was recorded to `path`, to be overwritten by what cells record anew."""
        if not self.kept:
            return
        lines = []
        for name, value in (self.manifest.get("metrics") or {}).items():
            lines.append({"name": name, **(value if isinstance(value, Mapping) else {"value": value})})
        for number, (name, table) in enumerate((self.manifest.get("tables") or {}).items()):
            facts = dict(table)
            if "file" in facts:
                file = self.folder / Path(facts.pop("file")).name
                part = path.with_name(f"{path.name}-earlier-{number}.parquet")
                shutil.copy(file, part)
                facts["part"] = part.name
            lines.append({"name": name, "table": facts})
        path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")


def earlier(
    folder: Path,
    source: Path,
    notebook: Any,
    declared: tuple[Parameter, ...] | None,
    given: Mapping[str, Any],
    *,
    text: bool = False,
) -> tuple[Earlier, dict[str, Any]]:
    """The run that `folder` holds, to be resumed with `notebook`, and its parameters.

    Raises ReportError where there is none that failed or was cancelled, and for all that has changed, in `changes`.
    """
    from lepton_nb.reports import manifest as manifests

    try:
        facts = json.loads((folder / MANIFEST_NAME).read_text(encoding="utf-8"))
        status, failed = facts["status"], facts["failure"]
        cells, parameters = facts["cells"], facts["parameters"]
        executed = _cells(folder / Path(facts["notebook"]["path"]).name)
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise ReportError(
            f"{folder} holds no report that can be resumed ({error}); give the folder of a failed one",
            folder=str(folder),
        ) from None
    if status == "finished":
        raise ReportError(f"the run in {folder} has finished: there is nothing to resume", folder=str(folder))
    done = [one for one in cells if one["status"] == "completed" and one["source_index"] is not None]
    stop = failed["cell"] if failed and failed["cell"] is not None else len(notebook.cells)
    # Of a cancelled run: the first that has not completed.
    stop = min([stop, *(one["source_index"] for one in cells if one["status"] != "completed" and not _put_in(one))])
    taken = {name: one["value"] for name, one in parameters.items() if one["given"] and not one.get("secret")}
    values = check(declared, {**taken, **(_parsed(declared, given) if text else given)})
    changes = [
        *_changed_cells(executed[:stop], notebook.cells[:stop]),
        *(
            f"parameter {name!r} was {one['value']!r}"
            for name, one in parameters.items()
            if name in given and not one.get("secret") and jsonable(values[name]) != one["value"]
        ),
        *(
            f"{name} was {version}"
            for name, version in facts["versions"].items()
            if name != "platform" and manifests.versions().get(name) != version
        ),
        *(_changed_input(one, manifests.root(source.parent)) for one in facts.get("inputs") or () if one.get("path")),
    ]
    changes = [change for change in changes if change]
    if changes:
        raise ReportError(
            f"cannot resume the run in {folder}: {'; '.join(changes)}; make a new report instead",
            folder=str(folder),
            changes=tuple(changes),
        )
    kept = {
        one["source_index"]: executed[one["source_index"]]
        for one in done
        if one["source_index"] < stop and ONCE_TAG in notebook.cells[one["source_index"]].metadata.get("tags", [])
    }
    return Earlier(folder=folder, manifest=facts, kept=kept), values


def _cells(path: Path) -> list[Any]:
    import nbformat

    return [cell for cell in nbformat.read(path, 4).cells if not injected(cell)]


def _parsed(declared: Sequence[Parameter] | None, given: Mapping[str, Any]) -> dict[str, Any]:
    """Text of a command line as values, beside which those of a manifest can stand; what is wrong stays, to be told."""
    forms = {parameter.name: parameter.form for parameter in declared or ()}
    values = dict(given)
    for name, value in given.items():
        form = forms.get(name)
        with contextlib.suppress(ValueError):
            values[name] = value if form is None else form.parse(value)
    return values


def _put_in(entry: Mapping[str, Any]) -> bool:
    return entry["source_index"] is None


def _changed_cells(old: Sequence[Any], new: Sequence[Any]) -> list[str]:
    pairs = enumerate(zip(old, new, strict=False), start=1)
    changed = [
        f"cell {number} has changed"
        for number, (one, other) in pairs
        if one.cell_type != other.cell_type or (one.cell_type == "code" and one.source != other.source)
    ]
    return changed if changed or len(old) <= len(new) else ["cells have gone"]


def _changed_input(entry: Mapping[str, Any], base: Path | None) -> str:
    from lepton_nb.reports.inputs import find, sha256

    path = find(str(entry["path"]), base)
    if not path.is_file():
        return f"the input {entry['path']} has gone"
    return "" if sha256(path) == entry.get("sha256") else f"the input {entry['path']} has changed"
