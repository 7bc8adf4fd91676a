from pathlib import Path

import pytest
from notebook_files import write_notebook

from lepton_nb.errors import ReportError
from lepton_nb.reports.definition import load, load_all

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def write(tmp_path):
    write_notebook(tmp_path / "n.ipynb", "x = 1", parameters="epochs: int = 3\nname: str = 'x'\nrate: float = 0.1")

    def write(text, name="one.yaml"):
        (tmp_path / name).write_text(text)
        return tmp_path / name

    return write


def test_a_definition_says_what_is_run_and_when(write, tmp_path):
    one = load(
        write("""
notebook: n.ipynb
parameters: {epochs: 5, name: "on", rate: 1e-3}
schedule: {cron: "30 2 * * *", time_zone: Europe/Berlin, missed: all, missed_limit: 3}
retries: {count: 2, wait_s: 10, factor: 3, longest_s: 50}
timeout_s: 60
outputs: {folder: made, show_code: true}
notifications:
  - on: [failure, recovery]
    command: [tell, "$(me)"]
  - on: failure
    webhook: env:HOOK
  - on: [failure]
    email: {to: [a@example.org], from: b@example.org, host: mail, user: u, password: "file:/p"}
""")
    )
    assert (one.name, one.notebook, one.outputs.folder) == ("one", tmp_path / "n.ipynb", tmp_path / "made")
    # By the rules of YAML 1.2, "1e-3" is a number.
    assert one.parameters == {"epochs": 5, "name": "on", "rate": 0.001}
    assert (one.schedule.cron.time_zone, one.schedule.missed, one.schedule.missed_limit) == ("Europe/Berlin", "all", 3)
    assert [one.retries.wait_before(tries) for tries in (1, 2, 3, 1000)] == [10, 30, 50, 50]
    assert [each.on for each in one.notifications] == [("failure", "recovery"), ("failure",), ("failure",)]
    assert one.notifications[0].command == ("tell", "$(me)")
    assert one.notifications[2].email.port == 587


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("notebok: n.ipynb", "one.yaml:1: notebok: unknown key; did you mean 'notebook'?"),
        ("notebook: no.ipynb", "one.yaml:1: notebook: there is no notebook"),
        ("notebook: n.ipynb\nparameters:\n  epoch: 3", "one.yaml:3: parameters.epoch: unknown parameter; did you mean"),
        ("notebook: n.ipynb\nparameters:\n  name: a\n  epochs: x", "one.yaml:4: parameters.epochs: "),
        ("notebook: n.ipynb\nnotebook: n.ipynb", "one.yaml:1: notebook: given twice, again in line 2"),
        ("notebook: n.ipynb\nschedule:\n  cron: 61 * * * *", "one.yaml:3: schedule.cron: cron expression"),
        ("notebook: n.ipynb\nschedule:\n  cron: '@daily'\n  time_zone: Europe/Berln", "did you mean 'Europe/Berlin'?"),
        ("notebook: n.ipynb\nschedule: {cron: '@daily', missed: al}", "unknown value 'al'; did you mean 'all'?"),
        ("notebook: n.ipynb\nretries: {count: true}", "retries.count: give a whole number"),
        ("notebook: n.ipynb\ntimeout_s: 0", "one.yaml:2: timeout_s: give a number from 1"),
        ("notebook: n.ipynb\nnotifications:\n - on: [failure]\n   command: rm -rf", "no shell reads it"),
        ("notebook: n.ipynb\nnotifications:\n - on: [fail]\n   command: [a]", "notifications[1].on[1]: unknown value"),
        ("notebook: n.ipynb\nnotifications:\n - on: [failure]", "give one of command, webhook, email"),
        (
            "notebook: n.ipynb\nnotifications:\n - on: [failure]\n"
            "   email: {to: [a], from: b, host: c, user: d, password: hunter2}",
            "a password does not belong in a file",
        ),
        ("notebook: !!python/object/apply:os.getcwd []", "not valid YAML"),
        ("notebook: [", "one.yaml:1: not valid YAML"),
        ("a: &x [*x]", "refers to itself"),
        ("- 1", "give keys and values"),
    ],
)
def test_what_is_wrong_is_told_with_file_line_and_key(write, text, said):
    with pytest.raises(ReportError) as raised:
        load(write(text))
    assert said in str(raised.value)
    assert "hunter2" not in str(raised.value)


def test_all_problems_of_all_files_are_told_at_once(write, tmp_path):
    write("notebook: n.ipynb\ntimeout_s: x\nretry: 1")
    write("schedule: {}", "two.yaml")
    with pytest.raises(ReportError) as raised:
        load_all(tmp_path)
    assert all(said in str(raised.value) for said in ("one.yaml:2", "one.yaml:3", "two.yaml:1", "'cron' is missing"))


def test_the_definitions_here_are_valid():
    found = {one.name: one for one in load_all(ROOT / "reports")}
    assert set(found) == {"quickstart", "training", "quality"}
    assert all(one.schedule is not None and one.notebook.is_file() for one in found.values())
