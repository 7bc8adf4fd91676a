import json
import os
import sqlite3
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pytest
from notebook_files import write_notebook

import lepton_nb as lnb
from lepton_nb.cli import main
from lepton_nb.reports.ledger import VARIABLE, Ledger
from lepton_nb.reports.prune import prune

NOW = datetime(2026, 3, 1, tzinfo=UTC)


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(VARIABLE, raising=False)
    return tmp_path


@pytest.fixture
def ledger(home):
    return Ledger(home / "reports" / "out" / "ledger.sqlite")


def enter(ledger, id_, notebook="a.ipynb", status="finished", metrics=None, folder=None, **facts):
    ledger.begin(id_, notebook=notebook, parameters={"a": 1}, folder=folder or ledger.folder / id_, **facts)
    if status != "running":
        ledger.end(id_, status, metrics or {})


def a_report(folder, id_):
    """A folder that holds what a report does, as far as prune looks."""
    folder.mkdir(parents=True)
    (folder / "report.html").write_text("x")
    facts = {"schema_version": 1, "id": id_, "notebook": {"path": "a.ipynb", "sha256": "0"}}
    (folder / "manifest.json").write_text(json.dumps(facts | {"files": {"report.html": {"sha256": "0"}}}))
    return folder


def test_what_was_entered_is_found_again(ledger):
    assert ledger.runs() == []
    assert not ledger.path.exists()
    enter(ledger, "aa1", metrics={"auc": 0.5}, parent="s", slot="2026-03-01T00:00:00+00:00", definition="d")
    enter(ledger, "ab2", notebook="x/b.ipynb", status="failed")
    enter(ledger, "c", status="running")
    assert [(run.id, run.status) for run in ledger.runs()] == [("c", "running"), ("ab2", "failed"), ("aa1", "finished")]
    found = ledger.run("aa")
    assert (found.parameters, found.metrics, found.folder) == ({"a": 1}, {"auc": 0.5}, ledger.folder / "aa1")
    assert (found.parent, found.slot, found.definition) == ("s", "2026-03-01T00:00:00+00:00", "d")
    assert found.duration_s >= 0
    assert [run.id for run in ledger.runs(notebook="b")] == ["ab2"]
    assert [run.id for run in ledger.runs(notebook="x/b.ipynb", status="finished")] == []
    assert [run.id for run in ledger.runs(limit=1)] == ["c"]
    assert ledger.runs(since=datetime.now(UTC) + timedelta(hours=1)) == []
    with pytest.raises(lnb.ReportError, match="several runs begin with 'a'"):
        ledger.run("a")
    with pytest.raises(lnb.ReportError, match="no run '%'"):
        ledger.run("%")
    ledger.forget("c")
    assert len(ledger.runs()) == 2


def test_a_ledger_that_moved_with_its_reports_finds_them(ledger, home):
    enter(ledger, "a")
    enter(ledger, "b", folder=home / "elsewhere")
    (home / "reports").rename(home / "moved")
    moved = Ledger(home / "moved" / "out" / "ledger.sqlite")
    assert {run.id: run.folder for run in moved.runs()} == {"a": moved.folder / "a", "b": home / "elsewhere"}


WRITER = """
import sys
from lepton_nb.reports.ledger import Ledger
ledger = Ledger(sys.argv[1])
for number in range(25):
    name = f"{sys.argv[2]}-{number}"
    ledger.begin(name, notebook="n.ipynb", parameters={}, folder="f")
    if number:
        ledger.end(name, "finished", {"n": number})
"""


def test_many_processes_write_at_once_and_one_that_died_is_lost(ledger):
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, str(ledger.path), str(one)]) for one in range(4)]
    assert [writer.wait() for writer in writers] == [0] * 4
    assert len(ledger.runs(status="finished")) == 96
    assert sorted(run.id for run in ledger.runs(status="lost")) == ["0-0", "1-0", "2-0", "3-0"]
    assert os.listdir(ledger.folder) == ["ledger.sqlite"]


def test_a_file_that_is_no_ledger_is_told_and_stays(home, ledger, capsys):
    ledger.folder.mkdir(parents=True)
    ledger.path.write_bytes(b"this is no database, and long enough to be one. " * 100)
    before = ledger.path.read_bytes()
    write_notebook(home / "a.ipynb", "1")
    with pytest.warns(RuntimeWarning, match="made, but not in the history: the ledger .* is damaged, or no ledger"):
        report = lnb.report("a.ipynb")
    assert report.html.exists()
    assert main(["report", "list"]) == 1
    assert "is damaged, or no ledger" in capsys.readouterr().err
    assert ledger.path.read_bytes() == before


def test_a_newer_ledger_is_told_and_stays(ledger):
    enter(ledger, "a")
    with sqlite3.connect(ledger.path) as database:
        database.execute("UPDATE lepton_nb_schema SET version = 99")
    database.close()
    with pytest.raises(lnb.ReportError, match="written by a newer lepton_nb; update"):
        ledger.begin("b", notebook="n", parameters={}, folder="f")
    with pytest.raises(lnb.ReportError, match="newer"):
        ledger.runs()


def test_reports_enter_their_runs(home, ledger, monkeypatch):
    write_notebook(home / "a.ipynb", "import lepton_nb as lnb\nlnb.record('auc', 0.5 / a)", parameters="a: int = 1")
    lnb.report("a.ipynb", output="apart/one")
    assert sorted(os.listdir("apart")) == ["one"]
    made = lnb.report("a.ipynb", a=2)
    with pytest.raises(lnb.ReportError, match="ZeroDivisionError"):
        lnb.report("a.ipynb", a=0)
    lnb.report("a.ipynb", output="apart/one")
    assert [(run.status, run.parameters, run.metrics) for run in ledger.runs()] == [
        ("finished", {}, {"auc": 0.5}), ("failed", {"a": 0}, {}), ("finished", {"a": 2}, {"auc": 0.25}),
    ]  # fmt: skip
    assert json.loads(made.manifest.read_text())["id"] == ledger.runs()[2].id
    monkeypatch.setenv(VARIABLE, str(home / "mine.sqlite"))
    lnb.report("a.ipynb", output="apart/two")
    assert [run.folder for run in Ledger("mine.sqlite").runs()] == [home / "apart" / "two"]
    assert len(ledger.runs()) == 3


def test_list_filters_and_show_tells(home, ledger, capsys):
    enter(ledger, "a1" * 16, metrics={"auc": 0.75, "kind": "x"})
    enter(ledger, "b2" * 16, notebook="b\x1b[31m.ipynb", status="failed", metrics={"auc": 0.5})
    a_report(ledger.folder / ("a1" * 16), "a1" * 16)

    def listed(*words):
        assert main(["report", "list", *words]) == 0
        return capsys.readouterr().out

    lines = listed().splitlines()
    assert [line.split()[0] for line in lines] == ["RUN", "b2b2b2b2", "a1a1a1a1"]
    assert "auc 0.75" in lines[2]
    assert "\x1b" not in listed()
    assert [one["status"] for one in json.loads(listed("--json"))] == ["failed", "finished"]
    assert [one["id"][:2] for one in json.loads(listed("--json", "--metric", "auc>0.6"))] == ["a1"]
    assert [one["id"][:2] for one in json.loads(listed("--json", "--metric", "kind=x"))] == ["a1"]
    assert [one["id"][:2] for one in json.loads(listed("--json", "--since", "1h", "--status", "failed"))] == ["b2"]
    assert main(["report", "list", "--since", "soon"]) == 1
    assert "--since must be such as 30d" in capsys.readouterr().err
    assert main(["report", "show", "a1"]) == 0
    assert f"folder: {ledger.folder}" in capsys.readouterr().out
    assert main(["report", "show", "b2"]) == 0
    assert "failed; its report is not there any more" in capsys.readouterr().out
    assert main(["report", "show", str(home)]) == 1
    assert "holds no report" in capsys.readouterr().err


def test_prune_removes_only_reports_of_ours_below_the_ledger(home, ledger, capsys):
    root = ledger.folder
    for id_ in ("old", "mixed", "outside", "linked", "replaced", "new"):
        enter(ledger, id_, folder=home / "far" if id_ == "outside" else None)
        if id_ not in ("outside", "linked"):
            a_report(root / id_, "another" if id_ == "replaced" else id_)
    (root / "mixed" / "notes.txt").write_text("mine")
    a_report(home / "far", "outside")
    a_report(home / "target", "linked")
    (root / "linked").symlink_to(home / "target")
    (root / "stranger").mkdir()
    enter(ledger, "busy", status="running")
    assert main(["report", "prune"]) == 1
    assert "say what may go" in capsys.readouterr().err
    assert main(["report", "prune", "--keep", "1", "--dry-run"]) == 0
    assert capsys.readouterr().out == f"would go old {root / 'old'}\n1 would go\n"
    assert (root / "old").exists()
    assert main(["report", "prune", "--keep", "1", "--older-than", "30d"]) == 0
    assert capsys.readouterr().out == "0 removed\n"
    assert main(["report", "prune", "--keep", "1"]) == 0
    said = capsys.readouterr()
    assert said.out == f"removed old {root / 'old'}\n1 removed\n"
    for id_, why in {"mixed": "notes.txt", "outside": "not below", "linked": "not below", "replaced": "later"}.items():
        assert any(why in line for line in said.err.splitlines() if line.startswith(f"kept {id_}"))
    there = {"mixed", "linked", "replaced", "new", "stranger", "index.html", "ledger.sqlite"}
    assert set(os.listdir(root)) == there
    assert (home / "far" / "report.html").exists()
    assert (home / "target" / "report.html").exists()
    assert "old" not in {run.id for run in ledger.runs()}


def test_prune_goes_by_the_clock_that_it_is_given(ledger):
    enter(ledger, "a")
    later = datetime.now(UTC) + timedelta(days=31)
    assert prune(ledger, now=datetime.now(UTC), older_than=timedelta(days=30)) == []
    assert [one.run.id for one in prune(ledger, now=later, older_than=timedelta(days=30))] == ["a"]
    assert ledger.runs() == []
