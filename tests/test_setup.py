"""scripts/setup.sh with a real Python and a real pip, on a project that needs nothing from any network."""

import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

PYPROJECT = """
[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]

[project]
name = "tiny"
version = "1.0"
"""
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


def make_project(folder: Path) -> Path:
    (folder / "scripts").mkdir(parents=True)
    shutil.copy(ROOT / "scripts/setup.sh", folder / "scripts")
    (folder / "pyproject.toml").write_text(PYPROJECT)
    (folder / "backend.py").write_text(BACKEND)
    (folder / "constraints.txt").write_text("")
    return folder


def make_programs(folder: Path) -> Path:
    """A folder for PATH with the tools that the script uses and no Python."""
    folder.mkdir()
    for name in TOOLS:
        if found := shutil.which(name):
            (folder / name).symlink_to(found)
    return folder


def script(path: Path, text: str) -> None:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


def add_python(programs: Path, name: str) -> None:
    # A link would make venv look for the base installation beside it.
    script(programs / name, f'exec "{BASE_PYTHON}" "$@"')


def start(project: Path, path: str, **variables: str) -> subprocess.Popen[str]:
    environment = {"PATH": path, "HOME": str(project), "PIP_NO_INDEX": "1", **variables}
    command = ["sh", "scripts/setup.sh"]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, cwd=project, env=environment, stdout=pipe, stderr=pipe, text=True)


def setup(project: Path, path: str, **variables: str) -> tuple[int, str, str]:
    """Status, stdout and stderr of a run."""
    process = start(project, path, **variables)
    out, err = process.communicate()
    return process.returncode, out, err


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Nothing has been set up here, and no test gets further than the search for a Python."""
    return make_project(tmp_path / "a project")


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    return make_programs(tmp_path / "programs")


@dataclass
class Installed:
    """A project that is set up. A test may spoil it: the next run mends it."""

    project: Path
    path: str

    def setup(self) -> tuple[int, str, str]:
        return setup(self.project, self.path)

    def did_work(self) -> bool:
        status, out, err = self.setup()
        assert status == 0, err
        assert (self.project / ".venv/installed").is_file()
        subprocess.run([self.project / ".venv/bin/python", "-c", "import tiny"], check=True)
        return out.startswith("Installing")


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """On PATH a shim that does not run comes first, then a Python without venv, then one that is whole."""
    folder = tmp_path_factory.mktemp("setup")
    programs = make_programs(folder / "programs")
    script(programs / "python3.11", "echo 'pyenv: python3.11: command not found' >&2; exit 127")
    hide_venv(programs / "python3.12", folder)
    add_python(programs, "python3")
    return Installed(make_project(folder / "a project"), str(programs))


def hide_venv(python: Path, folder: Path) -> None:
    (folder / "ensurepip.py").write_text("raise ImportError('not packaged')")
    script(python, f'PYTHONPATH="{folder}" exec "{BASE_PYTHON}" "$@"')


def test_without_a_python_one_line_says_what_to_do(project: Path, programs: Path) -> None:
    status, _, err = setup(project, str(programs))
    assert status == 1
    assert len(err.splitlines()) == 1
    assert "no Python 3.11, 3.12 or 3.13 found; install one" in err
    assert not (project / ".venv").exists()


def test_a_named_python_that_does_not_work_is_an_error(project: Path, programs: Path) -> None:
    add_python(programs, "python3")
    status, _, err = setup(project, str(programs), PYTHON="/nowhere/python3")
    assert status == 1
    assert err == "setup: PYTHON=/nowhere/python3 is no working Python 3.11, 3.12 or 3.13; unset it or name another\n"


def test_a_python_without_venv_gets_the_package_to_install(project: Path, programs: Path, tmp_path: Path) -> None:
    hide_venv(programs / "python3.12", tmp_path)
    status, _, err = setup(project, str(programs))
    assert status == 1
    assert err == (
        f"setup: {programs}/python3.12 lacks the venv module; "
        f"install it (Debian, Ubuntu: apt install python{VERSION}-venv)\n"
    )


def test_a_full_disk_is_told_before_anything_is_written(project: Path, programs: Path) -> None:
    add_python(programs, "python3")
    (programs / "df").unlink()
    script(programs / "df", "echo header; echo /dev/x 100 90 10000 90% /")
    status, _, err = setup(project, str(programs))
    assert status == 1
    assert err.startswith("setup: 10 MB are free on this disk and .venv needs 12 GB")
    assert not (project / ".venv").exists()


@pytest.mark.skipif(
    shutil.which("flock") is None, reason="flock is not installed: two makes at once are not kept apart"
)
def test_of_two_at_once_one_installs(installed: Installed) -> None:
    shutil.rmtree(installed.project / ".venv", ignore_errors=True)
    both = [start(installed.project, installed.path) for _ in range(2)]
    said = [process.communicate() for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    assert sorted(out.startswith("Installing") for out, _ in said) == [False, True]


def test_what_is_done_is_skipped_until_the_pins_change(installed: Installed) -> None:
    installed.setup()
    assert not installed.did_work()
    with (installed.project / "constraints.txt").open("a") as file:
        file.write("# newer\n")
    assert installed.did_work()
    assert not installed.did_work()


def test_half_an_environment_is_completed(installed: Installed) -> None:
    installed.setup()
    # Nothing but the stamp tells a whole environment from half of one.
    (installed.project / ".venv/installed").unlink()
    assert installed.did_work()


def test_when_pip_fails_its_last_lines_are_shown_and_nothing_counts_as_done(installed: Installed) -> None:
    project = installed.project
    (project / "pyproject.toml").write_text(PYPROJECT + 'dependencies = ["not-there-at-all"]\n')
    (project / "backend.py").write_text(
        BACKEND.replace("Version: 1.0", "Version: 1.0\\nRequires-Dist: not-there-at-all", 1)
    )
    try:
        status, _, err = installed.setup()
    finally:
        (project / "pyproject.toml").write_text(PYPROJECT)
        (project / "backend.py").write_text(BACKEND)
    assert status == 1
    assert "No matching distribution found for not-there-at-all" in err
    assert err.splitlines()[-1].startswith("setup: pip failed: its last lines are above")
    assert not (project / ".venv/installed").exists()
    assert installed.did_work()


def test_a_copy_elsewhere_gets_an_environment_of_its_own(installed: Installed, tmp_path: Path) -> None:
    installed.setup()
    copy = Installed(tmp_path / "copy", installed.path)
    shutil.copytree(installed.project, copy.project, symlinks=True)
    (installed.project / ".venv/canary").write_text("")
    assert copy.did_work()
    said = subprocess.run([copy.project / ".venv/bin/pip", "--version"], capture_output=True, text=True, check=True)
    assert str(copy.project / ".venv") in said.stdout
    # Nor has the first one been touched, which a program of the copy would have done.
    assert (installed.project / ".venv/canary").exists()
    assert not installed.did_work()


def test_an_environment_whose_python_is_gone_is_made_anew(installed: Installed) -> None:
    installed.setup()
    for link in (installed.project / ".venv/bin").glob("python*"):
        link.unlink()
        link.symlink_to("/nowhere/python3.11")
    assert installed.did_work()
