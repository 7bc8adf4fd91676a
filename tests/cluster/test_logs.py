from lepton_nb.cluster.logs import as_text
from lepton_nb.cluster.snapshot import WorkerLoss

# As Dask gives them: the newest first.
ENTRIES = (
    (30.0, "WARNING", "third\nits second line\n"),
    (20.0, "INFO", "second"),
    (15.0, "INFO", "12:00 - distributed.worker - INFO - ---------------------------"),
    (10.0, "INFO", "first"),
)


def test_the_oldest_line_comes_first_without_rules_and_trailing_space():
    assert as_text(ENTRIES, ()) == "first\nsecond\nthird\nits second line"


def test_losses_stand_where_they_happened():
    lines = as_text(ENTRIES, [WorkerLoss(25.5, "1", "its process was killed by signal 9 (SIGKILL)")]).splitlines()
    assert lines[0:2] == ["first", "second"]
    assert lines[2].endswith(",500 - worker 1 was lost: its process was killed by signal 9 (SIGKILL)")
    assert lines[3] == "third"


def test_only_the_last_lines_are_given():
    assert as_text(ENTRIES, (), lines=2) == "third\nits second line"
    assert as_text((), ()) == ""
