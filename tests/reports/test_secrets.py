"""Secrets are told by reference, and are in nothing that a report leaves."""

import base64
import html
import json
from urllib.parse import quote

import pytest
from notebook_files import write_notebook

import lepton_nb as lnb
from lepton_nb.cli import main
from lepton_nb.cli.webapp.parameters import values
from lepton_nb.errors import ReportError
from lepton_nb.reports.parameters import check, read_source
from lepton_nb.reports.run import plan
from lepton_nb.reports.secrets import HIDDEN, Scrubber, Secret

WORD = "hunter2 & \"ö'<sons>/+"
CELL = 'password: lnb.Secret = "env:LEPTON_TEST_SECRET"'


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LEPTON_TEST_SECRET", WORD)
    return tmp_path


def left_in(folder):
    """All bytes of a report's files."""
    return b"\n".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())


def test_a_secret_that_cells_print_raise_and_record_is_in_nothing_that_is_left(home):
    source = write_notebook(
        home / "leaky.ipynb",
        "import base64, html, json, os, sys, urllib.parse\nimport lepton_nb as lnb\n"
        "word = lnb.Secret(password).reveal()\nassert len(word) == 21\nprint(password, '/', word)",
        "print(json.dumps(word), ascii(word), urllib.parse.quote(word), html.escape(word))\n"
        "print(base64.b64encode(f'user:{word}'.encode()).decode())\n"
        "os.write(1, word.encode())\nlnb.record('who', word)\nlnb.record('of', [word])",
        "import ipywidgets\nfrom IPython.display import display, HTML\n"
        "display(HTML(f'<p>{html.escape(word)}</p>'), ipywidgets.Label(word))\n{word: 1}",
        "raise RuntimeError(f'cannot connect with {word}')",
        parameters=f"import lepton_nb as lnb\n{CELL}",
    )
    with pytest.raises(ReportError) as raised:
        lnb.report(source)
    assert f"cannot connect with {HIDDEN}" in raised.value.message
    assert WORD not in repr(raised.value) + repr(raised.value.facts)
    report = raised.value.report
    left = left_in(report.folder)
    # The reference itself is no secret.
    assert b"env:LEPTON_TEST_SECRET" in left
    assert HIDDEN.encode() in left
    for form in (WORD, quote(WORD), html.escape(WORD), json.dumps(WORD)[1:-1], "hunter2"):
        assert form.encode() not in left
    assert base64.b64encode(WORD.encode())[4:-4] not in left
    assert base64.b64encode(f"user:{WORD}".encode())[9:-4] not in left
    assert report.metrics == {"who": HIDDEN, "of": [HIDDEN]}
    facts = json.loads(report.manifest.read_text())["parameters"]["password"]
    assert facts["value"] == "env:LEPTON_TEST_SECRET"
    assert facts["secret"] is True


def test_a_secret_that_is_not_there_is_told_before_anything_runs(home, monkeypatch):
    source = write_notebook(home / "a.ipynb", "1", parameters=f"{CELL}\nother: lnb.Secret | None = None")
    monkeypatch.delenv("LEPTON_TEST_SECRET")
    with pytest.raises(ReportError) as raised:
        plan(source, {"other": "file:nowhere"})
    assert len(raised.value.problems) == 2
    assert "LEPTON_TEST_SECRET is not set" in raised.value.problems[0]
    assert "cannot read the secret in" in raised.value.problems[1]
    monkeypatch.setenv("LEPTON_TEST_SECRET", "short")
    with pytest.raises(ReportError, match="fewer than 6 characters"):
        plan(source, {})


def test_a_file_is_looked_for_beside_the_notebook(home):
    (home / "inner").mkdir()
    (home / "inner" / "word").write_text("swordfish\n")
    source = write_notebook(home / "inner" / "a.ipynb", "1", parameters="password: Secret")
    assert plan(source, {"password": "file:word"}).scrub.text("<swordfish>") == f"<{HIDDEN}>"


@pytest.mark.parametrize("annotation", ["lnb.Secret", "lnb.Secret | None", "lnb.Secret | int"])
def test_what_is_no_reference_is_not_repeated(annotation):
    with pytest.raises(ReportError, match="a reference to a secret: env:NAME") as raised:
        check(read_source(f"password: {annotation}"), {"password": "swordfish"}, text=True)
    assert "swordfish" not in str(raised.value)
    with pytest.raises(ReportError) as raised:
        Secret("swordfish")
    assert "swordfish" not in str(raised.value)


def test_a_secret_written_as_the_default_is_refused_and_not_shown(home, capsys):
    source = write_notebook(home / "a.ipynb", "1", parameters="password: lnb.Secret = 'swordfish'")
    for given in ({}, {"password": "env:LEPTON_TEST_SECRET"}):
        with pytest.raises(ReportError, match="default must be a reference") as raised:
            plan(source, given)
        assert "swordfish" not in str(raised.value)
    for options in ([], ["--json"]):
        assert main(["report", "params", str(source), *options]) == 0
        assert "swordfish" not in capsys.readouterr().out


def test_secrets_are_not_in_lists_and_not_in_addresses():
    with pytest.raises(ReportError, match="a parameter of its own"):
        check(read_source("words: list[lnb.Secret]"), {"words": ["env:HOME"]})
    with pytest.raises(ReportError, match="cannot be given in an address"):
        values(read_source(CELL), "password=file:/etc/passwd")


def test_lines_of_a_key_are_kept_out_and_other_text_stays():
    scrub = Scrubber(["-----BEGIN KEY-----\nAAAABBBBCCCC\nDDDDEEEE"])
    assert scrub.text("line AAAABBBBCCCC end") == f"line {HIDDEN} end"
    assert scrub.value({"a": ["DDDDEEEE", 1, None], "b": "other"}) == {"a": [HIDDEN, 1, None], "b": "other"}
    assert Scrubber([]).text("anything") == "anything"
