import os
import subprocess
import sys

from lepton_nb.cluster import janitor


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
