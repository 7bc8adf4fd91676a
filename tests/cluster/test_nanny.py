import os

from lepton_nb.cluster.nanny import Borrowed


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
