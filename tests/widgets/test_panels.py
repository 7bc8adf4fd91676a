"""Clusters, runs and streams that a cell displays, and what a front end sends while one runs."""

from threading import Lock
from types import SimpleNamespace

import pytest
from IPython.core.formatters import DisplayFormatter
from notebook_files import write_notebook

import lepton_nb as lnb
from lepton_nb.errors import LeptonError, ReportError
from lepton_nb.widgets.panels import panel_of, register
from lepton_nb.widgets.subshells import keep_subshells

VIEW = "application/vnd.jupyter.widget-view+json"


@pytest.fixture
def shell():
    made = SimpleNamespace(display_formatter=DisplayFormatter())
    register(made)
    return made


def shown(shell, thing):
    """What `thing` becomes when it is the last line of a cell; {} where it displays itself."""
    return shell.display_formatter.format(thing)[0]


def test_a_cluster_in_a_notebook_is_shown_by_its_panel(shell, outputs, cluster, monkeypatch):
    monkeypatch.setenv("JPY_SESSION_NAME", "a.ipynb")
    panels = []
    monkeypatch.setattr("lepton_nb.widgets.panels.panel_of", lambda thing: panels.append(panel_of(thing)) or panels[0])
    assert shown(shell, cluster) == {}
    assert VIEW in outputs[0]
    assert panels[0].cluster is cluster
    panels[0].close()


@pytest.mark.parametrize("mode", ["report", "script"])
def test_elsewhere_a_cluster_is_told_in_words(mode, shell, outputs, cluster, monkeypatch):
    monkeypatch.setenv("LEPTON_NB_MODE", mode)
    assert shown(shell, cluster) == {}
    assert outputs == [{"text/plain": repr(cluster)}]


def test_a_stream_in_a_report_is_waited_for_and_leaves_figures(shell, outputs, monkeypatch):
    monkeypatch.setenv("LEPTON_NB_MODE", "report")
    flights = lnb.datasets.flights().head(2_000)
    query = lnb.windows(time="scheduled_departure", key="origin").tumbling("1h").agg(flights=lnb.count())
    stream = query.stream(lnb.sources.replay(flights, time="scheduled_departure", speed=float("inf")))
    assert shown(shell, stream) == {}
    assert stream.status.over
    assert any("application/vnd.plotly.v1+json" in one for one in outputs)
    assert not any(VIEW in one for one in outputs)


def test_a_report_fails_with_the_stream_that_its_cell_displays(tmp_path):
    notebook = write_notebook(
        tmp_path / "a.ipynb",
        "import lepton_nb as lnb, polars as pl\n"
        "def rows():\n"
        "    yield pl.DataFrame({'at': [1]}).cast(pl.Datetime('ms'))\n"
        "    raise ValueError('the well is dry')\n"
        "query = lnb.windows(time='at').tumbling('1h').agg(rows=lnb.count())\n"
        "query.stream(lnb.sources.iterate(rows()))",
        "print('never')",
    )
    with pytest.raises(ReportError, match="the well is dry"):
        lnb.report(notebook, output=tmp_path / "report")
    assert "never" not in (tmp_path / "report" / "report.html").read_text()


def test_what_has_no_panel_is_told():
    with pytest.raises(LeptonError, match="a list cannot be shown on a page; give a panel"):
        panel_of([])


def test_a_message_for_a_subshell_stays_there_and_others_go_as_before():
    from ipykernel.comm.comm import BaseComm

    keep_subshells()
    keep_subshells()
    comm = object.__new__(BaseComm)
    comm._reply_subshell_lock, comm._reply_subshell_ids = Lock(), {}
    comm._reply_subshell_id = "the one that spoke last"
    assert comm._reply_subshell_for({}, "subshell") == "subshell"
    assert comm._reply_subshell_for({}, None) == "the one that spoke last"
