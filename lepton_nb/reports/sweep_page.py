"""sweep.html: the runs of a sweep side by side, their parameters and what they recorded."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from lepton_nb.reports import plots
from lepton_nb.reports.history_page import environment, scalar
from lepton_nb.reports.place import HTML_NAME

if TYPE_CHECKING:
    from lepton_nb.reports.sweep import SweptRun

PAGE_NAME = "sweep.html"
MOST_CHARTS = 24


def render(runs: Sequence[SweptRun], notebook: str, folder: Path) -> str:
    """The page as HTML, with links relative to `folder`."""
    names = list(dict.fromkeys(name for run in runs for name in run.parameters))
    metrics = list(dict.fromkeys(name for run in runs for name in run.metrics))
    rows = [
        {
            "run": run,
            "link": quote(f"{run.folder.relative_to(folder).as_posix()}/{HTML_NAME}")
            if (run.folder / HTML_NAME).exists()
            else "",
            "cells": [_cell(run.parameters.get(name)) for name in names]
            + [_cell(scalar(run.metrics.get(name))) for name in metrics],
        }
        for run in runs
    ]
    drawn = environment().get_template("sweep.html.j2").render(
        notebook=notebook,
        names=names,
        metrics=metrics,
        rows=rows,
        finished=sum(run.status == "finished" for run in runs),
        failed=sum(run.status == "failed" for run in runs),
        charts=charts(runs, names, metrics),
        plots=plots,
    )  # fmt: skip
    return str(drawn)


def charts(runs: Sequence[SweptRun], names: Sequence[str], metrics: Sequence[str]) -> list[dict[str, Any]]:
    """A chart for each metric that is a number and each parameter that has more than one value."""
    finished = [run for run in runs if run.status == "finished"]
    found = []
    for metric in metrics:
        for name in names:
            pairs = [
                (run.parameters.get(name), value)
                for run in finished
                if (value := plots.number(scalar(run.metrics.get(metric)))) is not None
            ]
            if len({str(given) for given, _ in pairs}) > 1:
                given, values = zip(*pairs, strict=True)
                found.append({"metric": metric, "name": name, "plot": plots.by_parameter(given, values)})
    return found[:MOST_CHARTS]


def _cell(value: Any) -> dict[str, Any]:
    """What a cell shows, and the number that it is sorted by, if it is one."""
    return {"value": "" if value is None else value, "order": plots.number(value)}
