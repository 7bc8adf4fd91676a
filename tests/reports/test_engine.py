import json
import os
import signal
import subprocess
import sys
import tomllib
from pathlib import Path

import nbformat
import notebook_files
import papermill
import psutil
import pytest
from nbclient.exceptions import CellTimeoutError, DeadKernelError
from papermill.exceptions import PapermillExecutionError
from papermill.iorw import papermill_io

import lepton_nb as lnb
from lepton_nb.reports import papermill_engine as engine
from lepton_nb.reports.papermill_saving import Keeper

ROOT = Path(__file__).resolve().parents[2]
LONG_S = 120


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A current folder of the test's own, in which Papermill knows the engine."""
    monkeypatch.chdir(tmp_path)
    engine.register()
    return tmp_path


def write_notebook(*arguments, **options):
    return notebook_files.write_notebook(*arguments, kernel="python3", **options)


def run(source, output="out.ipynb", **options):
    return papermill.execute_notebook(source, output, engine_name="lepton", progress_bar=False, **options)


def read(path="out.ipynb"):
    return nbformat.read(path, 4)


def statuses(notebook):
    """Those of all cells but the two in which Papermill tells of an error."""
    return [cell.metadata.papermill.status for cell in notebook.cells if "papermill" in cell.metadata]


def printed(notebook):
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    return "".join(output.text for output in outputs if output.output_type == "stream")


def command(home, *words):
    """Papermill's own command, which finds the engine by what pyproject.toml says."""
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]["papermill.engine"]
    facts = home / "found" / "lepton_nb_engine-0.dist-info"
    facts.mkdir(parents=True)
    lines = ["[papermill.engine]", *(f"{name} = {place}" for name, place in declared.items())]
    (facts / "entry_points.txt").write_text("\n".join(lines))
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: lepton-nb-engine\nVersion: 0\n")
    return subprocess.Popen(
        [sys.executable, "-m", "papermill", "--engine", "lepton", "--no-progress-bar", *words],
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), str(facts.parent)])},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def until(found, process):
    """Wait for a file that a cell writes, and read it."""
    while not found.exists():
        assert process.poll() is None, process.communicate()[0]
        try:
            process.wait(0.05)
        except subprocess.TimeoutExpired:
            continue
    return found.read_text()


def test_papermill_runs_it_and_its_metadata_are_as_ever(home):
    source = write_notebook(home / "a.ipynb", "# Title", "print(x)", "", parameters="x = 1")
    theirs = papermill.execute_notebook(source, "theirs.ipynb", {"x": 2}, progress_bar=False, language="python")
    ours = run(source, parameters={"x": 2}, language="python")
    assert read() == ours
    assert printed(ours) == "2\n"
    assert statuses(ours) == ["completed"] * 5
    assert ours.metadata.papermill.status == "finished"
    assert ours.metadata.papermill.keys() - {"status"} == theirs.metadata.papermill.keys()
    assert [cell.metadata.papermill.keys() for cell in ours.cells] == [
        cell.metadata.papermill.keys() for cell in theirs.cells
    ]
    assert [cell.get("execution_count") for cell in ours.cells] == [
        cell.get("execution_count") for cell in theirs.cells
    ]
    assert ours.metadata.language_info == theirs.metadata.language_info


def test_events_tell_of_cells_and_outputs(home):
    seen = []
    run(write_notebook(home / "a.ipynb", "print('one')\n2", "# Words"), watch=seen.append)
    told = [(event.what, event.index, event.status) for event in seen]
    assert told == [
        ("started", 0, "running"), ("output", 0, "running"), ("output", 0, "running"), ("ended", 0, "completed"),
        ("started", 1, "running"), ("ended", 1, "completed"),
    ]  # fmt: skip
    assert {event.total for event in seen} == {2}
    assert seen[1].output.text == "one\n"


def test_a_failed_cell_is_told_as_papermill_does(home):
    source = write_notebook(home / "a.ipynb", "print('so far')\n1 / 0", "2")
    with pytest.raises(PapermillExecutionError, match="ZeroDivisionError"):
        run(source)
    kept = read()
    assert kept.metadata.papermill.status == "failed"
    assert statuses(kept) == ["failed", "pending"]
    assert printed(kept) == "so far\n"
    assert sorted(os.listdir(home)) == ["a.ipynb", "out.ipynb"]


@pytest.mark.parametrize(
    ("cell", "options", "error"),
    [
        ("import time\nprint('so far', flush=True)\ntime.sleep(600)", {"cell_timeout_s": 1.5}, CellTimeoutError),
        ("import time\nprint('so far', flush=True)\ntime.sleep(600)", {"execution_timeout": 1}, CellTimeoutError),
        ("import os\nprint('so far', flush=True)\nimport time\ntime.sleep(1)\nos._exit(9)", {}, DeadKernelError),
    ],
    ids=["cell_timeout_s", "execution_timeout", "dead"],
)
def test_a_cell_that_never_ended_has_not_completed(cell, options, error, home):
    with pytest.raises(error):
        run(write_notebook(home / "a.ipynb", "1", cell, "2"), **options)
    kept = read()
    assert statuses(kept) == ["completed", "failed", "pending"]
    assert kept.metadata.papermill.status == "failed"
    assert printed(kept) == "so far\n"


def test_the_whole_run_has_a_limit(home):
    with pytest.raises(TimeoutError, match="longer than timeout_s=3"):
        run(write_notebook(home / "a.ipynb", "import time\ntime.sleep(600)"), timeout_s=3)
    assert read().metadata.papermill.status == "failed"


def test_a_limit_for_each_cell_of_a_report(home):
    source = write_notebook(home / "a.ipynb", "print('so far')", "import time\ntime.sleep(600)")
    with pytest.raises(lnb.ReportError, match="took longer than cell_timeout_s=2; raise cell_timeout_s") as raised:
        lnb.report(source, output="out", cell_timeout_s=2)
    assert raised.value.cell == 1
    cells = json.loads(raised.value.report.manifest.read_text())["cells"]
    assert [cell["status"] for cell in cells] == ["completed", "failed"]
    with pytest.raises(lnb.ReportError, match="cell_timeout_s must be more than 0 seconds, not 0"):
        lnb.report(source, cell_timeout_s=0)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_papermill_with_all_that_it_started(number, home):
    source = write_notebook(
        home / "a.ipynb",
        "print('so far')",
        "import os, subprocess, time\nleft = subprocess.Popen(['sleep', '600'], start_new_session=True)\n"
        "print('within', flush=True)\n"
        "open('new', 'w').write(f'{os.getpid()} {left.pid}')\nos.rename('new', 'pids')\ntime.sleep(600)",
        "print('never')",
    )
    with command(home, str(source), "out.ipynb") as process:
        pids = until(home / "pids", process).split()
        process.send_signal(number)
        said, _ = process.communicate(timeout=LONG_S)
    # Click, of which Papermill's command is made, gives 1 for Ctrl-C.
    assert process.returncode == (1 if number == signal.SIGINT else 128 + number), said
    assert not [pid for pid in pids if psutil.pid_exists(int(pid))]
    kept = read()
    assert statuses(kept) == ["completed", "cancelled", "pending"]
    assert kept.metadata.papermill.status == "cancelled"
    assert printed(kept) == "so far\nwithin\n"


def test_what_ran_can_be_read_while_it_runs_and_after_a_kill(home):
    source = write_notebook(
        home / "a.ipynb",
        "print('first')",
        "import time\nprint('within', flush=True)\nwhile True:\n    seen = open('out.ipynb').read()\n"
        "    if 'within\\\\n' in seen.partition('\"outputs\"')[2].partition('\"outputs\"')[2]:\n        break\n"
        "    time.sleep(0.1)\nopen('seen', 'w').write('yes')\ntime.sleep(600)",
    )
    with command(home, str(source), "out.ipynb") as process:
        until(home / "seen", process)
        process.kill()
        process.communicate(timeout=LONG_S)
    kept = read()
    assert statuses(kept) == ["completed", "running"]
    assert kept.metadata.papermill.status == "running"
    assert printed(kept) == "first\nwithin\n"


def test_saves_are_few_and_whole(home, monkeypatch):
    saved = []
    keep = os.replace

    def replace(name, target):
        saved.append(json.loads(Path(name).read_text()))
        keep(name, target)

    monkeypatch.setattr(os, "replace", replace)
    os.symlink("real.ipynb", "out.ipynb")
    Path("real.ipynb").write_text("")
    os.chmod("real.ipynb", 0o600)
    run(write_notebook(home / "a.ipynb", *["1"] * 50))
    # The beginning, the end, Papermill's own; and one a second while it ran, not one or two a cell.
    took_s = saved[-1]["metadata"]["papermill"]["duration"]
    assert 3 <= len(saved) <= 4 + took_s
    assert statuses(read()) == ["completed"] * 50
    assert os.path.islink("out.ipynb")
    assert os.stat("real.ipynb").st_mode & 0o777 == 0o600
    assert sorted(os.listdir(home)) == ["a.ipynb", "out.ipynb", "real.ipynb"]


def test_other_places_are_written_through_papermills_own_handlers(home):
    written = []

    class Memory:
        def write(self, text, path):
            written.append((path, nbformat.reads(text, 4)))

        def pretty_path(self, path):
            return path

    papermill_io.register("memory-of-a-test://", Memory())
    try:
        run(write_notebook(home / "a.ipynb", "print('there')"), "memory-of-a-test://b/out.ipynb")
    finally:
        papermill_io._handlers.pop(0)
    assert {path for path, _ in written} == {"memory-of-a-test://b/out.ipynb"}
    assert [notebook.metadata.papermill.status for _, notebook in (written[0], written[-1])] == ["running", "finished"]
    assert printed(written[-1][1]) == "there\n"


def test_a_folder_that_is_not_there_is_told_before_anything_runs(home):
    with pytest.raises(FileNotFoundError, match="there is no folder .*gone; make it first"):
        run(write_notebook(home / "a.ipynb", "open('ran', 'w')"), "gone/out.ipynb")
    assert not (home / "ran").exists()


def test_no_output_is_no_file(home):
    assert printed(run(write_notebook(home / "a.ipynb", "print(1)"), None)) == "1\n"
    assert os.listdir(home) == ["a.ipynb"]
    assert issubclass(Keeper, papermill.engines.NotebookExecutionManager)
