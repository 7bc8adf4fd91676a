"""A live chart on the page of an app, in a real browser."""

import re
import subprocess
import sys

import pytest
from browsing import visiting
from notebook_files import write_notebook

END_S = 60
CELL = """
import ipywidgets
import numpy as np
import plotly.graph_objects as go
from lepton_nb.widgets.chart import LiveChart

lines = [LiveChart(go.Figure(go.Scatter(y=np.sin(np.arange(rows) / 50)))) for rows in (100_000, 10)]
empty = LiveChart(go.Figure(go.Scatter(x=[], y=[], mode="markers")))
lines[0].observe(lambda _: empty.append(0, [1], [2]), "x_range")
told = ipywidgets.Label()
told.add_class("told")
ipywidgets.dlink((lines[0], "x_range"), (told, "value"), str)
ipywidgets.VBox([*lines, empty, told])
"""


@pytest.mark.slow
@pytest.mark.browser
def test_charts_come_with_one_script_are_drawn_once_and_every_zoom_is_told(tmp_path):
    notebook = write_notebook(tmp_path / "app.ipynb", CELL)
    with subprocess.Popen(
        [sys.executable, "-m", "lepton_nb.cli", "app", str(notebook), "--no-browser"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        try:
            url = next(
                found[0] for line in process.stdout if (found := re.search(r"http://127\.0\.0\.1:\d+/\S*", line))
            )
            with visiting() as visit:
                page = visit.page
                page.goto(url)
                charts = page.locator(".lepton-chart[data-ready]")
                charts.nth(1).locator(".trace path.js-line").wait_for(timeout=60_000)
                charts.nth(0).locator(".trace path.js-line").wait_for(timeout=60_000)
                assert not any("jupyterlab-plotly/static" in one and "remoteEntry" not in one for one in visit.requests)
                assert charts.nth(1).get_attribute("data-frame") == "0"
                assert page.locator(".modebar-btn[aria-label*='Share'], .modebar-btn[data-title*='Share']").count() == 0
                # Without a point there is no axis with numbers, but a line that says so.
                empty = charts.nth(2)
                empty.get_by_text("No data yet", exact=True).wait_for()
                assert empty.locator(".xtick, .ytick").count() == 0
                seen = set()
                for key in ("+", "+", "ArrowRight", "Home"):
                    before = page.inner_text(".told")
                    charts.nth(0).press(key)
                    page.wait_for_function(
                        "(before) => document.querySelector('.told').textContent !== before", arg=before
                    )
                    seen.add(page.inner_text(".told"))
                empty.locator(".trace .point").first.wait_for()
                assert empty.locator(".xtick").count() > 0
                assert empty.locator("svg").get_by_text("No data yet").count() == 0
                assert len(seen) == 4
                assert seen >= {"None"}
            assert visit.errors == []
        finally:
            process.terminate()
            try:
                process.communicate(timeout=END_S)
            except subprocess.TimeoutExpired:
                process.kill()
