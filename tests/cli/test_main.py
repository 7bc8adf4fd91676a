import subprocess
import sys

import pytest

import lepton_nb as lnb
from lepton_nb.cli import main


@pytest.mark.parametrize("words", [["--help"], ["--version"], ["report", "run", "--help"], ["app", "--help"]])
def test_help_and_version_are_light(words):
    code = (
        "import sys\n"
        "from lepton_nb.cli import main\n"
        "try:\n    main(sys.argv[1:])\nexcept SystemExit as end:\n    assert not end.code\n"
        "heavy = {'torch', 'tensorflow', 'dask', 'polars', 'plotly', 'papermill', 'nbformat', 'tornado'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "lepton-nb" in done.stdout


def test_version(capsys):
    with pytest.raises(SystemExit, match="0"):
        main(["--version"])
    assert capsys.readouterr().out == f"lepton-nb {lnb.__version__}\n"


@pytest.mark.parametrize(
    "words", [[], ["reprt"], ["report"], ["report", "run"], ["report", "run", "a.ipynb", "-p", "x"], ["app"],
              ["app", "a.ipynb", "--port", "65536"], ["lab", "--port", "x"]]
)  # fmt: skip
def test_wrong_usage_is_status_2(words, capsys):
    with pytest.raises(SystemExit, match="2"):
        main(words)
    assert "usage: lepton-nb" in capsys.readouterr().err


def test_errors_of_ours_are_one_message_and_status_1(capsys):
    assert main(["report", "run", "gone.ipynb"]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("lepton-nb: there is no notebook")
    assert "Traceback" not in err


def test_debug_shows_the_traceback():
    with pytest.raises(lnb.ReportError, match="there is no notebook"):
        main(["--debug", "report", "run", "gone.ipynb"])
