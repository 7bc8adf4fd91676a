from pathlib import Path

from lepton_nb.reports import browser


def program(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return path


def test_the_variable_comes_first(tmp_path, monkeypatch):
    named = program(tmp_path / "mine")
    monkeypatch.setenv(browser.VARIABLE, str(named))
    assert browser.find() == named
    monkeypatch.setenv(browser.VARIABLE, str(tmp_path / "gone"))
    assert browser.find() is None


def test_playwrights_newest_comes_before_the_path(tmp_path, monkeypatch):
    monkeypatch.delenv(browser.VARIABLE, raising=False)
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setenv("PLAYWRIGHT_BROWSERS_PATH", str(tmp_path / "playwright"))
    assert browser.find() is None
    installed = program(tmp_path / "bin" / "chromium")
    assert browser.find() == installed
    program(tmp_path / "playwright" / "chromium-999" / "chrome-linux" / "chrome")
    newest = program(tmp_path / "playwright" / "chromium-1187" / "chrome-linux64" / "chrome")
    assert browser.find() == newest
