"""Reports that cannot be written where they should go: on a file system that really is full, or gone."""

import json
import os
import shutil
import subprocess
import sys
import tempfile

import pytest
from notebook_files import figure, write_notebook

import lepton_nb as lnb
from lepton_nb.cli import main

# The page with Plotly's library is about 700 kB, a notebook some kilobytes.
SIZE_BYTES = 2**19
RECORDED = "import lepton_nb as lnb, polars as pl\nlnb.record('all', pl.DataFrame({'n': range(3000)}));"


@pytest.fixture
def scratch(tmp_path, monkeypatch):
    """The folder for temporary files, of the test's own."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr(tempfile, "tempdir", None)
    return folder


@pytest.fixture
def small(tmp_path):
    """A folder on a file system of 512 kB."""
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={SIZE_BYTES}", "tmpfs", str(folder)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("only root can mount a file system")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_a_report_for_a_full_disk_is_kept_elsewhere(scratch, small, tmp_path):
    source = write_notebook(tmp_path / "a.ipynb", "print(6 * 7)", figure(), RECORDED)
    with pytest.raises(lnb.ReportError, match="there is no room") as caught:
        lnb.report(source, output=small / "o")
    error = caught.value
    kept = error.report.folder
    size = sum(path.stat().st_size for path in kept.iterdir())
    assert error.output == str(small / "o")
    assert f"cannot write the report to {small}/o: there is no room" in str(error)
    assert f"{size:,} bytes are needed, {shutil.disk_usage(small).free:,} bytes are free" in str(error)
    assert "choose another output folder" in str(error)
    assert f"the report is kept in {kept}" in str(error)
    assert kept.parent == scratch
    assert (kept / "table-all.parquet").exists()
    assert "42" in error.report.notebook.read_text()
    assert json.loads(error.report.manifest.read_text())["files"]["report.html"]["bytes"] > SIZE_BYTES
    assert os.listdir(small) == []


def test_an_earlier_report_survives_a_full_disk(scratch, small, tmp_path):
    first = lnb.report(write_notebook(tmp_path / "b.ipynb", "print(1)"), output=small / "o")
    with pytest.raises(lnb.ReportError, match="there is no room"):
        lnb.report(write_notebook(tmp_path / "a.ipynb", figure()), output=small / "o")
    assert os.listdir(small) == ["o"]
    assert first.notebook.exists()


def test_nothing_is_left_when_no_disk_has_room(small, tmp_path, monkeypatch):
    folder = small / "temporary"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr(tempfile, "tempdir", None)
    with pytest.raises(lnb.ReportError, match="there is no room") as caught:
        lnb.report(write_notebook(tmp_path / "a.ipynb", figure()), output=small / "o")
    assert caught.value.report is None
    assert f"nor could it be kept in {folder}" in str(caught.value)
    assert os.listdir(small) == ["temporary"]
    assert [name for name in os.listdir(folder) if name.startswith("lepton-nb-report-")] == []


def test_a_limit_on_file_sizes_is_told_too(tmp_path):
    source = write_notebook(tmp_path / "a.ipynb", figure())
    code = (
        "import resource, sys\n"
        f"resource.setrlimit(resource.RLIMIT_FSIZE, ({SIZE_BYTES}, {SIZE_BYTES}))\n"
        "from lepton_nb.cli import main\n"
        f"sys.exit(main(['report', 'run', {str(source)!r}, '-o', 'o']))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "there is no room (File too large); choose another output folder" in done.stderr
    assert "Traceback" not in done.stderr
    assert os.listdir(tmp_path) == ["a.ipynb"]


def test_a_place_that_went_away_during_the_run(scratch, tmp_path, capsys):
    source = write_notebook(tmp_path / "a.ipynb", "import shutil\nshutil.rmtree('gone')\nprint(6 * 7)")
    assert main(["report", "run", str(source), "-o", str(tmp_path / "gone" / "o")]) == 1
    err = capsys.readouterr().err
    (kept,) = scratch.glob("lepton-nb-report-*")
    assert f"cannot write the report to {tmp_path}/gone/o: No such file or directory; choose another" in err
    assert f"the report is kept in {kept}" in err
    assert "42" in (kept / "a.ipynb").read_text()
