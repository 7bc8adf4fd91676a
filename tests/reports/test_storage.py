"""Notebooks from, and reports to, places that fsspec and Papermill know."""

import functools
import json
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec

import fsspec
import pytest
from notebook_files import write_notebook

import lepton_nb as lnb
from lepton_nb.cli import main
from lepton_nb.errors import ReportError
from lepton_nb.reports import storage
from lepton_nb.reports.run import plan


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def memory():
    files = fsspec.filesystem("memory")
    yield files
    if files.exists("/lepton"):
        files.rm("/lepton", recursive=True)


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@pytest.fixture
def server(home):
    """The address of a web server of the current folder."""
    with ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Quiet, directory=str(home))) as made:
        thread = threading.Thread(target=made.serve_forever)
        thread.start()
        yield f"127.0.0.1:{made.server_port}"
        made.shutdown()
        thread.join()


def test_a_report_is_made_from_and_put_into_a_store_with_its_manifest_last(home, memory, monkeypatch, capsys):
    source = write_notebook(
        home / "a.ipynb", "import lepton_nb as lnb\nlnb.record('twice', 2 * n)", parameters="n: int"
    )
    memory.pipe_file("/lepton/in/delays.ipynb", source.read_bytes())
    memory.pipe_file("/lepton/out/manifest.json", b'{"files": {"old.html": {"sha256": "x"}}}')
    memory.pipe_file("/lepton/out/old.html", b"old")
    written = []
    pipe = memory.pipe_file
    monkeypatch.setattr(
        type(memory), "pipe_file", lambda self, path, *a, **k: (written.append(path), pipe(path, *a, **k))
    )
    arguments = ["report", "run", "memory://lepton/in/delays.ipynb", "-p", "n", "4", "-o", "memory://lepton/out"]
    assert main(arguments) == 0
    assert "copied to: memory://lepton/out" in capsys.readouterr().out
    assert written[-1].endswith("/manifest.json")
    names = {path.rpartition("/")[2] for path in memory.ls("/lepton/out", detail=False)} - {"kernel.log"}
    assert names == {"delays.ipynb", "manifest.json", "report.html"}
    facts = json.loads(memory.cat_file("/lepton/out/manifest.json"))
    assert facts["metrics"] == {"twice": 8}
    assert facts["notebook"]["path"] == "memory://lepton/in/delays.ipynb"
    assert len(list((home / "reports" / "out").iterdir())) == 1


def test_a_place_that_holds_other_files_is_refused_before_anything_runs(home, memory):
    source = write_notebook(home / "a.ipynb", "1")
    memory.pipe_file("/lepton/out/thesis.txt", b"years of work")
    with pytest.raises(ReportError, match=r"not of an earlier report: thesis\.txt"):
        plan(source, {}, output="memory://lepton/out")


def test_a_failed_copy_says_where_the_report_is(home, memory, monkeypatch):
    (home / "made").mkdir()
    (home / "made" / "manifest.json").write_text("{}")

    def full(*_, **__):
        raise OSError("no room for https://me:word@host/x?signature=abc")

    monkeypatch.setattr(type(memory), "pipe_file", full)
    with pytest.raises(ReportError, match="it is kept in") as raised:
        storage.Target("memory://lepton/out").upload(home / "made")
    assert "https://host/x" in raised.value.message
    assert "word" not in raised.value.message
    assert "abc" not in raised.value.message


def test_a_notebook_is_read_from_the_web_and_no_credential_is_shown(home, server):
    source = write_notebook(home / "a.ipynb", "1", parameters="n: int = 2")
    planned = plan(f"http://me:word@{server}/a.ipynb?key=abc", {"n": 3})
    assert planned.values == {"n": 3}
    assert planned.fetched.shown == f"http://{server}/a.ipynb"
    kept = planned.source.parent
    assert kept.exists()
    del planned
    assert not kept.exists()
    with pytest.raises(ReportError, match="cannot read http://127") as raised:
        plan(f"http://me:word@{server}/none.ipynb?key=abc", {})
    assert "word" not in str(raised.value)
    assert "abc" not in str(raised.value)
    with pytest.raises(ReportError, match="can only be read"):
        plan(source, {}, output=f"http://{server}/out")


@pytest.mark.parametrize(
    "name", ["..%2F..%2Fescape.ipynb", "%2e%2e", ".ipynb", "a\\..\\b.ipynb", "-rf.ipynb", "%00.ipynb"]
)
def test_the_name_of_a_fetched_notebook_stays_in_its_folder(name, monkeypatch):
    monkeypatch.setattr(storage, "_read", lambda url: "{}")
    fetched = storage.fetch(f"memory://lepton/{name}")
    assert [path.name for path in fetched.path.parent.iterdir()] == [fetched.path.name]
    assert fetched.path.parent.name.startswith("lepton-nb-notebook-")
    assert fetched.path.suffix == ".ipynb"


@pytest.mark.skipif(find_spec("s3fs") is not None or find_spec("boto3") is not None, reason="s3:// works here")
def test_a_missing_package_is_named(home):
    with pytest.raises(ReportError, match="pip install s3fs"):
        plan("s3://bucket/a.ipynb", {})
    source = write_notebook(home / "a.ipynb", "1")
    with pytest.raises(ReportError, match="pip install s3fs"):
        plan(source, {}, output="s3://bucket/out")


def test_unknown_kinds_of_address_are_told_and_file_addresses_are_paths(home):
    with pytest.raises(ReportError, match="cannot use nowhere://x"):
        plan("nowhere://x/a.ipynb", {})
    source = write_notebook(home / "a b.ipynb", "1")
    assert plan(source.as_uri(), {}, output=(home / "out").as_uri()).source == source
    assert not storage.remote(source.as_uri())
    assert lnb.Secret("env:HOME").reference == "env:HOME"
