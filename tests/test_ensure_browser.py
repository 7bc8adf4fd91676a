import os
import subprocess
import sys
from pathlib import Path

from lepton_nb.reports import browser

SCRIPT = Path(__file__).with_name("ensure_browser.py")


def ensure(**variables):
    environment = os.environ | variables
    return subprocess.run([sys.executable, SCRIPT], env=environment, capture_output=True, text=True, check=False)


def test_a_browser_that_is_there_is_named():
    done = ensure()
    assert done.returncode == 0
    assert done.stdout == f"browser for the tests: {browser.find()}\n"


def test_a_lack_fails_with_the_commands_to_run(tmp_path):
    done = ensure(**{browser.VARIABLE: str(tmp_path / "gone")})
    assert done.returncode == 1
    assert "apt-get install --yes chromium" in done.stderr
    assert "-m playwright install chromium" in done.stderr
