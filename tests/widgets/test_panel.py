"""What all panels do: errors that stay in the panel, work beside the kernel, an end that leaves nothing."""

import threading

import plotly.graph_objects as go
import pytest

from lepton_nb.errors import ClusterError
from lepton_nb.widgets.display import MARK
from lepton_nb.widgets.panel import Panel


@pytest.fixture
def panel():
    made = Panel("Test <b>")
    yield made
    made.close()


def test_an_error_of_a_click_is_shown_with_its_fix_and_traceback_and_the_rest_works(panel):
    clicks = []

    def broken():
        raise ClusterError("cannot have 0 workers; give a whole number of 1 or more")

    bad = panel.button("Start", broken)
    good = panel.button("Stop", lambda: clicks.append("stop"))
    bad.click()
    bad.click()
    good.click()
    assert clicks == ["stop"]
    assert panel._faults.texts == ("Could not start: cannot have 0 workers; give a whole number of 1 or more",)
    words, tools = panel._faults.view.children[0].children
    assert 'role="alert"' in words.value
    assert "in broken" in tools.children[0].text
    tools.children[1].click()
    assert panel._faults.view.children == ()
    bad.click()
    assert len(panel._faults.view.children) == 1


def test_an_error_goes_when_the_same_is_tried_again(panel):
    fails = [True]
    retried = panel.button("Start", lambda: 1 / 0 if fails.pop() else None)
    panel.fail("stop", ValueError("other"))
    retried.click()
    assert len(panel._faults.texts) == 2
    fails.append(False)
    retried.click()
    assert panel._faults.texts == ("Could not stop: ValueError: other",)


def test_errors_of_others_say_their_kind_and_are_no_markup(panel):
    panel.fail("do <i>", ValueError("<script>"))
    (text,) = panel._faults.texts
    assert text == "Could not do <i>: ValueError: <script>"
    assert "<script>" not in panel._faults.view.children[0].children[0].value


def test_only_the_last_errors_stay(panel):
    for number in range(9):
        panel.fail("count", ValueError(str(number)))
    assert [text[-1] for text in panel._faults.texts] == ["6", "7", "8"]
    panel.clear_faults()
    assert panel._faults.texts == ()


def test_work_is_done_beside_the_caller_and_its_result_is_handed_on(panel):
    go_on, got, here = threading.Event(), threading.Event(), []

    def work():
        go_on.wait(30)
        return threading.current_thread()

    def then(thread):
        here.append(thread)
        got.set()

    panel.do("wait", work, then)
    assert panel.busy
    go_on.set()
    assert got.wait(30)
    assert here[0] is not threading.current_thread()


def test_work_that_fails_is_shown(panel):
    panel.do("divide", lambda: 1 / 0)
    panel._works[0].wait(30)
    assert panel._faults.texts == ("Could not divide: ZeroDivisionError: division by zero",)


def test_what_is_done_from_time_to_time_begins_with_the_view_and_ends_with_the_panel(panel):
    count, thrice = [], threading.Event()

    def refresh():
        count.append(1)
        if len(count) == 3:
            thrice.set()

    panel.every(0.01, refresh)
    assert not thrice.wait(0.1)
    panel.opened()
    panel.opened()
    assert thrice.wait(30)
    panel.close()
    done = len(count)
    panel.opened()
    assert len(count) == done


def test_a_refresh_that_fails_is_told_once_and_goes_on(panel):
    panel.every(0.01, lambda: 1 / 0)
    panel.refresh()
    panel.refresh()
    assert len(panel._faults.texts) == 1


def test_the_title_is_text(panel):
    assert "Test &lt;b&gt;" in panel.view.children[0].value


def test_words_of_the_status_line_are_text_and_read_out(panel):
    panel.say("2 < 3")
    assert "2 &lt; 3" in panel._status.value
    assert 'role="status"' in panel._status.value


class Waits(Panel):
    def wait(self):
        self.waited = True

    def figures(self):
        return [go.Figure(go.Scatter(y=[1])), go.Figure(go.Scatter(y=[2]))]


def test_in_a_report_a_panel_waits_and_leaves_figures_and_words(outputs, monkeypatch):
    monkeypatch.setenv("LEPTON_NB_MODE", "report")
    panel = Waits("Work")
    panel._ipython_display_()
    assert panel.waited
    assert ["application/vnd.plotly.v1+json" in one for one in outputs] == [False, True, True]
    assert not any("application/vnd.jupyter.widget-view+json" in one for one in outputs)
    assert outputs[0] == {"text/html": "<p>Work</p>", "text/plain": "Work"}
    panel.close()


def test_in_lab_a_panel_is_live_and_leaves_a_figure_for_later(outputs, monkeypatch):
    monkeypatch.setenv("JPY_SESSION_NAME", "a.ipynb")
    panel = Waits("Work")
    panel._ipython_display_()
    assert not hasattr(panel, "waited")
    assert set(outputs[0]) == {
        "application/vnd.jupyter.widget-view+json", "application/vnd.plotly.v1+json", "text/plain", MARK,
    }  # fmt: skip
    panel.close()
