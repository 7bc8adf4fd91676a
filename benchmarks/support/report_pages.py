"""The page of a report: its size, and how soon its figures are drawn, beside a page with all of plotly.js as it is."""

from __future__ import annotations

import json
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import plotly.graph_objects as go
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from playwright.sync_api import Page
from support.chromium import chromium, fresh_page
from support.contest import Contender, Targets, show, take_turns

from lepton_nb.reports.outputs import PLOTLY
from lepton_nb.reports.page import render

POINTS = 2_000
LARGEST_BYTES = 1_500_000
# Unpacking must cost about as little as reading less saves.
SLOWEST = 1.1
MANIFEST = {
    "notebook": {"path": "page.ipynb"},
    "status": "finished",
    "started": "2026-01-01T00:00:00+00:00",
    "duration_s": 1.0,
    "versions": {"lepton_nb": "0"},
    "git": None,
    "parameters": {},
}
DRAWN = "n => document.querySelectorAll('.js-plotly-plot .trace path').length >= n"


def page(targets: Targets, *, rounds: int) -> None:
    """A report of two figures: bytes beside its data, and the time from opening it to both being drawn."""
    figures = _figures()
    data = sum(len(figure.to_json()) for figure in figures)
    with tempfile.TemporaryDirectory(prefix="lepton-nb-pages-") as folder:
        ours, peer = Path(folder) / "ours.html", Path(folder) / "peer.html"
        ours.write_text(render(_notebook(figures), MANIFEST, folder=Path(folder)), encoding="utf-8")
        parts = [figure.to_html(full_html=False, include_plotlyjs=not number) for number, figure in enumerate(figures)]
        peer.write_text(f"<!DOCTYPE html><body>{''.join(parts)}</body>", encoding="utf-8")
        sizes = {path.stem: path.stat().st_size for path in (ours, peer)}
        print(
            f"a report of two figures: {sizes['ours']:,} bytes, of which {data:,} are data; with all of plotly.js as "
            f"it is {sizes['peer']:,}: {sizes['peer'] / sizes['ours']:.2f} times as many"
        )
        targets.at_most(
            "a report of two figures, MB beside its data", (sizes["ours"] - data) / 1e6, LARGEST_BYTES / 1e6
        )
        with chromium() as browser, fresh_page(browser) as tab:
            # Both are read from the disk once before.
            contenders = {name: Contender(partial(_open, tab, path)) for name, path in (("ours", ours), ("peer", peer))}
            for contender in contenders.values():
                contender.run()
            times = take_turns(contenders, rounds)
        show(times, 2 * POINTS)
        targets.at_most(
            "until both figures are drawn, times all of plotly.js as it is", times.ratio("ours", "peer"), SLOWEST
        )


def _open(tab: Page, path: Path) -> None:
    tab.goto(path.as_uri(), wait_until="commit")
    tab.wait_for_function(DRAWN, arg=2, polling="raf")


def _figures() -> list[go.Figure]:
    random = np.random.default_rng(1)
    steps = random.normal(size=POINTS).cumsum()
    return [
        go.Figure(go.Scatter(y=steps.tolist()), layout={"title": "A walk"}),
        go.Figure(go.Bar(y=steps[:100].tolist()), layout={"title": "Its beginning"}),
    ]


def _notebook(figures: list[go.Figure]) -> Any:
    cells = [new_markdown_cell("# A walk")]
    for figure in figures:
        spec = json.loads(figure.to_json())
        cells.append(new_code_cell("figure", outputs=[new_output("display_data", {PLOTLY: spec})]))
    return new_notebook(cells=cells)
