import contextlib
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

import psutil
import pytest
from browsing import visiting
from notebook_files import figure, write_notebook

from lepton_nb.cli import main

END_S = 60


@contextlib.contextmanager
def command(*words, cwd):
    """`lepton-nb` in a process of its own, ended in any case."""
    with subprocess.Popen(
        [sys.executable, "-m", "lepton_nb.cli", *words],
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            if process.poll() is None:
                process.terminate()
                try:
                    process.communicate(timeout=END_S)
                except subprocess.TimeoutExpired:
                    process.kill()


def address(process, pattern):
    """The first address in what the process prints."""
    lines = []
    for line in process.stdout:
        lines.append(line)
        found = re.search(pattern, line)
        if found:
            return found[0]
    raise AssertionError("".join(lines))


def _patient(url):
    """`url`, once its port accepts connections: the server prints it a moment earlier."""
    host, port = url.split("/")[2].split(":")
    deadline = time.monotonic() + END_S
    while True:
        try:
            socket.create_connection((host, int(port)), timeout=END_S).close()
            return url
        except ConnectionRefusedError:
            assert time.monotonic() < deadline
            time.sleep(0.05)


@pytest.fixture
def taken():
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.mark.slow
@pytest.mark.browser
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_app_shows_its_figures_asks_nobody_and_ends_with_its_kernel(number, tmp_path):
    notebook = write_notebook(
        tmp_path / "app.ipynb",
        "# An app with $x^2$\n",
        "import lepton_nb as lnb\n"
        "cluster = lnb.Cluster(workers=2, memory='500MB')\n"
        "print('mode', lnb.mode(), len(cluster.workers))",
        figure("In the app"),
        "import ipywidgets\nipywidgets.Button(description='Press', icon='play')",
    )
    with command("app", str(notebook), "--no-browser", cwd=tmp_path) as process:
        url = address(process, r"http://127\.0\.0\.1:\d+/")
        with visiting() as visit:
            visit.page.goto(url)
            visit.page.wait_for_selector(".js-plotly-plot .main-svg .trace", timeout=60_000)
            visit.page.wait_for_selector("button:has-text('Press')")
            assert visit.page.locator(".js-plotly-plot").count() == 1
            assert visit.page.get_by_text("mode app 2").count() == 1
            assert visit.page.locator("button i.fa-play").count() == 1
            icon = "getComputedStyle(document.querySelector('button i.fa-play'), '::before').content"
            assert visit.page.evaluate(icon) not in ("none", "normal", "")
        family = psutil.Process(process.pid).children(recursive=True)
        assert len(family) >= 3
        process.send_signal(number)
        process.communicate(timeout=END_S)
    assert process.returncode == 0
    _, alive = psutil.wait_procs(family, timeout=15)
    assert alive == []
    assert visit.outside(url, url.replace("http:", "ws:")) == []
    assert visit.failed == []
    assert visit.errors == []


@pytest.mark.slow
@pytest.mark.browser
def test_a_closed_page_ends_its_kernel_and_the_kernels_cluster(tmp_path):
    notebook = write_notebook(
        tmp_path / "app.ipynb",
        "import lepton_nb as lnb\ncluster = lnb.Cluster(workers=2, memory='500MB')",
        figure("In the app"),
    )
    with command("app", str(notebook), "--no-browser", cwd=tmp_path) as process:
        url = address(process, r"http://127\.0\.0\.1:\d+/")
        with visiting() as visit:
            visit.page.goto(url)
            visit.page.wait_for_selector(".js-plotly-plot .main-svg .trace", timeout=60_000)
            family = psutil.Process(process.pid).children(recursive=True)
            assert len(family) >= 3
            visit.page.close(run_before_unload=True)
            _, alive = psutil.wait_procs(family, timeout=30)
            assert alive == []
        assert process.poll() is None


@pytest.mark.slow
def test_lab_listens_on_loopback_with_a_token(tmp_path):
    with command("lab", str(tmp_path), "--no-browser", "--port", "0", cwd=tmp_path) as process:
        url = address(process, r"http://127\.0\.0\.1:\d+/lab\?token=[0-9a-f]{48}")
        server = url.partition("/lab")[0]
        with urllib.request.urlopen(_patient(url)) as answer:
            assert "JupyterLab" in answer.read().decode()
        with pytest.raises(urllib.error.HTTPError, match="403"):
            urllib.request.urlopen(f"{server}/api/contents")
        listening = [one for one in psutil.Process(process.pid).net_connections() if one.status == psutil.CONN_LISTEN]
        assert {one.laddr.ip for one in listening} == {"127.0.0.1"}
        process.terminate()
        process.communicate(timeout=END_S)


@pytest.mark.parametrize("words", [["app", "app.ipynb"], ["lab", "."]])
def test_a_port_in_use_is_told_before_anything_starts(words, taken, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write_notebook(tmp_path / "app.ipynb", "1")
    assert main([*words, "--port", str(taken), "--no-browser"]) == 1
    err = capsys.readouterr().err
    assert (
        f"port={taken} cannot be used on 127.0.0.1 (Address already in use); choose another, or 0 for any free" in err
    )


def test_a_port_is_a_number_from_0_to_65535(capsys):
    for text in ("-1", "65536", "x"):
        with pytest.raises(SystemExit, match="2"):
            main(["lab", f"--port={text}"])
    assert "a port is a number from 0 to 65535" in capsys.readouterr().err


def test_what_is_not_there(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["app", "gone.ipynb", "--no-browser"]) == 1
    assert "there is no notebook gone.ipynb" in capsys.readouterr().err
    assert main(["lab", "gone", "--no-browser"]) == 1
    assert "there is no folder gone" in capsys.readouterr().err
