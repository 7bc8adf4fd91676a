import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from lepton_nb.errors import ReportError
from lepton_nb.reports.definition import Definition, Email, Notification, Outputs
from lepton_nb.reports.notify import deliver, message, resolve

ODD = 'it\'s "$(touch hacked)" <b> ; rm -rf ../x\nsecond line'


def told(event="failure"):
    one = Definition(
        name="one", path=Path("one.yaml"), notebook=Path("n.ipynb"), parameters={}, schedule=None,
        outputs=Outputs(folder=Path("out")),
    )  # fmt: skip
    return message(one, event, "2026-11-27T12:00:00+00:00", {"error": ODD, "attempt": 1, "report": "/r"})


@pytest.fixture
def server():
    """A web server that keeps what it is sent, and answers 500 or a redirect where it is asked to."""
    got = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            got.append(self.rfile.read(int(self.headers["Content-Length"])))
            path = self.path.partition("?")[0]
            self.send_response({"/away": 302, "/broken": 500}.get(path, 200))
            if path == "/away":
                self.send_header("Location", "/elsewhere")
            self.end_headers()

        def log_message(self, *arguments):
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as http:
        thread = threading.Thread(target=http.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{http.server_port}", got
        http.shutdown()
        thread.join()


def test_a_command_gets_the_facts_as_data(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code = (
        "import os, sys; open('got', 'w').write(sys.stdin.read()); "
        "open('error', 'w').write(os.environ['LEPTON_NB_ERROR'])"
    )
    one = Notification(on=("failure",), command=(sys.executable, "-c", code))
    assert deliver([one], told("recovery")) == []
    assert not (tmp_path / "got").exists()
    assert deliver([one], told()) == []
    assert json.loads((tmp_path / "got").read_text()) == told()
    assert (tmp_path / "error").read_text() == ODD
    assert not (tmp_path / "hacked").exists()


def test_a_command_that_fails_is_told_of():
    failing = Notification(on=("failure",), command=(sys.executable, "-c", "raise SystemExit('no way')"))
    absent = Notification(on=("failure",), command=("/no/such/program",))
    first, second = deliver([failing, absent], told())
    assert "status 1: no way" in first
    assert "could not be started" in second


def test_a_webhook_is_sent_json_and_its_address_stays_secret(server, monkeypatch):
    address, got = server
    monkeypatch.setenv("HOOK", f"{address}/good?key=hunter2")
    assert deliver([Notification(on=("failure",), webhook="env:HOOK")], told()) == []
    assert json.loads(got[0]) == told()
    for path in ("broken", "away"):
        monkeypatch.setenv("HOOK", f"{address}/{path}?key=hunter2")
        (problem,) = deliver([Notification(on=("failure",), webhook="env:HOOK")], told())
        assert "env:HOOK answered" in problem
        assert "hunter2" not in problem
    assert len(got) == 3
    monkeypatch.setenv("HOOK", "file:///etc/passwd")
    assert "is no address" in deliver([Notification(on=("failure",), webhook="env:HOOK")], told())[0]


def test_an_e_mail_that_cannot_be_sent_is_told_of_without_its_password(monkeypatch):
    monkeypatch.setenv("WORD", "hunter2")
    email = Email(
        to=("a@example.org",), sender="b@example.org", host="127.0.0.1", port=1, encryption="starttls", user="u",
        password="env:WORD",
    )  # fmt: skip
    (problem,) = deliver([Notification(on=("failure",), email=email)], told())
    assert "no e-mail could be sent by 127.0.0.1:1" in problem
    assert "hunter2" not in problem


def test_secrets_are_references(tmp_path, monkeypatch):
    (tmp_path / "word").write_text("hunter2\n")
    monkeypatch.delenv("NOT_THERE", raising=False)
    assert resolve(f"file:{tmp_path}/word") == "hunter2"
    for reference in ("env:NOT_THERE", f"file:{tmp_path}/none"):
        with pytest.raises(ReportError, match=reference):
            resolve(reference)
