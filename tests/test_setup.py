"""scripts/setup.sh with a real Python and a real pip, on a project that needs nothing from any network."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

# A build backend inside the project: pip needs no other package to install it.
BACKEND = """
import zipfile

def build_editable(folder, config_settings=None, metadata_directory=None):
    name = "tiny-1.0-py3-none-any.whl"
    with zipfile.ZipFile(f"{folder}/{name}", "w") as wheel:
        info = "tiny-1.0.dist-info"
        wheel.writestr("tiny.py", "")
        wheel.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\\nName: tiny\\nVersion: 1.0\\nProvides-Extra: all\\nProvides-Extra: dev\\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\\nGenerator: tiny\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
        wheel.writestr(f"{info}/RECORD", "")
    return name

build_wheel = build_editable
"""  # noqa: E501

VERSION = f"{sys.version_info.major}.{sys.version_info.minor}"
BASE_PYTHON = Path(sys.base_exec_prefix) / "bin" / f"python{VERSION}"
TOOLS = ["sh", "awk", "cat", "cksum", "cut", "df", "dirname", "du", "flock", "grep", "head", "rm", "tail", "tr"]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "a project"
    (folder / "scripts").mkdir(parents=True)
    shutil.copy(ROOT / "scripts/setup.sh", folder / "scripts")
    (folder / "pyproject.toml").write_text(
        '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
        '[project]\nname = "tiny"\nversion = "1.0"\n'
    )
    (folder / "backend.py").write_text(BACKEND)
    (folder / "constraints.txt").write_text("")
    return folder


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    """A folder for PATH with the tools that the script uses and no Python."""
    folder = tmp_path / "programs"
    folder.mkdir()
    for name in TOOLS:
        found = shutil.which(name)
        if found:
            (folder / name).symlink_to(found)
    return folder


def script(path: Path, text: str) -> None:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


def setup(project: Path, path: str, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": path, "HOME": str(project), "PIP_NO_INDEX": "1", **variables}
    return subprocess.run(["sh", "scripts/setup.sh"], cwd=project, env=environment, capture_output=True, text=True)


def real_python(programs: Path, name: str = "python3.11") -> None:
    # A link would make venv think that the base installation lies beside it.
    script(programs / name, f'exec "{BASE_PYTHON}" "$@"')


def installed(project: Path) -> bool:
    return (project / ".venv/installed").is_file()


def test_without_a_python_one_line_says_what_to_do(project: Path, programs: Path) -> None:
    done = setup(project, str(programs))
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert "no Python 3.11, 3.12 or 3.13 found; install one" in done.stderr
    assert not (project / ".venv").exists()


def test_a_python_that_does_not_run_or_is_too_old_is_passed_over(project: Path, programs: Path, tmp_path: Path) -> None:
    shims = tmp_path / "shims"
    shims.mkdir()
    script(shims / "python3.11", "echo 'pyenv: python3.11: command not found' >&2; exit 127")
    script(shims / "python3", "exit 1")
    real_python(programs)
    done = setup(project, f"{shims}:{programs}")
    assert done.returncode == 0, done.stderr
    assert installed(project)


def test_a_named_python_that_does_not_work_is_an_error(project: Path, programs: Path) -> None:
    real_python(programs)
    done = setup(project, str(programs), PYTHON="/nowhere/python3")
    assert done.returncode == 1
    assert (
        done.stderr
        == "setup: PYTHON=/nowhere/python3 is no working Python 3.11, 3.12 or 3.13; unset it or name another\n"
    )


def test_a_python_without_venv_gets_the_package_to_install(project: Path, programs: Path, tmp_path: Path) -> None:
    hidden = tmp_path / "hidden"
    hidden.mkdir()
    (hidden / "ensurepip.py").write_text("raise ImportError('not packaged')")
    script(programs / "python3.12", f'PYTHONPATH="{hidden}" exec "{BASE_PYTHON}" "$@"')
    done = setup(project, str(programs))
    assert done.returncode == 1
    assert done.stderr.endswith(
        f"python3.12 lacks the venv module; install it (Debian, Ubuntu: apt install python{VERSION}-venv)\n"
    )
    # Another one that has it is taken instead, though it comes later.
    real_python(programs, "python3")
    assert setup(project, str(programs)).returncode == 0


def test_a_full_disk_is_told_before_anything_is_written(project: Path, programs: Path) -> None:
    real_python(programs)
    (programs / "df").unlink()
    script(programs / "df", "echo header; echo /dev/x 100 90 10000 90% /")
    done = setup(project, str(programs))
    assert done.returncode == 1
    assert done.stderr.startswith("setup: 10 MB are free on this disk and .venv needs 6 GB")
    assert not (project / ".venv").exists()


def test_done_once_changed_interrupted_failed_and_copied(project: Path, programs: Path, tmp_path: Path) -> None:
    real_python(programs)
    path = str(programs)
    first = setup(project, path)
    assert first.returncode == 0, first.stderr
    assert first.stdout.startswith("Installing")
    subprocess.run([project / ".venv/bin/python", "-c", "import tiny"], check=True)

    assert setup(project, path).stdout == ""

    (project / "constraints.txt").write_text("# newer\n")
    assert setup(project, path).stdout.startswith("Installing")
    assert setup(project, path).stdout == ""

    # Nothing but the stamp tells a whole environment from half of one.
    (project / ".venv/installed").unlink()
    assert setup(project, path).stdout.startswith("Installing")

    good = (project / "pyproject.toml").read_text()
    (project / "pyproject.toml").write_text(good + 'dependencies = ["not-there-at-all"]\n')
    (project / "backend.py").write_text(
        BACKEND.replace("Version: 1.0\\n", "Version: 1.0\\nRequires-Dist: not-there-at-all\\n", 1)
    )
    failed = setup(project, path)
    assert failed.returncode == 1
    assert "not-there-at-all" in failed.stderr
    assert failed.stderr.splitlines()[-1].startswith("setup: pip failed: its last lines are above")
    assert not installed(project)

    (project / "pyproject.toml").write_text(good)
    (project / "backend.py").write_text(BACKEND)
    assert setup(project, path).returncode == 0

    copied = tmp_path / "copied"
    shutil.copytree(project, copied, symlinks=True)
    (project / ".venv/canary").write_text("")
    assert setup(copied, path).stdout.startswith("Installing")
    pip = subprocess.run([copied / ".venv/bin/pip", "--version"], capture_output=True, text=True, check=True)
    assert str(copied / ".venv") in pip.stdout
    assert (project / ".venv/canary").exists()


def test_an_environment_whose_python_is_gone_is_made_anew(project: Path, programs: Path) -> None:
    real_python(programs)
    assert setup(project, str(programs)).returncode == 0
    for name in ("python", "python3", "python3.11"):
        (project / ".venv/bin" / name).unlink(missing_ok=True)
    os.symlink("/nowhere/python3.11", project / ".venv/bin/python")
    assert setup(project, str(programs)).returncode == 0
    subprocess.run([project / ".venv/bin/python", "-c", "import tiny"], check=True)


@pytest.mark.skipif(
    shutil.which("flock") is None, reason="flock is not installed: two makes at once are not kept apart"
)
def test_two_at_once_install_once(project: Path, programs: Path) -> None:
    real_python(programs)
    environment = {"PATH": str(programs), "HOME": str(project), "PIP_NO_INDEX": "1"}
    command = ["sh", "scripts/setup.sh"]
    both = [
        subprocess.Popen(
            command, cwd=project, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        for _ in range(2)
    ]
    said = [process.communicate()[0] for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    assert sorted(text.startswith("Installing") for text in said) == [False, True]
