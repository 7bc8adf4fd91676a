"""What is installed, pinned and generated agrees with pyproject.toml; CI and Binder do what they should."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
OWN = canonicalize_name(PROJECT["name"])

NAMED_BY_THE_ENVIRONMENT = {
    "jupyterlab", "ipywidgets", "voila", "torch", "tensorflow", "dask", "dask-cuda", "plotly", "papermill",
}  # fmt: skip
TARGETS = [
    "demo",
    "test",
    "test-fast",
    "test-engines",
    "lab",
    "app",
    "lint",
    "bench",
    "pictures",
    "lock",
    "generate",
    "clean",
    "setup",
]
TARGETS += ["help"]


def pins() -> dict[str, str]:
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
    return {canonicalize_name(name): version for name, _, version in (line.partition("==") for line in lines)}


def requirements() -> list[Requirement]:
    """Those of the project and of all its extras, its own extras aside."""
    lines = [*PROJECT["dependencies"], *(line for extra in PROJECT["optional-dependencies"].values() for line in extra)]
    found = [Requirement(line) for line in lines]
    return [requirement for requirement in found if canonicalize_name(requirement.name) != OWN]


def pip_requirements(path: Path) -> list[str]:
    (pip,) = [entry["pip"] for entry in yaml.safe_load(path.read_text())["dependencies"] if isinstance(entry, dict)]
    return list(pip)


def test_constraints_are_exact_and_name_no_place() -> None:
    for line in (ROOT / "constraints.txt").read_text().splitlines():
        assert line.startswith("#") or re.fullmatch(r"[a-z0-9-]+==[0-9a-z.!]+", line), line
        assert "://" not in line


def test_everything_installed_is_pinned_at_its_version() -> None:
    pinned = pins()
    installed = {canonicalize_name(found.name): found.version.partition("+")[0] for found in metadata.distributions()}
    # pip installs the others, and is not one of them.
    loose = {name: version for name, version in installed.items() if pinned.get(name) != version}
    assert loose.keys() <= {OWN, "pip"}, f"not as in constraints.txt (run make setup, or make lock): {loose}"


@pytest.mark.parametrize("requirement", sorted(set(map(str, requirements()))))
def test_every_requirement_is_pinned_within_its_bounds(requirement: str) -> None:
    wanted = Requirement(requirement)
    assert wanted.specifier.contains(pins()[canonicalize_name(wanted.name)])


def test_all_holds_every_extra_but_dev() -> None:
    extras = PROJECT["optional-dependencies"]
    (line,) = extras["all"]
    assert Requirement(line).extras == set(extras) - {"all", "dev"}


def test_generated_files_are_up_to_date() -> None:
    done = subprocess.run(
        [sys.executable, "scripts/environments.py", "--check"], cwd=ROOT, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_a_stale_generated_file_is_named(tmp_path: Path) -> None:
    for name in ("pyproject.toml", "constraints.txt", "scripts", "binder", "environment.yml"):
        source = ROOT / name
        (shutil.copytree if source.is_dir() else shutil.copy)(source, tmp_path / name)
    text = (tmp_path / "pyproject.toml").read_text().replace("voila>=0.5.12", "voila>=0.5.11")
    (tmp_path / "pyproject.toml").write_text(text)
    command = [sys.executable, "scripts/environments.py"]
    checked = subprocess.run([*command, "--check"], cwd=tmp_path, capture_output=True, text=True)
    assert checked.returncode == 1
    assert checked.stderr == "environment.yml does not match pyproject.toml and constraints.txt; run: make generate\n"
    subprocess.run(command, cwd=tmp_path, check=True)
    subprocess.run([*command, "--check"], cwd=tmp_path, check=True)
    assert "voila>=0.5.11" in pip_requirements(tmp_path / "environment.yml")


@pytest.mark.parametrize("name", ["environment.yml", "binder/environment.yml"])
def test_environments_name_what_they_promise(name: str) -> None:
    lines = [line for line in pip_requirements(ROOT / name) if not line.startswith("--")]
    found = {canonicalize_name(wanted.name): wanted for wanted in map(Requirement, lines)}
    assert found.keys() >= NAMED_BY_THE_ENVIRONMENT
    assert found["dask"].extras == {"distributed"}
    assert str(found["dask-cuda"].marker) == 'sys_platform == "linux"'


def test_binder_stands_alone() -> None:
    # repo2docker copies this one file first, to keep the layer that it builds from it.
    lines = pip_requirements(ROOT / "binder/environment.yml")
    assert not [line for line in lines if line.startswith("-") or "==" not in line]
    assert os.access(ROOT / "binder/postBuild", os.X_OK)
    subprocess.run(["bash", "-n", "binder/postBuild"], cwd=ROOT, check=True)


def test_repo2docker_accepts_the_repository(tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    files = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in filter(None, files.split("\0")):
        if (ROOT / name).is_file():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, copy / name)
    command = [str(Path(sys.executable).parent / "jupyter-repo2docker"), "--no-build", "--debug"]
    # The image's user must not be root, whoever runs the test.
    command += ["--user-id", "1000", "--user-name", "someone", "."]
    done = subprocess.run(command, cwd=copy, capture_output=True, text=True, timeout=120)
    dockerfile = done.stdout + done.stderr
    assert done.returncode == 0, dockerfile[-2000:]
    assert '--file "binder/environment.yml"' in dockerfile
    assert "RUN ./binder/postBuild" in dockerfile
    assert "Building conda environment for python=3.11" in dockerfile


def make(*arguments: str) -> list[str]:
    """What a make says that is not told that another make started these tests."""
    environment = {
        name: value for name, value in os.environ.items() if name not in {"MAKEFLAGS", "MAKELEVEL", "MFLAGS"}
    }
    command = ["make", *arguments]
    return subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=True, env=environment
    ).stdout.splitlines()


def test_make_help_names_every_target() -> None:
    assert {line.split()[1] for line in make("help")} == set(TARGETS)


@pytest.mark.parametrize("target", [name for name in TARGETS if name not in {"help", "clean"}])
def test_every_target_sets_itself_up_first(target: str) -> None:
    assert make("-n", target)[0] == "sh scripts/setup.sh"


@pytest.mark.parametrize(
    ("failing", "status", "run"),
    [("none", 0, ["lint", "test"]), ("lint", 2, ["lint"]), ("test", 2, ["lint", "test"])],
)
def test_ci_runs_lint_and_test_and_tells_how_they_went(
    failing: str, status: int, run: list[str], tmp_path: Path
) -> None:
    log = tmp_path / "log"
    make = tmp_path / "make"
    make.write_text(f'#!/bin/sh\necho "$CI $PWD $*" >>{log}\n[ "$1" != {failing} ] || exit 2\n')
    make.chmod(0o755)
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    environment.pop("CI", None)
    done = subprocess.run(["bash", str(ROOT / ".ci/run")], cwd=tmp_path, env=environment)
    assert done.returncode == status
    assert log.read_text().splitlines() == [f"true {ROOT} {target}" for target in run]


def test_commit_hooks_fetch_nothing() -> None:
    path = ROOT / ".pre-commit-config.yaml"
    command = [str(Path(sys.executable).parent / "pre-commit"), "validate-config", str(path)]
    subprocess.run(command, check=True)
    repos = yaml.safe_load(path.read_text())["repos"]
    assert {repo["repo"] for repo in repos} == {"local"}
    assert {hook["language"] for repo in repos for hook in repo["hooks"]} == {"system"}


def test_the_command_is_installed() -> None:
    (entry,) = metadata.entry_points(group="console_scripts", name="lepton-nb")
    assert callable(entry.load())
