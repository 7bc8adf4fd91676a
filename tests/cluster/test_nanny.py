import os

import pytest

from lepton_nb.cluster.nanny import Borrowed, death


def test_variables_come_back_when_the_last_user_is_done(monkeypatch):
    monkeypatch.setenv("LNB_SET", "before")
    monkeypatch.delenv("LNB_UNSET", raising=False)
    borrowed = Borrowed()
    with borrowed.variables(["LNB_SET", "LNB_UNSET"]):
        os.environ.update(LNB_SET="1", LNB_UNSET="1")
        with borrowed.variables(["LNB_SET"]):
            os.environ["LNB_SET"] = "2"
        assert os.environ["LNB_SET"] == "2"
    assert os.environ["LNB_SET"] == "before"
    assert "LNB_UNSET" not in os.environ


@pytest.mark.parametrize(
    ("exit_code", "words"),
    [
        (0, "its process ended with exit code 0"),
        (3, "its process ended with exit code 3"),
        (-9, "its process was killed by signal 9 (SIGKILL)"),
        (-250, "its process was killed by signal 250"),
    ],
)
def test_an_exit_code_is_put_in_words(exit_code, words):
    assert death(exit_code) == words
