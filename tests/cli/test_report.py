import json
import signal
import subprocess
import sys
import time

import psutil
import pytest
from notebook_files import write_notebook

from lepton_nb.cli import main

START_S = 60


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def printed(folder):
    cells = json.loads(next(folder.glob("*.ipynb")).read_text())["cells"]
    outputs = [output for cell in cells for output in cell.get("outputs", []) if output["output_type"] == "stream"]
    return "".join("".join(output["text"]) for output in outputs)


def test_run_prints_where_the_report_is(home, capsys):
    write_notebook(
        home / "a.ipynb",
        "import lepton_nb as lnb\nlnb.record('auc', 0.75)\nprint((epochs, name, columns, memory))",
        parameters="epochs: int = 3\nname: str = ''\ncolumns: list[str] = []\nmemory: str | None = 'x'",
    )
    words = ["report", "run", "a.ipynb", "-p", "epochs", "2", "-p", "name", "--x\n'", "-o", "out"]
    assert main([*words, "--parameter", "columns", '["a"]', "-p", "memory", "null", "--show-code"]) == 0
    assert capsys.readouterr().out == f"auc: 0.75\nreport: {home}/out/report.html\n"
    assert printed(home / "out") == f"{(2, '--x' + chr(10) + chr(39), ['a'], None)!r}\n"
    assert 'class="code"' in (home / "out" / "report.html").read_text()


def test_formats_are_asked_for_by_name(home, capsys):
    write_notebook(home / "a.ipynb", "# Title", "print(1)")
    assert main(["report", "run", "a.ipynb", "-o", "out", "--format", "html,markdown"]) == 0
    assert (home / "out" / "report.md").read_text().startswith("# Title\n")
    assert main(["report", "run", "a.ipynb", "-o", "other", "--format", "word"]) == 1
    assert "unknown format 'word'; choose from html, notebook, markdown, pdf" in capsys.readouterr().err
    assert not (home / "other").exists()


def test_a_failing_cell_is_status_1(home, capsys):
    write_notebook(home / "a.ipynb", "1 / 0")
    assert main(["report", "run", "a.ipynb", "-o", "out"]) == 1
    err = capsys.readouterr().err
    assert "lepton-nb: cell 1 of a.ipynb failed: ZeroDivisionError: division by zero" in err
    assert f"what ran until then: {home}/out/report.html" in err
    assert "Traceback" not in err


def test_a_parameter_is_given_once(home, capsys):
    write_notebook(home / "a.ipynb", "1", parameters="a: int = 1")
    assert main(["report", "run", "a.ipynb", "-p", "a", "1", "-p", "a", "2"]) == 1
    assert "'a' is given twice" in capsys.readouterr().err


def test_params_tells_types_limits_and_meanings(home, capsys):
    write_notebook(
        home / "a.ipynb", "open('ran', 'w')", parameters="a: Annotated[int, Between(1, 3)] = 2  # days\nb: str"
    )
    write_notebook(home / "b.ipynb", "1")
    assert main(["report", "params", "a.ipynb"]) == 0
    assert capsys.readouterr().out == "a: int from 1 to 3; default 2\n    days\nb: str; must be given\n"
    assert main(["report", "run", "a.ipynb", "-p", "a", "-1", "-p", "b", "x"]) == 1
    assert "parameter 'a' must be int from 1 to 3, not '-1'" in capsys.readouterr().err
    assert main(["report", "params", "b.ipynb"]) == 1
    assert "b.ipynb has no parameters cell; tag one cell" in capsys.readouterr().err
    assert sorted(path.name for path in home.iterdir()) == ["a.ipynb", "b.ipynb"]


CLUSTER = "import lepton_nb as lnb\ncluster = lnb.Cluster(workers=2, memory='500MB')\nprint(len(cluster.workers))"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "status", "first", "processes"),
    [
        (signal.SIGTERM, 143, CLUSTER, 3),
        (signal.SIGINT, 130, CLUSTER, 3),
        (signal.SIGHUP, 129, "print(2)", 1),
    ],
)
def test_a_signal_ends_kernel_and_cluster_and_keeps_what_ran(number, status, first, processes, home):
    write_notebook(
        home / "a.ipynb",
        first,
        "import pathlib, time\npathlib.Path('waiting').touch()\ntime.sleep(600)",
        "print('never')",
    )
    command = [sys.executable, "-m", "lepton_nb.cli", "report", "run", "a.ipynb", "-o", "out"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        deadline = time.monotonic() + START_S
        while not (home / "waiting").exists() and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.05)
        family = psutil.Process(process.pid).children(recursive=True)
        assert len(family) >= processes
        process.send_signal(number)
        _, err = process.communicate(timeout=60)
    assert process.returncode == status
    assert "Traceback" not in err
    assert f"cancelled by {number.name}; what ran until then: {home}/out/report.html" in err
    assert [one for one in family if one.is_running() and one.status() != psutil.STATUS_ZOMBIE] == []
    manifest = json.loads((home / "out" / "manifest.json").read_text())
    assert manifest["status"] == "cancelled"
    assert [cell["status"] for cell in manifest["cells"]] == ["completed", "cancelled", "pending"]
    assert json.loads((home / "out" / "a.ipynb").read_text())["metadata"]["papermill"]["status"] == "cancelled"
    assert printed(home / "out") == "2\n"
    assert sorted(path.name for path in home.iterdir()) == ["a.ipynb", "out", "waiting"]


@pytest.mark.slow
def test_a_command_that_is_killed_leaves_neither_process_nor_folder(home):
    write_notebook(
        home / "a.ipynb",
        CLUSTER,
        "import pathlib, subprocess, time\n"
        "left = subprocess.Popen(['sleep', '600'], start_new_session=True)\n"
        "pathlib.Path('waiting').touch()\n"
        "time.sleep(600)",
    )
    command = [sys.executable, "-m", "lepton_nb.cli", "report", "run", "a.ipynb", "-o", "out"]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + START_S
        while not (home / "waiting").exists() and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.05)
        family = psutil.Process(process.pid).children(recursive=True)
        assert "sleep" in [one.name() for one in family]
        process.kill()
    _, alive = psutil.wait_procs(family, timeout=30)
    assert [one for one in alive if one.status() != psutil.STATUS_ZOMBIE] == []
    assert sorted(path.name for path in home.iterdir()) == ["a.ipynb", "waiting"]


@pytest.mark.slow
def test_a_failing_cell_ends_the_cluster(home):
    write_notebook(
        home / "a.ipynb",
        "import lepton_nb as lnb, psutil\n"
        "cluster = lnb.Cluster(workers=2, memory='500MB')\n"
        "print([process.pid for process in psutil.Process().children(recursive=True)])",
        "raise ValueError('no')",
    )
    assert main(["report", "run", "a.ipynb", "-o", "out"]) == 1
    pids = json.loads(printed(home / "out"))
    assert len(pids) >= 2
    assert [pid for pid in pids if psutil.pid_exists(pid)] == []
