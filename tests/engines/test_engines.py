"""The comparison of all engines, where their environment is there: `make test-engines` makes it and runs this, too."""

import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parent
INSTALLED = FOLDER.parents[1] / ".venv-engines" / "installed"


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.skipif(not INSTALLED.exists(), reason="no .venv-engines; `make test-engines` makes it")
def test_all_engines_give_the_same_rows():
    command = [sys.executable, FOLDER / "compare.py"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-5_000:] + done.stderr[-5_000:]
    lines = done.stdout.splitlines()
    for engine in ("duckdb", "spark", "flink", "flink stream", "beam"):
        assert any(line.startswith(f"{engine} ") and " rows equal" in line for line in lines), engine
