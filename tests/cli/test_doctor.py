import importlib.metadata
import json
import platform

from lepton_nb.cli import main
from lepton_nb.cli.doctor import parts
from lepton_nb.reports import browser


def test_doctor_says_what_is_here_and_what_would_be_used(capsys, cluster):
    assert main(["doctor"]) == 0
    out = capsys.readouterr().out
    assert platform.python_version() in out
    assert cluster.reason in out
    for line in cluster.hardware.describe():
        assert line in out


def test_doctor_speaks_json(capsys):
    assert main(["doctor", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["python"]["version"] == platform.python_version()
    assert found["parts"]["figures"]["installed"]["plotly"] == importlib.metadata.version("plotly")
    assert found["disk_free_bytes"] > 0


def test_missing_parts_come_with_the_command_that_installs_them(monkeypatch, capsys):
    known = importlib.metadata.version

    def version(package):
        if package == "torch":
            raise importlib.metadata.PackageNotFoundError(package)
        return known(package)

    monkeypatch.setattr(importlib.metadata, "version", version)
    assert parts()["torch"]["missing"] == ["torch"]
    assert main(["doctor"]) == 0
    assert 'missing torch; install: pip install "lepton-nb[torch]"' in capsys.readouterr().out


def test_a_missing_browser_is_told(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv(browser.VARIABLE, str(tmp_path / "gone"))
    assert main(["doctor"]) == 0
    assert "install chromium" in capsys.readouterr().out


def test_parts_are_the_extras_without_everything_and_development():
    found = parts()
    assert {"cluster", "figures", "torch", "tensorflow", "data", "reports", "lab", "app"} <= set(found)
    assert not {"all", "dev"} & set(found)
