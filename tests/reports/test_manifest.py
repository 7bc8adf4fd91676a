import hashlib
import json
import subprocess

import pytest

from lepton_nb.reports import manifest


@pytest.fixture
def repository(tmp_path):
    def git(*words):
        identity = ["-c", "user.name=A", "-c", "user.email=a@example.org"]
        subprocess.run(["git", *identity, *words], cwd=tmp_path, check=True, capture_output=True)

    git("init")
    (tmp_path / "a.txt").write_text("one")
    git("add", "a.txt")
    git("commit", "--message", "First")
    return tmp_path


def test_the_commit_is_known_and_whether_it_was_changed(repository):
    clean = manifest.git(repository)
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=repository, check=True, capture_output=True, text=True)
    assert clean == {"commit": head.stdout.strip(), "dirty": False, "diff_sha256": None}
    (repository / "report").mkdir()
    (repository / "report" / "report.html").write_text("untracked")
    assert manifest.git(repository) == clean
    (repository / "a.txt").write_text("two")
    changed = manifest.git(repository)
    assert changed == {**clean, "dirty": True, "diff_sha256": changed["diff_sha256"]}
    assert len(changed["diff_sha256"]) == 64
    (repository / "a.txt").write_text("three")
    assert manifest.git(repository)["diff_sha256"] != changed["diff_sha256"]


def test_outside_of_a_repository_or_without_git_there_is_no_commit(tmp_path, repository, monkeypatch):
    outside = tmp_path.parent / f"{tmp_path.name}-outside"
    outside.mkdir()
    assert manifest.git(outside) is None
    monkeypatch.setenv("PATH", str(outside))
    assert manifest.git(repository) is None


def test_a_notebook_is_named_without_the_folders_of_the_machine(repository, tmp_path_factory, monkeypatch):
    (repository / "deep").mkdir()
    assert manifest.place(repository / "deep" / "a.ipynb") == "deep/a.ipynb"
    outside = tmp_path_factory.mktemp("outside")
    assert manifest.place(outside / "a.ipynb") == "a.ipynb"
    monkeypatch.chdir(outside.parent)
    assert manifest.place(outside / "a.ipynb") == f"{outside.name}/a.ipynb"


def test_files_are_hashed_and_missing_ones_left_out(tmp_path):
    path = tmp_path / "a.bin"
    path.write_bytes(b"abc")
    assert manifest.files(path, tmp_path / "gone") == {
        "a.bin": {"sha256": hashlib.sha256(b"abc").hexdigest(), "bytes": 3}
    }


def test_the_file_is_strict_json(tmp_path):
    with pytest.raises(ValueError, match="JSON"):
        manifest.write({"a": float("nan")}, tmp_path / "m.json")
    manifest.write({"a": "é"}, tmp_path / "m.json")
    assert json.loads((tmp_path / "m.json").read_text(encoding="utf-8")) == {"a": "é"}


def test_packages_that_are_not_installed_have_no_version(monkeypatch):
    monkeypatch.setattr(manifest, "PACKAGES", ("polars", "no-such-package-here"))
    found = manifest.versions()
    assert found["polars"]
    assert found["no-such-package-here"] is None
