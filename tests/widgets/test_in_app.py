"""The dashboard as an app: what a visitor sees, can do with the mouse and without it, and leaves behind."""

import re
from pathlib import Path

import psutil
import pytest
from axe_playwright_python.sync_playwright import Axe
from browsing import visiting
from labs import keep, panel, press
from serving import address, command, patient

NOTEBOOK = Path(__file__).resolve().parent.parent.parent / "notebooks" / "04_dashboard.ipynb"
PATIENT_MS = 120_000
# A page that has gone leaves nothing after this long.
GONE_S = 10
SERIOUS = {"serious", "critical"}


def tab(page, name):
    page.get_by_role("tab", name=name).click()


def faults(page):
    """What axe-core finds that keeps somebody out, as rule and element."""
    found = Axe().run(page).response["violations"]
    return [(rule["id"], node["html"][:300]) for rule in found if rule["impact"] in SERIOUS for node in rule["nodes"]]


@pytest.mark.slow
@pytest.mark.browser
def test_the_dashboard_plays_learns_scales_answers_the_keyboard_and_leaves_nothing(tmp_path):
    query = "?days=3&speed=1500&epochs=1&workers=2"
    with command("app", str(NOTEBOOK), "--no-browser", cwd=tmp_path) as process, visiting() as visit:
        url = patient(address(process, r"http://127\.0\.0\.1:\d+/"))
        page = visit.page
        page.set_viewport_size({"width": 1280, "height": 1000})
        page.goto(url + query, wait_until="commit")
        windows = panel(page, "Windows over a stream")
        windows.wait_for(timeout=PATIENT_MS)
        chart = windows.locator(".lepton-chart:visible").first
        words = chart.locator(".lepton-chart-words")
        words.filter(has_text="points").wait_for(state="attached", timeout=PATIENT_MS)
        keep(page, "app-1-delays")
        press(windows, "Stop")
        windows.get_by_text("Stopped").first.wait_for(timeout=PATIENT_MS)

        # What is seen can be had in words, and the keyboard moves it.
        chart.focus()
        assert "points" in words.text_content()
        shown = "document.querySelector('.lepton-chart .js-plotly-plot')._fullLayout.xaxis"
        before = page.evaluate(f"{shown}.range")
        page.keyboard.press("+")
        page.wait_for_function(f"before => JSON.stringify({shown}.range) !== JSON.stringify(before)", arg=before)
        page.keyboard.press("Home")
        page.wait_for_function(f"{shown}.autorange")
        assert faults(page) == []
        press(windows, "Start")
        windows.get_by_text("Running").first.wait_for(timeout=PATIENT_MS)
        keep(page, "app-2-another-stream")

        tab(page, "Foresight")
        training = panel(page, "Training")
        training.get_by_text("is finished").first.wait_for(timeout=PATIENT_MS)
        keep(page, "app-3-foresight")
        assert faults(page) == []

        tab(page, "Machines")
        machines = panel(page, "Cluster")
        machines.get_by_text("2 workers are up").wait_for(timeout=PATIENT_MS)
        machines.locator("input:visible").first.fill("1")
        machines.locator("input:visible").first.press("Enter")
        press(machines, "Scale")
        machines.get_by_text("1 worker is up").wait_for(timeout=PATIENT_MS)
        keep(page, "app-4-machines")
        assert faults(page) == []
        press(machines, "Stop")
        machines.get_by_text("The cluster was stopped").wait_for(timeout=PATIENT_MS)
        press(machines, "Start")
        machines.get_by_text("2 workers are up").wait_for(timeout=PATIENT_MS)

        tab(page, "Foresight")
        press(training, "Set up")
        keep(page, "app-5-set-up")
        press(training, "Start")
        training.get_by_text("training-2 is training").wait_for(timeout=PATIENT_MS)
        losses = training.locator(".lepton-chart:visible").first
        losses.wait_for(timeout=PATIENT_MS)
        losses.evaluate("(it) => it.id = 'losses'")
        page.wait_for_function("document.getElementById('losses').dataset.frame > 1", timeout=PATIENT_MS)
        keep(page, "app-6-training")
        press(training, "Stop")
        training.get_by_text("training-2 is").filter(has_text=re.compile("stopped|finished")).wait_for(
            timeout=PATIENT_MS
        )
        assert visit.outside(url, url.replace("http:", "ws:")) == []
        assert visit.failed == []
        assert visit.errors == []
        # One connection to the kernel, which outlives the server's own looks at it (each half minute).
        assert len([address for address in visit.sockets if "/channels" in address]) == 1
        left = psutil.Process(process.pid).children(recursive=True)
        assert len(left) >= 3
        page.close(run_before_unload=True)
        _, alive = psutil.wait_procs(left, timeout=GONE_S)
        assert alive == []
