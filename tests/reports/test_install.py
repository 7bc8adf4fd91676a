import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from lepton_nb.cli import main
from lepton_nb.errors import ReportError
from lepton_nb.reports.install import UNIT, crontab, units, write

ODD = 'it\'s 100% "odd" $HOME \\ x'


def argv(folder, *options):
    start = [sys.executable, "-m", "lepton_nb.cli", "report", "schedule", "start"]
    return [*start, *options, "--ledger", str(folder / "l.sqlite"), "--", str(folder)]


@pytest.mark.parametrize("timer", [False, True])
def test_units_are_valid(tmp_path, timer):
    folder = tmp_path / "a 100% $HOME"
    folder.mkdir()
    written = write(units(folder, folder / "l.sqlite", timer=timer), tmp_path / "units")
    assert [path.name for path in written] == [f"{UNIT}.service", *([f"{UNIT}.timer"] if timer else [])]
    if shutil.which("systemd-analyze"):
        done = subprocess.run(["systemd-analyze", "verify", "--user", *written], capture_output=True, text=True)
        said = [line for line in done.stderr.splitlines() if UNIT in line]
        assert said == [], done.stderr


def test_words_survive_the_quotes_of_systemd():
    folder = Path("/") / ODD
    text = units(folder, folder / "l.sqlite")[f"{UNIT}.service"]
    line = next(line for line in text.splitlines() if line.startswith("ExecStart=")).removeprefix("ExecStart=")
    read = [word.replace("%%", "%").replace("$$", "$") for word in shlex.split(line)]
    assert read == argv(folder)


def test_words_survive_cron_and_its_shell():
    folder = Path("/") / ODD
    line = crontab(folder, folder / "l.sqlite").removeprefix("* * * * * ")
    # cron takes away the backslash before each "%", and hands the rest to the shell.
    said = subprocess.run(
        ["/bin/sh", "-c", 'printf "%s\\n" ' + line.replace(r"\%", "%")], capture_output=True, text=True, check=True
    )
    assert said.stdout.splitlines() == argv(folder, "--once")


def test_a_line_break_in_a_path_is_refused(tmp_path):
    with pytest.raises(ReportError, match="line break"):
        units(tmp_path / "a\nExecStartPost=x", tmp_path / "l")


def test_print_writes_nothing(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("HOME", str(tmp_path))
    root = Path(__file__).resolve().parents[2]
    assert main(["report", "schedule", "install", "--print", str(root / "reports")]) == 0
    assert f"{UNIT}.service" in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []
