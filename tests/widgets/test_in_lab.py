"""The panels in JupyterLab, with the mouse, from the first click to the end."""

import psutil
import pytest
from labs import keep, lab, panel, press, run_all
from notebook_files import write_notebook

# On a machine that does much else.
PATIENT_MS = 90_000

CELLS = (
    "import time\n"
    "import numpy as np, polars as pl\n"
    "import lepton_nb as lnb\n"
    "random = np.random.default_rng(0)\n"
    "table = pl.DataFrame({'x': random.normal(size=60_000), 'z': random.normal(size=60_000)})\n"
    "table = table.with_columns(y=pl.col('x') > 0)\n"
    "cluster = lnb.ClusterPanel()\n"
    "cluster",
    "training = lnb.TrainingPanel(data={'table': table}, cluster=lambda: cluster.cluster)\n"
    "training.set(target='y', epochs=2000, workers=2, batch_size=1000)\n"
    "training",
    "busy = time.monotonic()\nwhile training.run is None or not training.run.status.over:\n"
    "    time.sleep(0.05)\n"
    "    assert time.monotonic() - busy < 240\n"
    "print('the cell is over:', training.run.status.value)",
)


@pytest.mark.slow
@pytest.mark.browser
def test_a_cluster_is_started_and_a_model_trained_and_stopped_by_clicks_while_a_cell_runs(tmp_path, monkeypatch):
    monkeypatch.setenv("JUPYTERLAB_WORKSPACES_DIR", str(tmp_path / "workspaces"))
    monkeypatch.setenv("JUPYTERLAB_SETTINGS_DIR", str(tmp_path / "settings"))
    write_notebook(tmp_path / "panels.ipynb", *CELLS, kernel="python3")
    with lab(tmp_path, "panels.ipynb") as (visit, server):
        page = visit.page
        run_all(page, server)
        machines, training = panel(page, "Cluster"), panel(page, "Training")
        training.wait_for(timeout=PATIENT_MS)
        page.locator(".jp-InputPrompt:text-is('[*]:')").wait_for()
        # From here on the last cell runs, and all that is clicked is heard beside it.
        press(machines, "Start")
        machines.get_by_text("2 workers are up").wait_for(timeout=PATIENT_MS)
        keep(page, "lab-1-cluster")
        press(training, "Start")
        chart = training.locator(".lepton-chart:visible").first
        chart.wait_for(timeout=PATIENT_MS)
        grown = "([name, least]) => Number(document.querySelectorAll(name)[0]?.dataset.frame) > least"
        chart.evaluate("(it) => it.id = 'losses'")
        page.wait_for_function(grown, arg=["#losses", 1], timeout=PATIENT_MS)
        drawn = int(chart.get_attribute("data-frame"))
        page.wait_for_function(grown, arg=["#losses", drawn + 2], timeout=PATIENT_MS)
        keep(page, "lab-2-training")
        assert page.locator(".jp-InputPrompt:text-is('[*]:')").count() == 1
        press(training, "Stop")
        page.get_by_text("the cell is over: stopped").wait_for(timeout=PATIENT_MS)
        keep(page, "lab-3-stopped")
        workers = machines.locator("input:visible").first
        workers.fill("1")
        workers.press("Enter")
        press(machines, "Scale")
        machines.get_by_text("1 worker is up").wait_for(timeout=PATIENT_MS)
        press(machines, "Stop")
        machines.get_by_text("The cluster was stopped").wait_for(timeout=PATIENT_MS)
        keep(page, "lab-4-closed")
        # The launcher has an entry that opens a notebook with all panels.
        page.keyboard.press("Control+Shift+L")
        page.locator(".jp-LauncherCard:has-text('lepton_nb panels')").first.click()
        panel(page, "lepton_nb").get_by_role("tab", name="Streams").wait_for(timeout=PATIENT_MS)
        keep(page, "lab-5-launched")
        assert visit.failed == []
        assert visit.errors == []
        page.locator("li[role=tab]:has-text('panels.ipynb')").click()
        # Opened again without the kernel that drew them, the last curves are there.
        page.keyboard.press("Control+s")
        page.locator("li.jp-mod-current[data-id] .jp-mod-dirty").wait_for(state="detached")
        for kernel in page.request.get(f"{server}/api/kernels").json():
            page.request.delete(f"{server}/api/kernels/{kernel['id']}", headers=cookie(page))
        page.reload()
        # The cluster's memory, and the losses.
        page.locator(".jp-OutputArea .js-plotly-plot:has(.trace)").nth(1).wait_for(timeout=PATIENT_MS)
        assert page.get_by_text("Error displaying widget").count() == 0
        keep(page, "lab-6-opened-again")
        assert visit.outside(server, server.replace("http:", "ws:")) == []
        running = psutil.Process().children(recursive=True)
    _, alive = psutil.wait_procs([one for one in running if "dask" in " ".join(_words(one))], timeout=30)
    assert alive == []


def cookie(page):
    """The header by which a page's own requests are known."""
    tokens = [one["value"] for one in page.context.cookies() if one["name"] == "_xsrf"]
    return {"X-XSRFToken": tokens[0]}


def _words(process):
    try:
        return process.cmdline()
    except psutil.NoSuchProcess:
        return []
