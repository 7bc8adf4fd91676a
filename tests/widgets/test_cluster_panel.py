"""The cluster's panel, driven through its own buttons with real clusters."""

import os
import signal
import time
from contextlib import contextmanager

import ipywidgets
import pytest

import lepton_nb as lnb
from lepton_nb.widgets.cluster_panel import ClusterPanel


def eventually(condition, timeout_s=60.0):
    deadline = time.monotonic() + timeout_s
    while not (held := condition()) and time.monotonic() < deadline:
        time.sleep(0.02)
    return held


@contextmanager
def opened(cluster=None):
    """A panel as it is when it is displayed."""
    panel = ClusterPanel(cluster)
    try:
        panel.opened()
        yield panel
    finally:
        panel.close()


def shown(panel, kind=ipywidgets.Widget):
    """The widgets of a kind that can be seen in a panel."""
    found, pending = [], [panel.view]
    while pending:
        one = pending.pop(0)
        if one.layout.display != "none":
            found += [one] if isinstance(one, kind) else []
            pending = [*getattr(one, "children", ()), *pending]
    return found


def button(panel, label):
    (found,) = [one for one in shown(panel, ipywidgets.Button) if one.description == label]
    return found


def says(panel, words):
    return any(words in one.value for one in shown(panel, ipywidgets.HTML))


def has_button(panel, label):
    return any(one.description == label for one in shown(panel, ipywidgets.Button))


def field(panel, label):
    (found,) = [one for one in shown(panel) if getattr(one, "description", "") == label and hasattr(one, "value")]
    return found


def test_a_cluster_is_started_used_scaled_adapted_and_stopped_with_clicks():
    with opened() as panel:
        assert panel.cluster is None
        assert panel.summary() == "No cluster is running."
        assert panel.figures() == []
        assert says(panel, "No cluster is running.")
        field(panel, "Workers").value = "1"
        field(panel, "Memory each").value = "200MB"
        field(panel, "GPUs").value = 0
        button(panel, "Start").click()
        assert button(panel, "Start").disabled
        assert eventually(lambda: has_button(panel, "Stop"))
        cluster = panel.cluster
        assert (cluster.backend, len(cluster.workers)) == ("cpu", 1)
        assert says(panel, "1 worker is up.")
        assert says(panel, "CPU backend: gpus=0 was asked for")
        assert says(panel, f'href="{cluster.dashboard}"')
        assert cluster.client.submit(sum, [1, 2]).result() == 3

        field(panel, "Workers").value = "2"
        button(panel, "Scale").click()
        assert eventually(lambda: says(panel, "2 workers are up.") and not panel.busy)
        assert says(panel, '<th scope="row">1</th>')
        field(panel, "Adapt from").value = "1"
        field(panel, "Adapt to").value = "3"
        button(panel, "Adapt").click()
        assert eventually(lambda: says(panel, "follows the load, from 1 to 3") and not panel.busy)
        assert cluster.adapting == (1, 3)

        field(panel, "Worker").value = "0"
        button(panel, "Show log").click()
        assert eventually(lambda: says(panel, "Registered to"))
        button(panel, "Hide log").click()
        assert not says(panel, "Registered to")

        assert eventually(lambda: len(panel.figures()) > 1)
        titles = [figure.layout.title.text for figure in panel.figures()]
        assert titles == ["Memory of the workers", "CPU", "Memory", "Tasks", "Network"]
        assert "Worker 0: 1 thread" in panel.summary()

        button(panel, "Stop").click()
        assert eventually(lambda: has_button(panel, "Start"))
        assert says(panel, "The cluster was stopped.")
        assert cluster.closed
        assert panel.cluster is None
        assert panel.summary().startswith("The cluster was stopped. When it was last seen: ")
        assert not button(panel, "Start").disabled
        assert panel._faults.texts == ()


def test_what_cannot_be_is_told_at_its_field_and_nothing_starts():
    with opened() as panel:
        field(panel, "Threads each").value = "many"
        button(panel, "Start").click()
        assert says(panel, "must be a whole number, not &#x27;many&#x27;")
        field(panel, "Threads each").value = "1"
        field(panel, "Memory each").value = "lots"
        button(panel, "Start").click()
        assert eventually(lambda: not panel.busy)
        assert panel._faults.texts == (
            "Could not start the cluster: Memory each 'lots' is not an amount; give one such as '2GB'",
        )
        assert len([one for one in shown(panel, ipywidgets.HTML) if "is not an amount" in one.value]) == 2
        assert says(panel, "The cluster did not start.")
        field(panel, "Memory each").value = "200GB"
        field(panel, "Workers").value = "900"
        button(panel, "Start").click()
        assert eventually(lambda: says(panel, "and this machine has"))
        assert eventually(lambda: not panel.busy)
        assert not button(panel, "Start").disabled


def test_a_cluster_of_code_is_shown_and_goes_on_when_the_panel_closes(cluster):
    with opened(cluster) as panel:
        assert panel.cluster is cluster
        assert has_button(panel, "Stop")
        assert says(panel, "2 workers are up.")
        for wrong, scaled in (
            ("-3", "Workers must be 1 or more, not -3"),
            ("9" * 30, f"Workers must be 1024 or less, not {'9' * 30}"),
            ("", "Workers is empty; give a value"),
            ("0", "Workers must be 1 or more, not 0"),
        ):
            field(panel, "Workers").value = wrong
            button(panel, "Scale").click()
            assert panel._faults.texts == (f"Could not scale: {scaled}",)
        field(panel, "Adapt from").value = "2"
        field(panel, "Adapt to").value = "1"
        button(panel, "Adapt").click()
        told = "must be 2 or more, as Adapt from is, not 1"
        assert panel._faults.texts == (f"Could not scale: {scaled}", f"Could not adapt: Adapt to {told}")
        assert says(panel, f'class="lepton-fault">{told}<')
        field(panel, "Adapt to").value = ""
        button(panel, "Adapt").click()
        assert panel._faults.texts[-1] == "Could not adapt: Adapt to is empty; give a value"
        # A number that a field takes, and the machine does not.
        field(panel, "Workers").value = "1000"
        button(panel, "Scale").click()
        assert eventually(lambda: says(panel, "1000 workers of 2.0 GB need 2000.0 GB, and this machine has"))
        assert eventually(lambda: not panel.busy)
        assert not button(panel, "Scale").disabled
        assert cluster.adapting is None
    assert not cluster.closed
    assert len(cluster.workers) == 2


def test_a_worker_that_dies_is_shown_and_so_is_a_cluster_that_code_has_closed():
    with lnb.Cluster(workers=1, memory="200MB", gpus=0) as cluster, opened(cluster) as panel:
        (pid,) = cluster.client.run(os.getpid).values()
        os.kill(pid, signal.SIGKILL)
        assert eventually(lambda: says(panel, "Worker 0 was lost: its process was killed by signal 9 (SIGKILL)"))
        assert eventually(lambda: says(panel, "1 worker is up. Worker 0 was lost"))
        assert says(panel, "Worker 0 was lost at")
        button(panel, "Show log").click()
        assert eventually(lambda: says(panel, "worker 0 was lost: its process was killed"))
        cluster.close()
        assert eventually(lambda: says(panel, "The cluster was closed from outside this panel."))
        assert has_button(panel, "Start")
        assert panel.cluster is None
        assert panel._faults.texts == ()
    with pytest.raises(lnb.ClusterError, match="is closed"):
        ClusterPanel(cluster)


@pytest.mark.parametrize("started", [False, True])
def test_a_panel_takes_the_cluster_that_it_started_with_it(started):
    panel = ClusterPanel()
    field(panel, "Memory each").value = "200MB"
    field(panel, "GPUs").value = 0
    button(panel, "Start").click()
    # Closed in the middle of the start, or after it: the test's own check looks for what is left.
    if started:
        assert eventually(lambda: panel.cluster is not None)
    cluster = panel.cluster
    panel.close()
    panel.close()
    assert panel.cluster is None
    assert cluster is None or cluster.closed


def test_in_a_report_it_leaves_figures_and_words(cluster, monkeypatch):
    monkeypatch.setenv("LEPTON_NB_MODE", "report")
    panel = ClusterPanel(cluster)
    panel.wait()
    # One look tells nothing over time.
    assert [figure.layout.title.text for figure in panel.figures()] == ["Memory of the workers"]
    assert panel.summary().startswith("2 workers are up.")
    with panel.watching():
        assert eventually(lambda: len(panel.figures()) == 5)
    seen = len(panel._history)
    time.sleep(2.5)
    assert len(panel._history) <= seen + 1
    panel.close()
