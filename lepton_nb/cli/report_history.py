"""`lepton-nb report list`, `show` and `prune`."""

from __future__ import annotations

import argparse
import json
import operator
import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from lepton_nb.cli.output import say, tell
from lepton_nb.errors import ReportError

_COMPARES = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge, "=": operator.eq}
WIDEST = 40


def add(reports: Any) -> None:
    """Add the three commands to those of `lepton-nb report`."""
    listing = reports.add_parser("list", help="list the reports that were made")
    listing.add_argument("--notebook", metavar="NAME", help="only of this notebook")
    listing.add_argument(
        "--status", choices=("running", "finished", "failed", "cancelled", "lost"), help="only those that ended so"
    )
    listing.add_argument("--since", metavar="WHEN", help="only those begun since 2026-03-01, or within 7d or 12h")
    listing.add_argument(
        "--metric", action="append", default=[], metavar="NAME[>VALUE]",
        help="only those that recorded it, with such a value; < <= > >= and = compare; may be given many times",
    )  # fmt: skip
    listing.add_argument("--limit", type=int, default=None, metavar="N", help="the newest N")
    listing.add_argument("--json", action="store_true", help="print JSON")
    _ledger(listing)
    listing.set_defaults(run=_list)

    showing = reports.add_parser("show", help="say what a report is of, how it was made, and what it found")
    showing.add_argument("report", metavar="ID|DIR", help="an id or its beginning, or the folder of the report")
    showing.add_argument("--json", action="store_true", help="print its manifest")
    _ledger(showing)
    showing.set_defaults(run=_show)

    pruning = reports.add_parser("prune", help="remove old reports")
    pruning.add_argument("--keep", type=int, metavar="N", help="keep the newest N of each notebook")
    pruning.add_argument("--older-than", metavar="TIME", help="remove only what is older, such as 30d")
    pruning.add_argument("--dry-run", action="store_true", help="only say what would go")
    _ledger(pruning)
    pruning.set_defaults(run=_prune)


def since(text: str, now: datetime) -> datetime:
    """A moment, written as a date, as a date and a time, or as a length of time before `now`."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return now - length(text, "--since")
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def length(text: str, option: str) -> timedelta:
    """A length of time such as 30d."""
    from lepton_nb.errors import WindowError
    from lepton_nb.windowing.durations import nanoseconds

    try:
        return timedelta(microseconds=nanoseconds(text, option) / 1000)
    except (WindowError, OverflowError):
        raise ReportError(f"{option} must be such as 30d, 12h or 2026-03-01, not {text!r}", value=text) from None


def fits(metrics: Any, wanted: str) -> bool:
    """Whether metrics have what `wanted` says: a name, or a name, a comparison and a value."""
    from lepton_nb.reports.history_page import scalar

    split = re.fullmatch(r"(.+?)\s*(<=|>=|<|>|=)\s*(.+)", wanted)
    name, sign, text = split.groups() if split else (wanted, "", "")
    if name not in metrics:
        return False
    value = scalar(metrics[name])
    if not sign:
        return True
    try:
        return bool(_COMPARES[sign](float(value), float(text)))
    except (TypeError, ValueError):
        return sign == "=" and str(value) == text


def _ledger(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--ledger", metavar="FILE", help="default: LEPTON_NB_LEDGER, or reports/out/ledger.sqlite below this folder"
    )


def _opened(arguments: argparse.Namespace) -> Any:
    from lepton_nb.reports.ledger import Ledger, usual
    from lepton_nb.reports.run import DEFAULT_FOLDER

    return Ledger(usual(DEFAULT_FOLDER, arguments.ledger))


def _list(arguments: argparse.Namespace) -> int:
    from lepton_nb.reports.history_page import shown_metric

    if arguments.limit is not None and arguments.limit < 1:
        raise ReportError("--limit must be 1 or more", limit=arguments.limit)
    ledger = _opened(arguments)
    moment = since(arguments.since, datetime.now(UTC)) if arguments.since else None
    runs = ledger.runs(notebook=arguments.notebook, status=arguments.status, since=moment)
    runs = [run for run in runs if all(fits(run.metrics, wanted) for wanted in arguments.metric)][: arguments.limit]
    if arguments.json:
        say(json.dumps([_told(run) for run in runs], indent=2, ensure_ascii=False))
        return 0
    if not runs:
        tell(f"lepton-nb: no such runs in {ledger.path}")
        return 0
    rows = [("RUN", "STARTED", "STATUS", "SECONDS", "NOTEBOOK", "PARAMETERS", "RECORDED")]
    rows += [
        (
            run.id[:8],
            run.started.strftime("%Y-%m-%d %H:%M"),
            run.status,
            "" if run.duration_s is None else f"{run.duration_s:.1f}",
            run.notebook,
            ", ".join(f"{name}={value}" for name, value in run.parameters.items()),
            ", ".join(f"{name} {shown_metric(value)}" for name, value in run.metrics.items()),
        )
        for run in runs
    ]
    for line in table(rows):
        say(line)
    return 0


def table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows as lines, their columns below each other; long cells are cut, and line breaks in them are not kept."""
    cut = [[_cut(" ".join(cell.split())) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cut, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cut]


def _cut(text: str) -> str:
    # What a terminal would take for commands of its own is of no use in a table.
    text = "".join(letter if letter.isprintable() else "?" for letter in text)
    return text if len(text) <= WIDEST else text[: WIDEST - 1] + "…"


def _told(run: Any) -> dict[str, Any]:
    return {
        "id": run.id,
        "notebook": run.notebook,
        "parameters": run.parameters,
        "folder": str(run.folder),
        "status": run.status,
        "started": run.started.isoformat(),
        "ended": run.ended and run.ended.isoformat(),
        "metrics": run.metrics,
        "parent": run.parent,
        "slot": run.slot,
        "definition": run.definition,
    }


def _show(arguments: argparse.Namespace) -> int:
    from lepton_nb.reports.prune import manifest_of

    folder = Path(arguments.report).expanduser()
    manifest = manifest_of(folder)
    if manifest is None and (folder.is_dir() or len(folder.parts) > 1):
        raise ReportError(f"{folder} holds no report; give the folder that has manifest.json", path=str(folder))
    if manifest is None:
        run = _opened(arguments).run(arguments.report)
        folder, manifest = run.folder, manifest_of(run.folder)
        if manifest is None or manifest.get("id") != run.id:
            if arguments.json:
                say(json.dumps(_told(run), indent=2, ensure_ascii=False))
            else:
                why = "a later report is in its folder" if manifest else "its report is not there any more"
                why = "it has no report yet" if run.status == "running" else why
                say(f"{run.notebook}, run {run.id}: {run.status}; {why}: {run.folder}")
            return 0
    if arguments.json:
        say(json.dumps(manifest, indent=2, ensure_ascii=False))
        return 0
    for line in words(manifest, folder):
        say(line)
    return 0


def words(manifest: Any, folder: Path) -> list[str]:
    """A manifest in words."""
    from lepton_nb.reports.history_page import shown_metric

    git = manifest.get("git")
    failure = manifest.get("failure")
    lines = [f"{manifest['notebook']['path']}: {manifest.get('status', 'unknown')}"]
    if manifest.get("id"):
        lines.append(f"run: {manifest['id']}")
    for name, label in (("parent", "part of"), ("slot", "meant for")):
        if manifest.get(name):
            lines.append(f"{label}: {manifest[name]}")
    lines.append(f"started: {manifest.get('started', '')[:19].replace('T', ' ')} UTC, {manifest.get('duration_s')} s")
    if failure:
        cell = "" if failure.get("cell") is None else f"cell {failure['cell'] + 1}: "
        lines.append(f"failure: {cell}{failure.get('ename')}: {failure.get('evalue')}")
    if git:
        lines.append(f"commit: {git['commit']}{', with changes' if git.get('dirty') else ''}")
    for title, entries in (
        ("parameters", {name: _parameter(one) for name, one in manifest.get("parameters", {}).items()}),
        ("recorded", {name: shown_metric(value) for name, value in manifest.get("metrics", {}).items()}),
        ("versions", {name: str(version) for name, version in manifest.get("versions", {}).items() if version}),
    ):
        if entries:
            lines += [f"{title}:", *(f"  {name}: {text}" for name, text in entries.items())]
    lines.append(f"folder: {folder}")
    return ["".join(letter if letter.isprintable() else " " for letter in line) for line in lines]


def _parameter(one: Any) -> str:
    return str(one["value"]) if one.get("given") else f"{one.get('default_source', one.get('value'))} (default)"


def _prune(arguments: argparse.Namespace) -> int:
    from lepton_nb.reports.prune import prune

    older = length(arguments.older_than, "--older-than") if arguments.older_than else None
    done = prune(
        _opened(arguments), now=datetime.now(UTC), keep=arguments.keep, older_than=older, dry_run=arguments.dry_run
    )
    went = "would go" if arguments.dry_run else "removed"
    for one in done:
        if one.kept:
            tell(f"kept {one.run.id[:8]} {one.run.folder}: {one.kept}")
        else:
            say(f"{went} {one.run.id[:8]} {one.run.folder}")
    say(f"{sum(not one.kept for one in done)} {went}")
    return 0
