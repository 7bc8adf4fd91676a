import io

from lepton_nb.events import Finished, Progress, Started
from lepton_nb.reports.progress import shown


class Terminal(io.StringIO):
    def isatty(self):
        return True


EVENTS = [
    Started(run="r"),
    Progress(run="r", done=0, total=3, values={"cell": "Data"}),
    Progress(run="r", done=1, total=3, values={"cell": "Data"}),
    Progress(run="r", done=2, total=3, values={"cell": "Model"}),
    Finished(run="r"),
]


def test_plain_lines_one_a_section():
    stream = io.StringIO()
    with shown("flights", stream) as watch:
        for event in EVENTS:
            watch(event)
    assert stream.getvalue() == "flights [1/3] Data\nflights [3/3] Model\n"


def test_a_bar_on_a_terminal():
    stream = Terminal()
    with shown("flights", stream) as watch:
        for event in EVENTS:
            watch(event)
    assert "2/3" in stream.getvalue()
    assert "Model" in stream.getvalue()
    assert "\n" not in stream.getvalue()
