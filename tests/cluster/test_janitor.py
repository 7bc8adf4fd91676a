import os
import subprocess
import sys

import pytest

from lepton_nb.cluster import janitor
from lepton_nb.cluster.scratch import Scratch


def test_members_are_those_who_signed_in_and_those_marked(tmp_path):
    code = "import sys; print('up', flush=True); sys.stdin.read()"
    environment = os.environ | {"LEPTON_NB_TEST_FOLDER": str(tmp_path)}
    with subprocess.Popen(
        [sys.executable, "-c", code], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as marked:
        assert marked.stdout.readline() == "up\n"
        assert janitor.members(str(tmp_path), "LEPTON_NB_TEST_FOLDER") == [marked.pid]
        janitor.sign_in(str(tmp_path))
        assert janitor.members(str(tmp_path), "LEPTON_NB_TEST_FOLDER") == sorted([marked.pid, os.getpid()])
        marked.stdin.close()


def test_a_reused_process_id_is_not_a_member(tmp_path):
    (tmp_path / f"{os.getpid()}-1{janitor.SIGNED_IN}").touch()
    assert janitor.members(str(tmp_path), "LEPTON_NB_TEST_FOLDER") == []


def test_the_janitor_ends_quietly_when_the_folder_is_gone(tmp_path):
    folder = tmp_path / "scratch"
    with subprocess.Popen(
        [sys.executable, "-I", "-S", janitor.__file__, folder, "X"], stdin=subprocess.PIPE
    ) as process:
        process.stdin.close()
        assert process.wait(30) == 0


def test_read_only_folders_are_removed_too(tmp_path):
    folder = tmp_path / "scratch" / "locked" / "inner"
    folder.mkdir(parents=True)
    (folder / "file").touch()
    folder.chmod(0o500)
    folder.parent.chmod(0o500)
    # Root may write everywhere, unless it gives up that right.
    humble = ["setpriv", "--bounding-set", "-dac_override", "--inh-caps", "-dac_override"] if os.geteuid() == 0 else []
    plain = [*humble, "rm", "-rf", str(tmp_path / "scratch")]
    assert subprocess.run(plain, capture_output=True).returncode == 1
    code = "import sys; from lepton_nb.cluster import janitor; sys.exit(not janitor.remove(sys.argv[1]))"
    assert subprocess.run([*humble, sys.executable, "-c", code, str(tmp_path / "scratch")]).returncode == 0
    assert not (tmp_path / "scratch").exists()


def test_what_cannot_be_removed_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(janitor, "remove", lambda folder: False)
    scratch = Scratch()
    with pytest.warns(RuntimeWarning, match=f"{scratch.path} cannot be removed whole"):
        scratch.close()
    monkeypatch.undo()
    scratch.close()
    assert not scratch.path.exists()
