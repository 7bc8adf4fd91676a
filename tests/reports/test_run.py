import asyncio
import json
import os
import pickle
import sys

import psutil
import pytest
from notebook_files import figure, write_notebook

import lepton_nb as lnb
from lepton_nb.background import BackgroundRun
from lepton_nb.reports.run import Report, plan


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A current folder and a home of the test's own."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def manifest(report):
    return json.loads(report.manifest.read_text())


def stream(report):
    """Everything that the cells of the executed notebook printed."""
    cells = json.loads(report.notebook.read_text())["cells"]
    outputs = [output for cell in cells for output in cell.get("outputs", [])]
    return "".join("".join(output["text"]) for output in outputs if output["output_type"] == "stream")


def made(folder):
    """The files of a report, without kernel.log: a kernel may say something of its own on a slow machine."""
    return sorted(name for name in os.listdir(folder) if name != "kernel.log")


def test_a_report_is_a_folder_with_page_notebook_and_manifest(home, capsys):
    source = write_notebook(
        home / "flights.ipynb",
        "# Delays\n",
        "import lepton_nb as lnb\nlnb.record('auc', 0.75)\nlnb.record('epochs', epochs)\nprint(lnb.mode())",
        figure(),
        parameters="epochs: int = 3  # passes\nname: str = 'x'",
    )
    report = lnb.report(source, epochs=5)
    assert report.folder.parent == home / "reports" / "out"
    assert report.folder.name.startswith("flights-20")
    assert made(report.folder) == ["flights.ipynb", "manifest.json", "report.html", "ro-crate-metadata.json"]
    assert os.listdir(report.folder.parent) == [report.folder.name]
    assert report.status == "finished"
    assert report.metrics == {"auc": 0.75, "epochs": 5}
    assert stream(report) == "report\n"
    facts = manifest(report)
    assert facts["schema_version"] == 2
    assert facts["notebook"]["path"] == "flights.ipynb"
    assert str(home) not in report.manifest.read_text()
    assert facts["status"] == "finished"
    assert facts["metrics"] == {"auc": 0.75, "epochs": 5}
    assert facts["parameters"]["epochs"] == {
        "value": 5, "given": True, "default": 3, "default_source": "3", "type": "int", "help": "passes",
    }  # fmt: skip
    assert facts["parameters"]["name"]["value"] == "x"
    assert [cell["status"] for cell in facts["cells"]] == ["completed"] * 4
    assert [cell["source_index"] for cell in facts["cells"]] == [0, None, 2, 3]
    assert facts["versions"]["lepton_nb"] == lnb.__version__
    assert facts["files"]["report.html"]["bytes"] == report.html.stat().st_size
    assert "<title>Delays</title>" in report.html.read_text()
    assert "flights [3/5] Delays" in capsys.readouterr().err


def test_a_cell_shows_where_a_report_is_and_what_was_recorded(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "a <b>"
    found = Report(
        folder=folder,
        html=folder / "report.html",
        notebook=folder / "n.ipynb",
        manifest=folder / "manifest.json",
        status="finished",
        metrics={"auc <i>": 0.7},
    )
    assert found._repr_html_() == (
        '<p>Report finished: <a href="a%20%3Cb%3E/report.html" target="_blank">a &lt;b&gt;/report.html</a> '
        "(opens in a new tab)</p><table><caption>Recorded</caption>"
        '<tr><th scope="row">auc &lt;i&gt;</th><td>0.7</td></tr></table>'
    )


def test_the_kernel_is_this_python_whatever_is_in_the_home_folder(home, monkeypatch):
    kernels = home / "data" / "kernels" / "python3"
    kernels.mkdir(parents=True)
    spec = {"argv": ["/bin/false"], "display_name": "Wrong", "language": "python"}
    (kernels / "kernel.json").write_text(json.dumps(spec))
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(home / "data"))
    monkeypatch.setenv("JUPYTER_PATH", str(home / "data"))
    source = write_notebook(home / "where.ipynb", "import sys\nprint(sys.executable)")
    assert stream(lnb.report(source, output="out")) == f"{sys.executable}\n"


@pytest.mark.parametrize(
    "text", ["\"; raise SystemExit('no')\n", "'''\"\"\"\\", "</script><b>&amp;", "{0}{epochs}", "a\r\n\tb\x00\u2028é🙂"]
)
def test_parameters_arrive_as_data(text, home):
    source = write_notebook(home / "{odd} name.ipynb", "print(name.encode().hex())", parameters="name: str = ''")
    report = lnb.report(source, output=home / "o{u}t", name=text)
    assert bytes.fromhex(stream(report).strip()).decode() == text
    assert manifest(report)["parameters"]["name"]["value"] == text
    assert "</script><b>" not in report.html.read_text()


def test_lists_dicts_and_special_floats_arrive(home):
    source = write_notebook(
        home / "types.ipynb",
        "print(repr((a, b, c, d)))",
        parameters="a: list[int]\nb: dict[str, float]\nc: float\nd: bool",
    )
    report = lnb.report(source, output="out", a=[1, 2], b={"x'": 0.5}, c=float("inf"), d=True)
    assert stream(report) == '([1, 2], {"x\'": 0.5}, inf, True)\n'
    assert manifest(report)["parameters"]["c"]["value"] == "Infinity"


def test_dates_and_durations_arrive_as_what_they_are(home):
    source = write_notebook(
        home / "times.ipynb",
        "print(repr((a, b, c)))",
        parameters="import datetime\nfrom typing import Annotated\nimport lepton_nb as lnb\n"
        "a: datetime.date = datetime.date(2013, 1, 1)\nb: datetime.timedelta = datetime.timedelta(0)\n"
        "c: Annotated[lnb.Duration, lnb.Between(above='0s')] = '6h'",
    )
    report = lnb.report(source, output="out", a="2013-06-24", b="90m")
    assert stream(report) == "(datetime.date(2013, 6, 24), datetime.timedelta(seconds=5400), '6h')\n"
    found = manifest(report)["parameters"]
    assert [found[name]["value"] for name in "abc"] == ["2013-06-24", "5400s", "6h"]
    assert [found[name]["default"] for name in "abc"] == ["2013-01-01", "0s", "6h"]


def test_bad_parameters_raise_before_anything_is_made(home):
    source = write_notebook(home / "a.ipynb", "open('ran', 'w')", parameters="epochs: Annotated[int, Between(1)] = 3")
    with pytest.raises(lnb.ReportError, match="unknown parameter 'epoch'; did you mean 'epochs'"):
        lnb.report(source, epoch=2)
    with pytest.raises(lnb.ReportError, match="'epochs' must be int, at least 1, not 0"):
        lnb.report(source, epochs=0)
    assert sorted(path.name for path in home.iterdir()) == ["a.ipynb"]


def test_a_notebook_without_parameters_cell(home):
    source = write_notebook(home / "a.ipynb", "print(1)")
    with pytest.raises(lnb.ReportError, match="no parameters cell; tag one cell"):
        lnb.report(source, epochs=2)
    assert lnb.report(source, output="out").status == "finished"


def test_a_failing_cell_leaves_a_report_that_shows_the_error(home):
    source = write_notebook(
        home / "bad.ipynb",
        "# Title\n",
        "import lepton_nb as lnb\nlnb.record('before', 1)\nprint('so far')",
        "## The bad part\n",
        "{}['<missing>']",
        "print('never')",
        parameters="a: int = 1",
    )
    with pytest.raises(lnb.ReportError, match=r"cell 5 of bad.ipynb \(The bad part\) failed: KeyError") as raised:
        lnb.report(source, output="out", a=2)
    error = raised.value
    assert (error.cell, error.ename, error.evalue) == (4, "KeyError", "'<missing>'")
    assert error.report.status == "failed"
    assert error.report.metrics == {"before": 1}
    assert pickle.loads(pickle.dumps(error)).report.html == error.report.html
    page = error.report.html.read_text()
    assert "so far" in page
    assert "never" not in page
    assert "&lt;missing&gt;" in page
    assert 'href="#failed-cell"' in page
    facts = manifest(error.report)
    assert facts["status"] == "failed"
    assert facts["failure"]["cell"] == 4
    assert [cell["status"] for cell in facts["cells"]] == ["completed", "completed", "completed", "failed", "pending"]
    assert stream(error.report) == "so far\n"


def test_a_cell_that_may_raise_does_not_fail_the_report(home):
    import nbformat

    source = write_notebook(home / "may.ipynb", "1 / 0", "print('after')")
    node = nbformat.read(source, 4)
    node.cells[0].metadata["tags"] = ["raises-exception"]
    nbformat.write(node, source)
    report = lnb.report(source, output="out")
    assert report.status == "finished"
    assert stream(report) == "after\n"


def test_a_kernel_that_dies_is_a_failure(home):
    source = write_notebook(home / "dies.ipynb", "print('here', flush=True)", "import os\nos._exit(9)")
    with pytest.raises(lnb.ReportError, match="the kernel died") as raised:
        lnb.report(source, output="out")
    assert raised.value.cell == 1
    assert stream(raised.value.report) == "here\n"


def test_processes_that_a_cell_left_behind_are_ended(home):
    source = write_notebook(
        home / "a.ipynb",
        "import subprocess\nleft = subprocess.Popen(['sleep', '600'], start_new_session=True)\nprint(left.pid)",
    )
    report = lnb.report(source, output="out")
    assert not psutil.pid_exists(int(stream(report)))


def test_processes_that_a_dead_kernel_left_behind_are_ended(home):
    source = write_notebook(
        home / "a.ipynb",
        "import subprocess\nleft = subprocess.Popen(['sleep', '600'], start_new_session=True)\n"
        "print(left.pid, flush=True)",
        "import os\nos._exit(9)",
    )
    with pytest.raises(lnb.ReportError, match="the kernel died") as raised:
        lnb.report(source, output="out")
    assert not psutil.pid_exists(int(stream(raised.value.report)))


def test_a_report_in_a_report_ends_only_its_own_processes(home):
    write_notebook(home / "inner.ipynb", "import subprocess\nsubprocess.Popen(['sleep', '601'])")
    outer = write_notebook(
        home / "outer.ipynb",
        "import subprocess, lepton_nb as lnb\n"
        "left = subprocess.Popen(['sleep', '600'])\n"
        "lnb.report('inner.ipynb', output='inner')\n"
        "open('left', 'w').write(f'{left.poll()} {left.pid}')",
    )
    lnb.report(outer, output="out")
    ended, pid = (home / "left").read_text().split()
    assert ended == "None"
    assert not psutil.pid_exists(int(pid))


@pytest.mark.parametrize("after_s", [0, 0.1, 0.4, 0.8])
def test_a_run_can_be_stopped_while_its_kernel_starts(after_s, home):
    run = plan(write_notebook(home / "a.ipynb", "import time\ntime.sleep(600)"), {}, output="out").run().start()
    run._over.wait(after_s)
    report = run.stop(60).wait()
    assert report.status == "cancelled"
    assert manifest(report)["cells"][0]["status"] in ("pending", "cancelled")
    assert sorted(os.listdir(home)) == ["a.ipynb", "out"]


def test_the_time_limit_ends_the_kernel(home):
    source = write_notebook(home / "slow.ipynb", "import time\nprint('started', flush=True)\ntime.sleep(600)", "1")
    with pytest.raises(lnb.ReportError, match="longer than timeout_s=3; raise timeout_s") as raised:
        lnb.report(source, output="out", timeout_s=3)
    statuses = [cell["status"] for cell in manifest(raised.value.report)["cells"]]
    # On a busy machine the kernel itself may take that long.
    assert statuses in (["failed", "pending"], ["pending", "pending"])


def test_a_stopped_run_leaves_a_cancelled_report(home):
    source = write_notebook(home / "stop.ipynb", "print('first')", "import time\ntime.sleep(600)", "1")
    run: BackgroundRun = plan(source, {}, output="out").run()
    second = []
    run.watch(lambda event: second.append(event) if getattr(event, "done", 0) == 1 else None)
    run.start()
    while not second:
        run._over.wait(0.05)
    report = run.stop(60).wait()
    assert report.status == "cancelled"
    assert manifest(report)["status"] == "cancelled"
    assert [cell["status"] for cell in manifest(report)["cells"]] == ["completed", "cancelled", "pending"]
    assert "its run was cancelled" in report.html.read_text()


def test_an_earlier_report_is_replaced(home):
    first = lnb.report(write_notebook(home / "a.ipynb", "import os\nos.system('echo a')"), output="out")
    assert (first.folder / "kernel.log").exists()
    second = lnb.report(write_notebook(home / "b.ipynb", "print(2)"), output="out")
    assert second.folder == first.folder
    assert stream(second) == "2\n"
    assert made(second.folder) == ["b.ipynb", "manifest.json", "report.html", "ro-crate-metadata.json"]
    assert sorted(os.listdir(home)) == ["a.ipynb", "b.ipynb", "out"]


@pytest.mark.parametrize(
    "foreign", [None, "[]", "{", "3", '{"name": "my web app"}', '{"schema_version": 1, "files": {}}']
)
def test_a_folder_with_other_files_is_left_as_it_is(foreign, home):
    source = write_notebook(home / "a.ipynb", "print(1)")
    mine = home / "mine"
    mine.mkdir()
    (mine / "thesis.tex").write_text("years")
    if foreign is not None:
        (mine / "manifest.json").write_text(foreign)
    before = sorted(os.listdir(mine))
    with pytest.raises(lnb.ReportError, match="is not of an earlier report: .*thesis.tex; choose an empty") as raised:
        lnb.report(source, output=mine)
    assert list(raised.value.others) == before
    assert sorted(os.listdir(mine)) == before
    assert sorted(os.listdir(home)) == ["a.ipynb", "mine"]


def test_a_file_put_beside_an_earlier_report_is_left_as_it_is(home):
    source = write_notebook(home / "a.ipynb", "print(1)")
    first = lnb.report(source, output="out")
    (first.folder / "notes.txt").write_text("mine")
    with pytest.raises(lnb.ReportError, match="earlier report: notes.txt; choose"):
        lnb.report(source, output="out")
    (first.folder / "notes.txt").unlink()
    (first.folder / "data").mkdir()
    with pytest.raises(lnb.ReportError, match="earlier report: data; choose"):
        lnb.report(source, output="out")
    assert first.html.exists()


def test_a_file_that_comes_during_the_run_is_left_as_it_is(home):
    source = write_notebook(home / "a.ipynb", "open('out/notes.txt', 'w').write('mine')")
    first = lnb.report(write_notebook(home / "b.ipynb", "print(1)"), output="out")
    second = lnb.report(source, output="out")
    assert second.folder == home / "out-2"
    assert (first.folder / "notes.txt").read_text() == "mine"
    assert first.html.exists()
    assert sorted(os.listdir(home)) == ["a.ipynb", "b.ipynb", "out", "out-2"]


def test_an_output_folder_that_is_a_link_keeps_its_place(home):
    (home / "elsewhere").mkdir()
    (home / "out").symlink_to("elsewhere")
    source = write_notebook(home / "a.ipynb", "print(1)")
    assert lnb.report(source, output="out").html.exists()
    assert lnb.report(source, output="out").html.exists()
    assert (home / "out").is_symlink()
    assert (home / "elsewhere" / "report.html").exists()


@pytest.mark.parametrize("folder", ["file/out", "file", "/proc/out"])
def test_a_folder_that_cannot_be_written_is_told_before_anything_runs(folder, home):
    (home / "file").write_text("")
    source = write_notebook(home / "a.ipynb", "open('ran', 'w')")
    with pytest.raises(lnb.ReportError, match="output folder"):
        lnb.report(source, output=folder)
    assert not (home / "ran").exists()


def test_notebooks_that_are_none(home):
    with pytest.raises(lnb.ReportError, match=r"there is no notebook .*gone.ipynb"):
        lnb.report("gone.ipynb")
    (home / "bad.ipynb").write_text("{}")
    with pytest.raises(lnb.ReportError, match="is not a Jupyter notebook"):
        lnb.report("bad.ipynb")
    source = write_notebook(home / "r.ipynb", "1")
    node = json.loads(source.read_text())
    node["metadata"]["kernelspec"] = {"name": "ir", "display_name": "R", "language": "R"}
    source.write_text(json.dumps(node))
    with pytest.raises(lnb.ReportError, match="is written in R"):
        lnb.report(source)


@pytest.mark.parametrize("timeout_s", [0, -1, float("nan")])
def test_a_time_limit_is_positive(timeout_s, home):
    with pytest.raises(lnb.ReportError, match="timeout_s must be more than 0"):
        lnb.report(write_notebook(home / "a.ipynb", "1"), timeout_s=timeout_s)


def test_a_report_can_be_made_where_an_event_loop_runs_as_in_a_notebook(home):
    source = write_notebook(home / "a.ipynb", "print(1)")

    async def cell():
        return lnb.report(source, output="out")

    assert asyncio.run(cell()).status == "finished"


def test_the_notebook_runs_in_its_own_folder(home):
    (home / "deep").mkdir()
    source = write_notebook(home / "deep" / "a.ipynb", "import os\nprint(os.getcwd())")
    assert stream(lnb.report(source, output="out")) == f"{home / 'deep'}\n"
    assert os.getcwd() == str(home)
