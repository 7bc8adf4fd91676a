import json
import os
import signal
import subprocess
import sys
import time
from datetime import date

import psutil
import pytest
from browsing import visiting
from notebook_files import write_notebook

import lepton_nb as lnb
from lepton_nb.cli import main
from lepton_nb.reports.ledger import VARIABLE, Ledger
from lepton_nb.reports.parameters import read_source
from lepton_nb.reports.sweep_sets import alternatives, checked, combine, folder_name, grid, identity, read_file

START_S = 90


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(VARIABLE, raising=False)
    return tmp_path


def test_a_grid_has_every_combination_and_values_their_types():
    declared = read_source("a: int = 1\nday: date = date(2013, 1, 1)\nname: str = ''\nlayers: list[int] = []")
    lists = {"a": alternatives("1, 2"), "day": alternatives("2013-06-24"), "name": alternatives('["x,y", "1"]')}
    assert checked(declared, grid(lists)) == [
        {"a": a, "day": date(2013, 6, 24), "name": name} for a in (1, 2) for name in ("x,y", "1")
    ]
    assert checked(declared, grid({"layers": alternatives("[[1, 2], [3]]")})) == [{"layers": [1, 2]}, {"layers": [3]}]
    # The same set twice is one run.
    assert checked(declared, grid({"a": alternatives("1,1")})) == [{"a": 1}]


def test_all_that_is_wrong_is_told_at_once():
    declared = read_source("epochs: int = 1\nb: float")
    with pytest.raises(lnb.ReportError) as raised:
        checked(declared, grid({"epoch": [1], "epochs": alternatives("1,x,2.5")}))
    problems = "; ".join(raised.value.problems)
    assert "unknown parameter 'epoch'; did you mean 'epochs'?" in problems
    assert "'x'" in problems
    assert "'2.5'" in problems
    assert "'b' has no default" in problems
    for wrong in ({"epochs": "12"}, {"epochs": []}):
        with pytest.raises(lnb.ReportError, match="needs a list of values"):
            grid(wrong)
    with pytest.raises(lnb.ReportError, match="more than 10,000"):
        grid({name: list(range(100)) for name in "abc"})
    with pytest.raises(lnb.ReportError, match="a sweep needs parameters"):
        checked(declared, [])
    with pytest.raises(lnb.ReportError, match="no JSON list"):
        alternatives("[1,")
    with pytest.raises(lnb.ReportError, match="both in the file and given"):
        combine([{"a": 1}], [{"a": 2}])


def test_sets_from_files(tmp_path):
    declared = read_source("a: int = 1\nname: str = ''")
    wanted = [{"a": 1, "name": "x,y"}, {"a": 2}]
    files = {
        "s.csv": 'a,name\n1,"x,y"\n2,\n',
        "s.json": json.dumps(wanted),
        "s.yaml": "- {a: 1, name: 'x,y'}\n- a: 2\n",
    }
    for name, text in files.items():
        (tmp_path / name).write_text(text)
        assert checked(declared, read_file(tmp_path / name)) == wanted, name
    (tmp_path / "g.yml").write_text("a: [1, 2]\nname: [p, q]\n")
    assert len(checked(declared, read_file(tmp_path / "g.yml"))) == 4
    for name, text, told in (
        ("x.yaml", "a: !!python/object/apply:os.getcwd []", "is not YAML"),
        ("x.json", "{", "is not JSON"),
        ("y.json", "3", "must hold a list of sets"),
        ("x.txt", "", "must end in"),
        ("x.csv", "a,name\n1\n", "row 2 has not as many"),
        ("y.csv", "a,name\n", "needs a first line"),
    ):
        (tmp_path / name).write_text(text)
        with pytest.raises(lnb.ReportError, match=told):
            read_file(tmp_path / name)
    with pytest.raises(lnb.ReportError, match="No such file"):
        read_file(tmp_path / "none.csv")


def test_a_folders_name_stays_in_the_folder():
    for value in ("../../etc", "/x", "a\nb", "..", "é" * 300, ""):
        name = folder_name({"p": value}, "0123456789abcdef")
        assert os.path.basename(name) == name
        assert not name.startswith(".")
        assert len(name) < 90
    one = identity("n", {"a": 1}, "p")
    assert one == identity("n", {"a": 1}, "p")
    assert len({one, identity("m", {"a": 1}, "p"), identity("n", {"a": 2}, "p"), identity("n", {"a": 1}, "q")}) == 4


def test_a_sweep_compares_goes_on_after_a_failure_and_does_only_what_is_missing(home, cluster):
    source = write_notebook(
        home / "a.ipynb",
        "import os\nopen(f'ran-{a}', 'a').write('x')\nassert a != 2 or os.path.exists('mended'), '<b>no</b>'",
        "import lepton_nb as lnb\nlnb.record('auc', a / 10)",
        parameters="a: int = 1\nkind: str = '<i>'",
    )
    done = lnb.report_sweep(source, {"a": [1, 2, 3], "kind": ["<i>x"]}, parallel=2, cluster=cluster)
    assert done.folder == home / "reports" / "out" / "a-sweep"
    assert [run.status for run in done.runs] == ["finished", "failed", "finished"]
    assert "<b>no</b>" in done.failed[0].reason
    assert [run.metrics for run in done.runs] == [{"auc": 0.1}, {}, {"auc": 0.3}]
    assert done.frame().select("a", "auc", "status").rows()[2] == (3, 0.3, "finished")
    runs = Ledger(home / "reports" / "out" / "ledger.sqlite").runs()
    assert sorted((run.parameters["a"], run.status, run.parent) for run in runs) == [
        (1, "finished", done.id), (2, "failed", done.id), (3, "finished", done.id),
    ]  # fmt: skip
    assert {run.folder for run in runs} == {run.folder for run in done.runs}

    with visiting(offline=True) as visit:
        page = visit.page
        page.goto(done.page.as_uri())
        assert page.locator("tbody tr").count() == 3
        assert "<i>x" in page.inner_text("tbody")
        page.get_by_role("button", name="auc").press("Enter")
        page.get_by_role("button", name="auc").press("Enter")
        cells = page.locator("tbody tr td:first-child").all_inner_texts()
        assert [cell for cell in cells if cell != "2"] == ["3", "1"]
        assert page.locator("svg circle").count() == 2
        page.locator("tbody tr", has_text="failed").get_by_role("link").click()
        assert "This report is not complete" in page.inner_text("body")
        page.goto((home / "reports" / "out" / "index.html").as_uri())
        assert page.locator("#runs tbody tr:visible").count() == 3
        page.get_by_label("Status").select_option("failed")
        assert page.locator("#runs tbody tr:visible").count() == 1
        assert page.locator("#count").inner_text() == "1 of 3 shown"
        page.get_by_label("Status").select_option("")
        page.get_by_label("Text").fill("auc 0.3")
        assert page.locator("#runs tbody tr:visible").count() == 1
        assert page.locator(".chart polyline").count() == 1
        assert visit.errors == []
        assert visit.outside() == []

    (home / "mended").touch()
    again = lnb.report_sweep(source, {"a": [1, 2, 3, 4], "kind": ["<i>x"]}, parallel=2, cluster=cluster)
    assert [run.status for run in again.runs] == ["finished"] * 4
    assert (again.made, again.id) == (2, done.id)
    assert {a: (home / f"ran-{a}").read_text() for a in (1, 2, 3, 4)} == {1: "x", 2: "xx", 3: "x", 4: "x"}


def test_nothing_starts_where_something_is_wrong(home, capsys):
    write_notebook(home / "a.ipynb", "1", parameters="a: int = 1")
    (home / "mine").mkdir()
    (home / "mine" / "notes.txt").write_text("x")
    for words, told in (
        (["-p", "a", "1,x"], "'x'"),
        (["-p", "a", "1", "-p", "a", "2"], "given twice"),
        (["-p", "a", "1", "--parallel", "0"], "parallel must be"),
        (["-p", "a", "1", "-o", "mine"], "no sweep is in it"),
        ([], "a sweep needs parameters"),
    ):
        assert main(["report", "sweep", "a.ipynb", *words]) == 1
        assert told in capsys.readouterr().err
    assert sorted(path.name for path in home.iterdir()) == ["a.ipynb", "mine"]


@pytest.mark.slow
def test_sigterm_stops_all_runs_and_leaves_nothing(home):
    write_notebook(home / "a.ipynb", "import time\nopen(f'up-{a}', 'w')\ntime.sleep(600)", parameters="a: int = 1")
    words = ["report", "sweep", "a.ipynb", "-p", "a", "-1,2,3,4", "--parallel", "2"]
    with subprocess.Popen(
        [sys.executable, "-m", "lepton_nb.cli", *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            deadline = time.monotonic() + START_S
            while len(list(home.glob("up-*"))) < 2:
                assert process.poll() is None
                assert time.monotonic() < deadline
                time.sleep(0.05)
            family = psutil.Process(process.pid).children(recursive=True)
            assert len(list(home.glob("up-*"))) == 2
            process.send_signal(signal.SIGTERM)
            _, err = process.communicate(timeout=START_S)
        finally:
            process.kill()
    assert process.returncode == 143
    assert "cancelled by SIGTERM; the same command goes on" in err
    _, alive = psutil.wait_procs(family, timeout=START_S)
    assert alive == []
    statuses = [run.status for run in Ledger(home / "reports" / "out" / "ledger.sqlite").runs()]
    assert set(statuses) == {"cancelled"}
