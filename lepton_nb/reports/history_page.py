"""index.html beside the ledger: all runs, filters, and how the recorded metrics went."""

from __future__ import annotations

import time
import uuid
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from lepton_nb.files import write_whole
from lepton_nb.reports import plots
from lepton_nb.reports.ledger import Ledger, Run
from lepton_nb.reports.place import HTML_NAME

INDEX_NAME = "index.html"
# Rows that the page has; older runs are in the ledger, and the page says so.
MOST_ROWS = 5_000
# Runs that a chart shows, and charts that the page has.
MOST_POINTS, MOST_CHARTS = 100, 48
LAZY_S = 2.0
SWEEP_PAGE = "sweep.html"


def write(ledger: Ledger, *, lazily: bool = False) -> Path:
    """Write the page of `ledger`, whole or not at all; `lazily` not if that was done within the last 2 seconds."""
    page = ledger.folder / INDEX_NAME
    if lazily and page.exists() and 0 <= time.time() - page.stat().st_mtime < LAZY_S:
        return page
    if page.exists() and not _ours(page):
        return page
    runs = ledger.runs()
    drawn = render(runs, ledger.folder)
    write_whole(
        page, [drawn.encode()], durable=False, unfinished=page.with_name(f".{INDEX_NAME}-{uuid.uuid4().hex}.part")
    )
    return page


def render(runs: Sequence[Run], folder: Path) -> str:
    """The page as HTML; `runs` are newest first, and links are relative to `folder`."""
    shown = runs[:MOST_ROWS]
    newest: set[Path] = set()
    rows = []
    for run in shown:
        # A later run into the same folder has replaced the report of an earlier one.
        link = "" if run.folder in newest else _link(run, folder)
        newest.add(run.folder)
        rows.append({"run": run, "link": link, "metrics": [(n, shown_metric(v)) for n, v in run.metrics.items()]})
    drawn = environment().get_template("index.html.j2").render(
        rows=rows,
        total=len(runs),
        notebooks=sorted({run.notebook for run in shown}),
        statuses=sorted({run.status for run in shown}),
        charts=charts(shown),
        plots=plots,
    )  # fmt: skip
    return str(drawn)


def charts(runs: Sequence[Run]) -> list[dict[str, Any]]:
    """A chart for each notebook and metric that two runs or more have as a number, the oldest run at the left."""
    series: dict[tuple[str, str], list[float]] = defaultdict(list)
    for run in runs:
        for name, value in run.metrics.items():
            found = plots.number(scalar(value))
            if run.status == "finished" and found is not None and len(series[run.notebook, name]) < MOST_POINTS:
                series[run.notebook, name].append(found)
    return [
        {
            "notebook": notebook,
            "metric": name,
            "last": values[0],
            "runs": len(values),
            "plot": plots.trend(values[::-1]),
        }
        for (notebook, name), values in sorted(series.items())
        if len(values) > 1
    ][:MOST_CHARTS]


def scalar(value: Any) -> Any:
    """A metric's value, of one that the manifest keeps with its type too."""
    return value.get("value") if isinstance(value, dict) else value


def shown_metric(value: Any) -> str:
    """A metric as a table shows it."""
    found = scalar(value)
    if isinstance(found, float):
        return f"{found:.6g}"
    return str(found)


def environment() -> Any:
    """Jinja with our templates; whatever goes into them is escaped."""
    import jinja2

    made = jinja2.Environment(
        loader=jinja2.PackageLoader("lepton_nb.reports", "templates"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    made.filters["shown"] = shown_metric
    return made


def _link(run: Run, folder: Path) -> str:
    """Where the report is, from `folder`; "" for one that is gone."""
    page = run.folder / HTML_NAME
    if run.status in ("running", "lost") or not page.exists():
        return ""
    return quote(page.relative_to(folder).as_posix()) if page.is_relative_to(folder) else page.as_uri()


def _ours(page: Path) -> bool:
    with page.open(encoding="utf-8", errors="replace") as file:
        return 'name="generator" content="lepton_nb' in file.read(2_000)
