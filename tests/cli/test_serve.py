import socket
import urllib.error
import urllib.request

import psutil
import pytest
from notebook_files import write_notebook
from serving import END_S, address, command, patient

from lepton_nb.cli import main


@pytest.fixture
def taken():
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.mark.slow
def test_lab_listens_on_loopback_with_a_token(tmp_path):
    with command("lab", str(tmp_path), "--no-browser", "--port", "0", cwd=tmp_path) as process:
        url = address(process, r"http://127\.0\.0\.1:\d+/lab\?token=[0-9a-f]{48}")
        server = url.partition("/lab")[0]
        with urllib.request.urlopen(patient(url)) as answer:
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
